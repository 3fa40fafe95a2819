"""Times of our days, as numbers of a log: what is outside of them can be no interaction's."""

from __future__ import annotations

from datetime import date

__all__ = ["SINCE", "UNITS", "as_number", "bounds"]

UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
"""What times count in, by its number in a second."""

SINCE = "1990-01-01"
"""The first plausible day."""


def bounds(unit: int | str, until: str, since: str = SINCE) -> tuple[int, int]:
    """The first plausible time and the one behind the last, as a log counts: units in a second, or a form of dates."""
    if isinstance(unit, str):
        return as_number(since, unit), as_number(until, unit)
    days = [(date.fromisoformat(day) - date(1970, 1, 1)).days for day in (since, until)]
    return days[0] * 86_400 * unit, days[1] * 86_400 * unit


def as_number(day: str, form: str) -> int:
    """An ISO date as a number of a form, such as ``YYYYMMDDHH``: its first moment."""
    return int(day.replace("-", "").ljust(len(form), "0"))
