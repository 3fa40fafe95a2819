"""Columns of a log for user, item, time and sequence: named by the caller, or guessed from usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from mclrec.errors import DataError, quoted, unknown_name

__all__ = [
    "Columns",
    "Roles",
    "compact_name",
    "has_ending",
    "has_item",
    "has_known_name",
    "listed_names",
    "named_column",
    "token_list",
    "untyped",
    "usual_column",
]

# Compared ignoring case, underscores, hyphens, blanks and RecBole's ":token"; the first that the log has is taken.
_USUAL = {
    "user": "userid user uid username reviewerid customerid customer householdid household visitorid visitor "
    "memberid accountid playerid clientid sessionid session",
    "item": "itemid item iid parentasin asin movieid businessid productid product trackid songid artistid "
    "bookid articleid newsid videoid gameid recipeid poiid venueid sku aid",
    "time": "timestamp time unixreviewtime unixtime ratingtime eventtime datetime date ts createdat "
    "transactiontimestamp dateadded",
}

# Taken if the log has none of the usual names. Unlike those, they do not prove that the first line is a header.
_LESS_USUAL = {
    "user": "buyerid shopperid personid listenerid subscriberid patronid custid cuid member account player client "
    "buyer person shopper",
    "item": "locationid stockcode productcode itemcode isbn appid animeid mangaid beerid wineid hotelid listingid "
    "placeid restaurantid jobid postid photoid contentid showid goodsid offerid itemnbr movie track song "
    "artist book article video game venue location",
    "time": "orderdate invoicedate purchasedate transactiondate eventdate visitdate reviewdate ratingdate "
    "checkintime starttime ordertime purchasetime reviewtime viewtime clicktime playtime visittime "
    "utctime localtime eventtimestamp orderedat purchasedat playedat listenedat viewedat clickedat "
    "visitedat lastplayed transactiondt orderdt eventdt tdat dt day",
}

# Endings of names, for a log without a usual name for the role; taken, and reported, if only one column has one.
_ENDINGS = {
    "user": "userid customerid householdid visitorid memberid accountid clientid playerid shopperid buyerid",
    "item": "itemid productid articleid movieid trackid songid artistid bookid newsid videoid gameid recipeid "
    "productcode itemcode sku",
    "time": "date datetime timestamp",
}
_MOMENT = re.compile(r"[\s_\-](at|ts)$", re.IGNORECASE)
_NO_EVENT = re.compile("birth|expir|releas|due|sign|regist|join|creat|updat|publi|valid")
"""Words in the names of dates that belong to people and things, and not to what people did."""

_CLOCK = re.compile(".*(time|timestamp|hour|clock|ts)")
_DAY = re.compile(".*date|(?!.*(week|holi|of)).*day|.*dt")
"""Names of columns of clock times, and of days: if a log has both, the former may be mistaken for the whole time."""

_RECBOLE_TYPES = {"token", "token_seq", "float", "float_seq"}
_LISTED = 120  # most characters of a list of names in a message


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns of one log by role; ``file_order`` says that rows are in order of time.

    A ``history`` is a column of lists: of items, or of objects whose fields are in ``inner`` by role. In a log with
    such a column, an ``item``, if any, follows the list. A ``day`` is a column that may hold the days of a time column
    that was guessed.
    """

    user: str
    item: str | None
    time: str | None
    sequence: str | None
    file_order: bool
    history: str | None = None
    inner: tuple[tuple[str, str], ...] = ()
    label: str | None = None
    day: str | None = None

    @property
    def named(self) -> dict[str, str]:
        """Column of each role that has one."""
        pairs = {"user": self.user, "item": self.item, "time": self.time, "sequence": self.sequence}
        pairs |= {"history": self.history, "label": self.label}
        return {role: column for role, column in pairs.items() if column is not None}


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a log's columns; None means that the name is guessed.

    Attributes:
        user: ids of users.
        item: ids of items.
        time: integers, floats, dates, timestamps or ISO text.
        sequence: order of rows at the same time, or of all rows in a log without time; optional, never guessed.
        file_order: the log has no time, and its rows are in order.
        history: a list of items in order, one row per user or session; optional.
        numbered: rows at the same time are in order; set by ``ties="file"`` of `Reading`.
        label: an additional column, read as text, whose values may be missing; sequences do not depend on it.

    The columns of a file without a header are called ``1``, ``2``, ``3`` and so on.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    sequence: str | None = None
    file_order: bool = False
    history: str | None = None
    numbered: bool = False
    label: str | None = None

    def filled(self, usual: Columns | None) -> Columns:
        """These columns, completed from ``usual`` where none is named."""
        given = {name: value for name, value in asdict(self).items() if value}
        return self if usual is None else replace(usual, **given)

    def words(self) -> list[str]:
        """Command-line options that name these columns."""
        words: list[str] = []
        for role in ("user", "item", "time", "sequence", "history"):
            if (name := getattr(self, role)) is not None:
                words += [f"--{role}-column", name]
        return [*words, "--file-order"] if self.file_order else words

    def resolve(self, names: Sequence[str], place: str, fields: Sequence[str] = ()) -> Roles:
        """Find the columns among ``names``; error messages begin with ``place``.

        ``fields`` are those of the objects in a list column, if it holds objects.

        Raises:
            DataError: a named column is missing, ambiguous or has two roles, or a required one cannot be guessed.
        """
        if self.history is not None:
            return self._resolve_histories(names, place, fields)
        sequence = None if self.sequence is None else named_column(self.sequence, names, place)
        timeless = self.file_order or sequence is not None
        needed = ("user", "item") if timeless else ("user", "item", "time")
        roles = Roles(
            user=self._role("user", names, place, needed),
            item=self._role("item", names, place, needed),
            time=None if self.file_order and self.time is None else self._time(names, place, needed),
            sequence=sequence,
            file_order=self.file_order or self.numbered,
            label=None if self.label is None else named_column(self.label, names, place),
        )
        if self.time is None and roles.time is not None:
            roles = replace(roles, day=_day_beside(roles.time, names))
        self._check_apart(roles, place)
        return roles

    def _resolve_histories(self, names: Sequence[str], place: str, fields: Sequence[str]) -> Roles:
        """Roles of a log of lists; ``fields`` are those of the objects in the lists, if these hold objects."""
        history = named_column(self.history or "", names, place)
        if self.label is not None:
            raise DataError(f"{place}: is a log of lists, so the column {quoted(self.label)} cannot be read")
        where = f"{place}: in {history}"
        inner = {role: self._field(role, fields, where) for role in ("item", "time") if fields}
        outside = [role for role in ("time", "sequence") if getattr(self, role) and not inner.get(role)]
        if outside or self.file_order:
            option = f"{outside[0]}-column" if outside else "file-order"
            raise DataError(f"{place}: lists of items are in order, so --{option} cannot be used")
        follows = None if self.item is None or fields else named_column(self.item, names, place)
        if self.item is None and not fields:
            follows = _target(history, names)
        roles = Roles(
            self._role("user", names, place, ("user",)),
            follows,
            None,
            None,
            False,
            history,
            tuple((role, name) for role, name in inner.items() if name is not None),
        )
        self._check_apart(roles, place)
        return roles

    def _field(self, role: str, fields: Sequence[str], place: str) -> str | None:
        wanted: str | None = getattr(self, role)
        found = usual_column(role, fields, place) if wanted is None else named_column(wanted, fields, place)
        if found is None and role == "item":
            raise DataError(
                f"{place}: no field looks like the item; name it with --item-column (fields: {listed_names(fields)})"
            )
        return found

    @staticmethod
    def _check_apart(roles: Roles, place: str) -> None:
        used = [name for role, name in roles.named.items() if role not in ("sequence", "label")]
        for column in used:
            if used.count(column) > 1:
                raise DataError(
                    f"{place}: the column {quoted(column)} cannot be more than one of user, item and time; name another"
                )

    def _role(self, role: str, names: Sequence[str], place: str, needed: Sequence[str]) -> str:
        wanted: str | None = getattr(self, role)
        if wanted is not None:
            return named_column(wanted, names, place)
        found = usual_column(role, names, place)
        if found is None:
            raise self._missing_columns_error(needed, names, place)
        return found

    def _time(self, names: Sequence[str], place: str, needed: Sequence[str]) -> str | None:
        if self.time is not None:
            return named_column(self.time, names, place)
        found = usual_column("time", names, place)
        if found is None and "time" in needed:
            raise self._missing_columns_error(needed, names, place)
        others = [name for name in names if compact_name(name) in ("month", "year")]
        if found is not None and compact_name(found) == "day" and others:
            raise DataError(
                f"{place}: the time is spread over several columns ({listed_names([found, *others])}); join them into "
                "one, such as 2024-01-31, or name the one that orders rows with --time-column"
            )
        return found

    def _missing_columns_error(self, needed: Sequence[str], names: Sequence[str], place: str) -> DataError:
        """One error for all columns that are neither named nor can be guessed."""
        if not names:
            return DataError(f"{place}: has no columns; a log needs {', '.join(needed)}")
        lacking = [
            role
            for role in needed
            if getattr(self, role) is None and usual_column(role, names, place) is None
        ]
        what = " or the ".join(filter(None, [", the ".join(lacking[:-1]), lacking[-1]]))
        cures = [
            f"name {'it' if len(lacking) == 1 else 'them'} with {', '.join(f'--{role}-column' for role in lacking)}"
        ]
        cures += ["or a list of items with --history-column"] if "item" in lacking else []
        cures += ["or use --file-order if the rows are in order"] if "time" in lacking else []
        return DataError(
            f"{place}: no column looks like the {what}; {', '.join(cures)} (columns: {listed_names(names)})"
        )


