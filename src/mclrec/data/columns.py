"""Columns of a log for user, item, time and sequence: named by the caller, or guessed from usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mclrec.errors import DataError, unknown_name

__all__ = ["Columns", "Roles", "has_known_name"]

# Compared without case, underscores, blanks and RecBole's ":type"; the first that the log has is taken.
_USUAL = {
    "user": "userid user uid username reviewerid customerid customer householdid household visitorid visitor "
    "memberid accountid playerid clientid sessionid session",
    "item": "itemid item iid parentasin asin movieid businessid productid product trackid songid artistid "
    "bookid articleid newsid videoid gameid recipeid poiid venueid sku",
    "time": "timestamp time unixreviewtime unixtime ratingtime eventtime datetime date ts createdat "
    "transactiontimestamp",
}


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns of one log by their role; ``file_order`` says that rows are in the order of time."""

    user: str
    item: str
    time: str | None
    sequence: str | None
    file_order: bool

    @property
    def named(self) -> dict[str, str]:
        """Column of each role that a column has."""
        pairs = {"user": self.user, "item": self.item, "time": self.time, "sequence": self.sequence}
        return {role: column for role, column in pairs.items() if column is not None}


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a log's columns; None is guessed.

    Attributes:
        user: ids of users.
        item: ids of items.
        time: integers, floats, dates, timestamps or ISO text.
        sequence: order of rows at the same time, or of all rows in a log without time; optional, never guessed.
        file_order: the log has no time, and its rows are in order.

    The columns of a file without a header are called ``1``, ``2``, ``3`` and so on.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    sequence: str | None = None
    file_order: bool = False

    def resolve(self, names: Sequence[str], place: str) -> Roles:
        """Find the columns among ``names``; ``place`` begins the messages.

        Raises:
            DataError: a named column is missing, or one that is needed cannot be guessed.
        """
        sequence = None if self.sequence is None else _find(self.sequence, names, place)
        timeless = self.file_order or sequence is not None
        return Roles(
            user=self._role("user", names, place),
            item=self._role("item", names, place),
            time=None if self.file_order and self.time is None else self._time(names, place, timeless),
            sequence=sequence,
            file_order=self.file_order,
        )

    def _role(self, role: str, names: Sequence[str], place: str) -> str:
        wanted: str | None = getattr(self, role)
        if wanted is not None:
            return _find(wanted, names, place)
        found = _guess(role, names)
        if found is None:
            raise DataError(
                f"{place}: no column looks like the {role}; name it (columns there are: {', '.join(names)})"
            )
        return found

    def _time(self, names: Sequence[str], place: str, optional: bool) -> str | None:
        if self.time is not None:
            return _find(self.time, names, place)
        found = _guess("time", names)
        if found is None and not optional:
            raise DataError(
                f"{place}: no column looks like the time; name it, or say that rows stand in order with "
                f"file_order (columns there are: {', '.join(names)})"
            )
        return found


def has_known_name(names: Sequence[str]) -> bool:
    """Whether one of ``names`` is a usual name of a user, item or time column."""
    return any(_guess(role, names) is not None for role in _USUAL)


def _compact(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name.partition(":")[0]).lower()


def _guess(role: str, names: Sequence[str]) -> str | None:
    compact = {_compact(name): name for name in reversed(names)}
    return next((compact[usual] for usual in _USUAL[role].split() if usual in compact), None)


def _find(wanted: str, names: Sequence[str], place: str) -> str:
    """The column called ``wanted``, RecBole's ``:type`` left out or not."""
    for name in names:
        if wanted in (name, name.partition(":")[0]):
            return name
    raise DataError(f"{place}: {unknown_name('column', wanted, names)}")
