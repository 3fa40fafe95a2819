"""RecBole's intervals, such as ``[5,inf)`` or ``(0,1];[3,4)``, as a k-core or as SQL conditions on a log."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Interval", "condition", "intervals_of", "least_of"]


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of numbers.

    Attributes:
        low: lower end.
        high: upper end.
        with_low: whether the lower end is included.
        with_high: whether the upper end is included.
    """

    low: float
    high: float
    with_low: bool
    with_high: bool


def intervals_of(value: object) -> list[Interval]:
    """Parse a union of intervals, separated by semicolons; None stands for all numbers.

    Raises:
        ValueError: the value is not a text of intervals.
    """
    if value is None:
        return [Interval(-math.inf, math.inf, False, False)]
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an interval such as '[5,inf)'")
    return [_interval(part.strip()) for part in value.split(";")]


def _interval(text: str) -> Interval:
    ends = text[1:-1].split(",")
    if len(text) < len("[,)") or text[0] not in "[(" or text[-1] not in ")]" or len(ends) != 2:
        raise ValueError(f"{text!r} is not an interval such as '[5,inf)'")
    try:
        low, high = float(ends[0]), float(ends[1])
    except ValueError:
        raise ValueError(f"{text!r} is not an interval of two numbers") from None
    if math.inf in (low, -high):
        raise ValueError(f"{text!r} is not an interval: there is no number in it")
    if not low <= high:
        raise ValueError(f"{text!r} is not an interval: it ends before it begins")
    return Interval(low, high, text[0] == "[", text[-1] == "]")


def least_of(value: object) -> int:
    """The k of the k-core that an interval of interaction counts stands for; 1 if nothing is removed.

    Raises:
        ValueError: the interval is malformed or bounded above, or there are several.
    """
    found = intervals_of(value)
    if len(found) != 1 or found[0].high != math.inf:
        raise ValueError("only intervals that end at inf can be a k-core")
    [one] = found
    if one.low == -math.inf:
        return 1
    return max(math.ceil(one.low) if one.with_low or one.low % 1 else int(one.low) + 1, 1)


def condition(field: str, wanted: object) -> str:
    """SQL condition that a column lies in the given intervals, or is among the values of a list.

    Raises:
        ValueError: ``wanted`` is neither.
    """
    name = '"' + field.replace('"', '""') + '"'
    if isinstance(wanted, list):
        if not wanted or not all(
            isinstance(one, str)
            or (isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < math.inf)
            for one in wanted
        ):
            raise ValueError("should be a list of strings or finite numbers")
        return f"{name} IN ({', '.join(map(_literal, wanted))})"
    parts = [_within(name, one) for one in intervals_of(wanted)]
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"


def _within(name: str, one: Interval) -> str:
    ends = []
    if one.low != -math.inf:
        ends.append(f"{name} {'>=' if one.with_low else '>'} {_literal(one.low)}")
    if one.high != math.inf:
        ends.append(f"{name} {'<=' if one.with_high else '<'} {_literal(one.high)}")
    if not ends:
        return f"{name} IS NOT NULL"
    return ends[0] if len(ends) == 1 else f"({' AND '.join(ends)})"


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(int(value)) if value == int(value) else repr(float(value))