def _day_beside(time: str, names: Sequence[str]) -> str | None:
    """The column that may hold the days, if the time column has a name of clock times."""
    if not _CLOCK.fullmatch(compact_name(time)):
        return None
    short = {name: compact_name(name) for name in names}
    found = [name for name in names if _DAY.fullmatch(short[name]) and not _NO_EVENT.search(short[name])]
    return found[0] if found else None


def has_item(names: Sequence[str]) -> bool:
    """Whether one of ``names`` is a usual name of an item column."""
    usual = _USUAL["item"].split()
    return any(compact_name(name) in usual for name in names)


def token_list(names: Sequence[str], columns: Columns) -> str | None:
    """The only column that RecBole's type declares a list, if the log has no time and no order or list was named."""
    found = [name for name in names if name.endswith(":token_seq")]
    if len(found) != 1 or columns.history or columns.time or columns.sequence or columns.file_order:
        return None
    return None if any(compact_name(name) in _USUAL["time"].split() for name in names) else found[0]


def _target(history: str, names: Sequence[str]) -> str | None:
    """The column of the item that follows a list in RecBole's files: ``x:token`` beside ``x_list:token_seq``."""
    wanted = f"{history.removesuffix('_list:token_seq')}:token"
    return wanted if history.endswith("_list:token_seq") and wanted in names else None


