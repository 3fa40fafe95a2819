"""Bounds of plausible times, as numbers in a log; times outside of them cannot be those of interactions."""

from __future__ import annotations

from datetime import date

__all__ = ["SINCE", "UNITS", "as_number", "bounds"]

UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
"""Units of time, by how many of them make a second."""

SINCE = "1990-01-01"
"""The first plausible day."""


def bounds(unit: int | str, until: str, since: str = SINCE) -> tuple[int, int]:
    """Bounds of plausible times, the upper one exclusive, for a unit (how many make a second) or a form of dates."""
    if isinstance(unit, str):
        return as_number(since, unit), as_number(until, unit)
    days = [(date.fromisoformat(day) - date(1970, 1, 1)).days for day in (since, until)]
    return days[0] * 86_400 * unit, days[1] * 86_400 * unit


def as_number(day: str, form: str) -> int:
    """The beginning of an ISO date as a number in a form such as ``YYYYMMDDHH``."""
    return int(day.replace("-", "").ljust(len(form), "0"))
