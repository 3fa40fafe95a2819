"""Guess the roles of unnamed columns from their values: ids, a time, or a number that is neither.

A time is a count of seconds, milliseconds, microseconds or nanoseconds in a plausible year, or an ISO or other date; a
number with a fraction is a rating or a coordinate. Other columns hold ids. Which of two id columns is the user cannot
be known for sure: it is the one whose ids begin like those of users, else the one whose equal values stand together in
order of time, else the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mclrec.data.columns import Columns

__all__ = ["Doubt", "is_time", "is_value", "placed"]

Rows = Sequence[Sequence[str]]

_FROM, _TO = 631_152_000, 4_102_444_800  # 1990 and 2100
_UNITS = (1, 10**3, 10**6, 10**9)
_DIGITS = 19  # of the longest time and of 64-bit integers; Python refuses to parse thousands of them
_INTEGER = re.compile(r"[-+]?\d+")
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ISO = re.compile(r"\d{4}[-/.]?\d\d[-/.]?\d\d([T ]\d\d.*)?|\d{4}-\d{1,2}-\d{1,2}.*")
_DATE = re.compile(
    r"\d{1,2}[/.-]\d{1,2}[/.-](\d{4}|\d\d)([ T,].*)?|.*\d{1,2}:\d{2}:\d{2}.*|\d{1,2} [A-Za-z]{3,9},? \d{4}.*"
)
_USERS = ("user", "usr", "u", "customer", "member", "visitor", "account", "a")
_ITEMS = ("item", "i", "b", "product", "p", "sku", "movie", "tt", "n", "m", "poi")
_RATINGS = {str(number) for number in range(11)}
_FEW = 20  # rows below which it means nothing that values are alike
_NARROW = 3  # columns up to which ids may contain blanks; in wider logs, words and lists are no ids
_RATING = 2  # usual position of a rating, from 0
_KINDS = 5  # most values of a column of kinds, such as kinds of events
_USER_AND_ITEM = 2
_GRADES, _BEST = 25, 10.0  # most distinct ratings, and the highest rating
_IN_ORDER = 0.99  # least share of rows in order of time


@dataclass(frozen=True, slots=True)
class Doubt:
    """An uncertain choice: what was taken, why, and which options override it."""

    taken: str
    reason: str
    options: str

    def __str__(self) -> str:
        return f"took {self.taken} ({self.reason}); if that is wrong: {self.options}"


def is_time(text: str) -> bool:
    """Whether a value looks like a point in time."""
    if _NUMBER.fullmatch(text):
        whole = text.partition(".")[0]
        if not whole.isdigit() or whole.startswith("0") or not 9 <= len(whole) <= _DIGITS:
            return False
        return any(_FROM * unit <= int(whole) < _TO * unit for unit in _UNITS)
    return bool(_ISO.fullmatch(text) or _DATE.fullmatch(text))


def is_value(text: str) -> bool:
    """Whether a value is a number or a date, and therefore no column name."""
    return (
        bool(_NUMBER.fullmatch(text)) or is_time(text) or re.fullmatch(r"\d[\d.:TZ\s/+-]*", text) is not None
    )


class _Look:
    """Properties of the values of a column, by which its role is guessed."""

    def __init__(self, place: int, parts: Sequence[Rows]) -> None:
        self.place = place
        self.parts = [[row[place] for row in rows] for rows in parts]
        values = [value for part in self.parts for value in part if value]
        self.rows = len(values)
        self.distinct = set(values)
        self.time = bool(values) and all(map(is_time, values))
        self.integers = bool(values) and all(map(_INTEGER.fullmatch, values))
        self.numbers = bool(values) and all(map(_NUMBER.fullmatch, values))
        self.fractions = self.numbers and not self.integers
        self.negative = self.integers and any(value.startswith("-") for value in values)
        self.coordinate = self.fractions and any(value.startswith("-") for value in values)
        self.rating = self.distinct <= _RATINGS
        self.graded = self.numbers and len(self.distinct) <= _GRADES and max(map(float, values)) <= _BEST
        self.constant = len(self.distinct) <= 1
        words = not any(map(_DIGIT.search, self.distinct))
        self.kinds = words and 1 < len(self.distinct) <= _KINDS and self.rows >= _FEW
        self.spaced = sum(" " in value for value in values) * 2 > len(values)
        short = self.integers and not self.negative and max(map(len, values)) <= _DIGITS
        whole = [int(value) for value in values] if short else []
        self.row_number = len(whole) > 2 and all(b > a for a, b in pairwise(whole))

    @property
    def name(self) -> str:
        return str(self.place + 1)

    @property
    def together(self) -> bool:
        """Whether equal values stand together, in runs of two or more rows on average."""
        runs = rows = 0
        for part in self.parts:
            found = [value for place, value in enumerate(part) if not place or value != part[place - 1]]
            if len(set(found)) < len(found):
                return False
            runs, rows = runs + len(found), rows + len(part)
        return len(self.distinct) > 1 and runs * 2 <= rows

    def in_order(self, times: _Look) -> bool:
        """Whether times (nearly) never decrease while the value stays the same."""
        rising = steps = 0
        for values, moments in zip(self.parts, times.parts, strict=True):
            keys = [_sort_key(text) for text in moments]
            for place in range(1, len(values)):
                if values[place] == values[place - 1]:
                    steps += 1
                    rising += keys[place - 1] <= keys[place]
        return steps > 0 and rising >= _IN_ORDER * steps

    @property
    def prefix(self) -> str:
        """The letters that all values begin with, in lower case; empty if these differ."""
        found = {
            match[0].lower() if (match := re.match(r"[A-Za-z]+", text)) else "" for text in self.distinct
        }
        return found.pop() if len(found) == 1 else ""


def _sort_key(text: str) -> tuple[float, str]:
    return (float(text), "") if _NUMBER.fullmatch(text) else (0.0, text)


def placed(parts: Sequence[Rows], width: int, asked: Columns) -> tuple[Columns, list[Doubt]]:
    """Guess the columns of a log without a header, named "1", "2" and so on; None if no column looks like a role.

    Args:
        parts: samples from several places of the log, each a list of consecutive rows.
        width: number of columns.
        asked: the columns that the caller named.
    """
    looks = [_Look(place, parts) for place in range(width)]
    named = {getattr(asked, role) for role in ("user", "item", "time", "sequence", "history")}
    free = [look for look in looks if look.name not in named]
    doubts: list[Doubt] = []
    found = asked
    if asked.time is None and not (asked.file_order or asked.sequence or asked.history):
        time = _time(free, width, doubts)
        found = replace(found, time=None if time is None else time.name)
        free = [look for look in free if look is not time]
        if time is None and width == 2:
            found = replace(found, file_order=True)
            doubts.append(Doubt("the rows in file order", "no column looks like a time", "--time-column"))
    times = next((look for look in looks if look.name == found.time), None)
    ids = [look for look in free if not look.time and not look.fractions]
    if width > _NARROW:
        ids = _without_names(ids)
        if found.time == "4" and (looks[2].rating or looks[2].fractions):
            ids = [look for look in ids if look.place < _RATING]  # user, item, rating, time
    return _ids(found, ids, times, doubts), doubts


def _without_names(looks: list[_Look]) -> list[_Look]:
    """Leave out columns of several words, which are the names of what another column identifies by ids.

    They stay if the only other column that could be the item has just a few values, such as kinds of events.
    """
    left = [look for look in looks if not look.spaced]
    others = [look for look in left if look.place == 0 or not look.kinds]
    telling = [look for look in others if not look.constant]
    if len(left) in (len(looks), len(others)) or len(telling) >= _USER_AND_ITEM:
        return left
    return [*others, *(look for look in looks if look.spaced)]


def _time(looks: list[_Look], width: int, doubts: list[Doubt]) -> _Look | None:
    usual = {2: 0, 3: 3}.get(width, 4)
    found = [look for look in looks if look.time]
    if not found:
        at_place = [look for look in looks if look.place + 1 == usual and not look.coordinate]
        ticks = next((look for look in at_place if _NUMBER.fullmatch(look.parts[0][0])), None)
        if ticks is not None and ticks.rows >= _FEW:
            options = "--time-column, or --file-order"
            reason = (
                "it may be a rating"
                if ticks.graded
                else "its numbers are not dates, and may be counts or hours"
            )
            doubts.append(Doubt(f"column {ticks.name} as the time", reason, options))
        return ticks
    chosen = next((look for look in found if look.place + 1 == usual), found[-1])
    if len(found) > 1:
        others = " or ".join(look.name for look in found if look is not chosen)
        doubts.append(
            Doubt(f"column {chosen.name} as the time", f"it could also be {others}", "--time-column")
        )
    return chosen


def _ids(asked: Columns, looks: list[_Look], times: _Look | None, doubts: list[Doubt]) -> Columns:
    """Choose the user and item columns among those that hold ids."""
    wanted = (asked.user is None) + (asked.item is None and asked.history is None)
    left = _likely(looks, wanted)
    if not wanted or len(left) < wanted:
        return asked
    if wanted == 1:
        role = "user" if asked.user is None else "item"
        named = [look for look in left if look.prefix in _USERS]
        chosen = _most_distinct(left) if role == "item" else (named or left)[0]
        if role == "item" or chosen.place:
            _doubt_others(role, chosen, left, doubts)
        return replace(asked, user=chosen.name) if role == "user" else replace(asked, item=chosen.name)
    user, reason = _user(left, times)
    items = [look for look in left if look is not user]
    item = _most_distinct(items)
    if reason:
        taken = f"column {user.name} as the user and {item.name} as the item"
        doubts.append(Doubt(taken, reason, "--user-column, --item-column"))
    _doubt_others("item", item, items, doubts)
    return replace(asked, user=user.name, item=item.name)


def _likely(looks: list[_Look], wanted: int) -> list[_Look]:
    """Leave out the columns that are least likely to hold ids, as long as enough are left."""
    few = all(look.rows < _FEW for look in looks)
    ratings = [look for look in looks if look.rating and not look.together]  # together: user ids
    unlikely = [
        [look for look in looks if look.negative],
        [look for look in looks if look.row_number and look.place == 0 and not few],
        [look for look in looks if look.constant and not few],
        sorted(ratings, key=lambda look: (0 if few else len(look.distinct), -look.place))[:1],
    ]
    for some in unlikely:
        for look in reversed(some):
            if len(looks) > wanted and look in looks:
                looks = [other for other in looks if other is not look]
    return looks


def _most_distinct(looks: list[_Look]) -> _Look:
    """The column with the most distinct values; the first one if several tie."""
    return max(looks, key=lambda look: (len(look.distinct), -look.place))


def _doubt_others(role: str, chosen: _Look, looks: list[_Look], doubts: list[Doubt]) -> None:
    if chosen.constant and chosen.rows >= _FEW:
        doubts.append(
            Doubt(f"column {chosen.name} as the {role}", "all its values are the same", f"--{role}-column")
        )
    if others := " or ".join(look.name for look in looks if look is not chosen):
        doubts.append(
            Doubt(f"column {chosen.name} as the {role}", f"it could also be {others}", f"--{role}-column")
        )


def _user(looks: list[_Look], times: _Look | None) -> tuple[_Look, str]:
    """The user column, and the reason if it is not simply the first one."""
    first, rest = looks[0], looks[1:]
    ids = next((look for look in rest if look.prefix in _USERS and look.prefix not in _ITEMS), None)
    if ids is not None and first.prefix in _ITEMS:
        return (
            ids,
            f"its ids begin with {ids.prefix.upper()!r}, those of {first.name} with {first.prefix.upper()!r}",
        )
    if first.prefix in _USERS or times is None:
        return first, ""
    ordered = [look for look in looks if look.together and look.in_order(times)]
    if ordered and first not in ordered and not first.together:
        return ordered[0], "rows of each id are together, in order of time"
    return first, ""
