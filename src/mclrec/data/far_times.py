"""Far times: implausible times in a log most of whose times are plausible (from 1990 to the end of next year).

They stand for missing values (0, -1, 1970-01-01, 0001-01-01, 9999-12-31), are in another unit than the others, or are
wrong. A log whose times are no dates at all, such as counters, has none.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from mclrec.data.intake import FarTimes
from mclrec.data.moments import moment, units_of
from mclrec.data.number_dates import date_form, middle
from mclrec.data.packed import IntArray, blocks
from mclrec.data.plausible_times import SINCE, UNITS, bounds

__all__ = ["far_times"]

_YEARS = 2  # the current year and the next one are plausible
_MOST = 0.5  # share of plausible times, in any unit, that has to be exceeded


def far_times(times: IntArray) -> FarTimes | None:
    """Find the times that are far from most; None if there are none, or if most are no plausible times.

    Args:
        times: at least one, in the unit of the log.
    """
    until = f"{datetime.now(UTC).year + _YEARS}-01-01"
    median, unit = middle(times), units_of(times)
    form: int | str | None = unit if unit is not None and _within(median, bounds(unit, until)) else None
    form = date_form(median) if form is None else form
    if form is None:
        return None
    first, last = bounds(form, until)
    others = {name: bounds(other, until) for other, name in UNITS.items() if other != form}
    far, example, mixed = 0, 0, dict.fromkeys(others, 0)
    for block in blocks(len(times)):
        some = times[block]
        outside = some[(some < first) | (some >= last)]
        if len(outside) and not far:
            example = int(outside[0])
        far += len(outside)
        for name, (start, end) in others.items() if isinstance(form, int) else ():
            mixed[name] += int(np.count_nonzero((outside >= start) & (outside < end)))
    if not far or len(times) - far + max(mixed.values()) <= _MOST * len(times):
        return None
    other, rows = max(mixed.items(), key=lambda pair: pair[1])
    return FarTimes(
        rows=far,
        example=moment(example, form) if isinstance(form, int) and not rows else str(example),
        unit=form,
        since=SINCE,
        until=until,
        mixed=rows,
        other=other if rows else None,
    )


def _within(time: int, edges: tuple[int, int]) -> bool:
    return edges[0] <= time < edges[1]
