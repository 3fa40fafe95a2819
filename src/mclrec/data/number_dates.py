"""Dates written as numbers: 20240131 (day), 2024013118 (hour), 202401311805 (minute), 20240131180559 (second).

A column is read as dates if all its numbers have the same one of these forms and their median is in 1990 to 2099.
Numbers like these are not plausible as counts of seconds or milliseconds: 2024013118 seconds after 1970 is in 2034.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, blocks, empty

__all__ = ["FORMS", "are_clock_times", "date_form", "dates_read", "middle", "seconds_of_dates"]

FORMS = {8: "YYYYMMDD", 10: "YYYYMMDDHH", 12: "YYYYMMDDHHMM", 14: "YYYYMMDDHHMMSS"}
"""Forms of dates written as numbers, by the number of digits."""

_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_LONGEST = max(FORMS)
_DAY, _EPOCH_YEAR, _MONTHS = 86_400, 1970, 12
_SAMPLED = 1 << 20
_MOST_TICKS = 10**6
_HOURS, _MINUTES, _LAST_CLOCK = 24, 60, 235_959


def middle(times: npt.NDArray[Any]) -> int:
    """Approximate median of one or more times: the median of a sample of about a million, evenly spaced."""
    some = times[:: -(-len(times) // _SAMPLED)]
    return int(np.partition(some, len(some) // 2)[len(some) // 2])


def date_form(number: int) -> str | None:
    """The form of a number that is a date in the years 1990 to 2099; None for any other number."""
    form = FORMS.get(len(str(number))) if number > 0 else None
    if form is None:
        return None
    valid = bool(seconds_of_dates(np.array([number]), form)[1][0])
    return form if valid and _FIRST_YEAR <= int(str(number)[:4]) < _LAST_YEAR else None


def seconds_of_dates(numbers: IntArray, form: str) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Seconds since 1970 (UTC) of dates in a form, and whether each is valid; invalid ones have meaningless seconds."""
    digits = len(form)
    days, clock = np.divmod(numbers, 10 ** (digits - 8))
    clock = clock * 10 ** (_LONGEST - digits)
    year, month, day = days // 10_000, days // 100 % 100, days % 100
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    valid = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= _MONTHS)
    months = np.where(valid, (year - _EPOCH_YEAR) * _MONTHS + month - 1, 0)
    first, behind = _first_day(months), _first_day(months + 1)
    valid &= (day >= 1) & (day <= behind - first) & (hours < 24) & (minutes < 60) & (seconds < 60)
    return (first + day - 1) * _DAY + hours * 3600 + minutes * 60 + seconds, valid


def _first_day(months: IntArray) -> IntArray:
    """Days since 1970 of the first day of each month, given in months since 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def are_clock_times(times: npt.NDArray[Any], users: npt.NDArray[np.integer[Any]], ticks: int) -> bool:
    """Whether all times may be hours (0 to 24) or clock times written as numbers (1805, 180559), and are not counters.

    Args:
        times: (N,) times of rows that are ordered by user and time.
        users: (N,) user of each row.
        ticks: ticks of ``times`` per unit of the log.
    """
    least, most = int(times.min()) // ticks, int(times.max()) // ticks
    if least < 0 or most > _LAST_CLOCK:
        return False
    steps = np.diff(times)[users[1:] == users[:-1]]
    if (len(steps) and (steps == ticks).all()) or (most < _MINUTES and len(np.unique(times)) == len(times)):
        return False
    if most <= _HOURS:
        return True
    clock = (times // ticks).astype(np.int64) * (100 if most <= _LAST_CLOCK // 100 else 1)
    return bool((clock // 100 % 100 < _MINUTES).all() and (clock % 100 < _MINUTES).all())


def dates_read(times: npt.NDArray[Any], ticks: int) -> tuple[npt.NDArray[Any], str | None]:
    """Convert times to seconds, in ticks, if all of them are dates written as numbers; return them and the form.

    Otherwise the times are returned unchanged, with None.

    Args:
        times: (N,) times of the log.
        ticks: ticks of ``times`` per unit of the log.
    """
    form = date_form(middle(times) // ticks) if len(times) and ticks <= _MOST_TICKS else None
    if form is None:
        return times, None
    found = empty(len(times), np.int64)
    for block in blocks(len(times)):
        whole = (times[block] // ticks).astype(np.int64)
        seconds, valid = seconds_of_dates(whole, form)
        if not (valid & (whole * ticks == times[block])).all():
            return times, None
        found[block] = seconds * ticks
    return found, form
