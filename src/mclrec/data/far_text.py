"""The warning about far times: how many there are, an example, and the condition that leaves them out."""

from __future__ import annotations

import re

from mclrec.data.intake import FarTimes, Intake
from mclrec.data.plausible_times import UNITS, bounds
from mclrec.data.watched_text import column_word
from mclrec.wording import count_of, in_quotes, percent

__all__ = ["far_warning"]

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*")


def far_warning(intake: Intake) -> str | None:
    """The warning about times that are far from the others; None if there are none."""
    far = intake.left.far
    if far is None:
        return None
    share = f"({percent(far.rows / intake.left.rows)})"
    condition = _condition(intake, far)
    if far.mixed:
        some = "" if far.mixed == far.rows else f"{far.mixed:,} of "
        cure = "write all times in one unit" + (
            f"; {condition} keeps those in {_unit(far)}" if condition else ""
        )
        return (
            f"times are in several units: {some}{count_of(far.rows, 'row')} {share} far from the others are in "
            f"{far.other}, such as {far.example}, and most in {_unit(far)}, so that all of one unit come before all "
            f"of the other; {cure}"
        )
    cure = f"{condition} leaves them out" if condition else "fix or remove these rows"
    return (
        f"times of {count_of(far.rows, 'row')} {share} are before {far.since} or from {far.until} on, far from the "
        f"others, such as {far.example}; if they are not real times, {cure}"
    )


def _unit(far: FarTimes) -> str:
    return UNITS[far.unit] if isinstance(far.unit, int) else far.unit


def _condition(intake: Intake, far: FarTimes) -> str | None:
    """The ``--where`` option that keeps the times that are not far; None if it is not known how to write it."""
    column = next((column for column in intake.columns if column.role == "time"), None)
    if column is None or column.sample is None or ": " in column.name:
        return None  # no time column, or times in lists
    if _NUMBER.fullmatch(column.sample):
        edges = [str(edge) for edge in bounds(intake.dates or far.unit, far.until, far.since)]
    elif _DATE.fullmatch(column.sample):
        edges = [f"DATE '{day}'" for day in (far.since, far.until)]
    else:
        return None
    word = column_word(column.name)
    return f"--where {in_quotes(f'{word} >= {edges[0]} AND {word} < {edges[1]}')}"
