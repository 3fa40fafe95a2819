"""Convert between dates and the times of a log, whose unit is not stated and therefore guessed."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import numpy as np

from mclrec.data.number_dates import date_form, middle, seconds_of_dates
from mclrec.data.packed import IntArray
from mclrec.errors import ConfigError, DataError, quoted

__all__ = ["check_moment", "moment", "time_of", "units_of", "units_per_second"]

_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3), (10**8, 1))
"""Numbers from which times are nanoseconds, microseconds, milliseconds or seconds since 1970, with units per second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def units_per_second(time: int) -> int | None:
    """Units per second of a time, guessed from its size; None if it is too small for a plausible date."""
    return next((unit for start, unit in _UNITS if time >= start), None)


def units_of(times: IntArray) -> int | None:
    """Units per second of a log's times, guessed from their median, which is robust to wrong times; None if unknown."""
    return units_per_second(middle(times)) if len(times) else None


def moment(time: int, unit: int | None = None) -> str:
    """A time in ISO 8601, in UTC; the bare number if it cannot be a plausible date.

    Args:
        time: a time in the unit of the log.
        unit: units per second in the log; guessed from the time alone if None.
    """
    per_second = units_per_second(abs(time)) if unit is None else unit
    if per_second is None:
        return str(time)
    try:
        found = _EPOCH + timedelta(seconds=time // per_second)
    except OverflowError:
        return str(time)
    known = unit is not None or found.year > _EPOCH.year
    return found.replace(tzinfo=None).isoformat() + "Z" if known else str(time)


def check_moment(name: str, value: object) -> str:
    """Check a moment and return it as text: an integer in the log's unit, or an ISO date or time.

    Args:
        name: name of the option, for messages.
        value: an integer, a date, a datetime, or one of these as text.

    Raises:
        ConfigError: it is none of these.
    """
    text = value.isoformat() if isinstance(value, date) else str(value)
    if not isinstance(value, bool) and (_is_integer(text) or _instant(text) is not None):
        return text
    raise ConfigError(
        f"{name}: {quoted(value)} is not a moment: give an ISO date (2026-01-31), a time (2026-01-31T12:00), or a "
        "whole number in the unit of the log"
    )


def time_of(text: str, times: IntArray, place: str) -> int:
    """Convert a moment that `check_moment` accepted to a time of a log: the first that is not before it.

    Args:
        text: the moment; UTC if it names no zone.
        times: times of the log.
        place: the log, for messages.

    Raises:
        DataError: it is a date, and the log's times are not dates.
    """
    per_second = units_of(times)
    if _is_integer(text):
        return _date_number(int(text), times, per_second)
    instant = _instant(text)
    if instant is None or per_second is None:
        raise DataError(
            f"{place}: its times, up to {times.max(initial=0)}, do not count from a known moment, so {text} "
            "cannot be converted; give a whole number in their unit"
        )
    return -(-((instant - _EPOCH) // timedelta(microseconds=1) * per_second) // 10**6)


def _date_number(number: int, times: IntArray, per_second: int | None) -> int:
    """A whole number as a time of a log; one like 20240131 is a date if it is outside the range of the log's times."""
    form = date_form(number)
    if form is None or per_second is None or times.min() <= number <= times.max():
        return number
    return int(seconds_of_dates(np.array([number]), form)[0][0]) * per_second


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,19}", text, re.ASCII) is not None


def _instant(text: str) -> datetime | None:
    """The instant that ISO text names, in UTC if it names no zone; None for other text."""
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