def has_known_name(names: Sequence[str]) -> bool:
    """Whether one of ``names`` is a usual name of a user, item or time column."""
    compact = {compact_name(name) for name in names}
    return any(usual in compact for usuals in _USUAL.values() for usual in usuals.split())


def compact_name(name: str) -> str:
    """A column name in lower case, without blanks, hyphens, underscores and RecBole's type."""
    return re.sub(r"[\s_\-]", "", untyped(name)).lower()


def untyped(name: str) -> str:
    """A column name without RecBole's type at its end."""
    before, colon, kind = name.rpartition(":")
    return before if colon and kind in _RECBOLE_TYPES else name


def listed_names(names: Sequence[str]) -> str:
    """Names joined with commas for a message; a long list is truncated."""
    text = ", ".join(names)
    return text if len(text) <= _LISTED else f"{text[:_LISTED]}... {len(names)} in all"


def usual_column(role: str, names: Sequence[str], place: str) -> str | None:
    """The column with the most usual name for a role; None if there is none."""
    compact = [compact_name(name) for name in names]
    for usual in f"{_USUAL[role]} {_LESS_USUAL[role]}".split():
        found = [name for name, short in zip(names, compact, strict=True) if short == usual]
        if len(found) > 1:
            shown = " and ".join(map(quoted, found[:2]))
            raise DataError(
                f"{place}: {shown} both look like the {role}; name the one to use, or rename one of them"
            )
        if found:
            return found[0]
    ending = [name for name in names if has_ending(role, name)]
    return ending[0] if len(ending) == 1 else None


def has_ending(role: str, name: str) -> bool:
    """Whether a column name is not one of the usual names for a role, but ends like one."""
    short = compact_name(name)
    if short in f"{_USUAL[role]} {_LESS_USUAL[role]}".split():
        return False
    if role == "time" and _NO_EVENT.search(short):
        return False
    ends = short.endswith(tuple(_ENDINGS[role].split()))
    return ends or (role == "time" and _MOMENT.search(untyped(name)) is not None)


def named_column(wanted: str, names: Sequence[str], place: str) -> str:
    """The column called ``wanted``, with or without RecBole's type."""
    found = [name for name in names if name == wanted] or [name for name in names if untyped(name) == wanted]
    if len(found) > 1:
        raise DataError(f"{place}: {len(found)} columns are called {quoted(wanted)}; rename them")
    if not found:
        raise DataError(f"{place}: {unknown_name('column', wanted, names)}")
    return found[0]
