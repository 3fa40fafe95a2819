"""Time and peak memory of turning a synthetic csv log into sequences, also one that does not fit into memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.outcome import Outcome
from benchmarks.processes import BenchmarkError, Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["measure_preparation", "preparation_child", "synthetic_log"]

_MIN_COUNT = 5
_SECONDS, _GIGABYTES, _SPILLED_GIGABYTES = 60, 4, 8
_TARGET_ROWS = 20_000_000
_DISK_A_ROW = 200  # bytes: the log itself, the database, what it spills, the sorted rows


def measure_preparation(session: Session) -> Outcome:
    """Measure seconds and gigabytes for a log, and for one that is five times as long."""
    rows, spilled = session.budget.rows, session.budget.spilled_rows
    findings, runs, sides = [], {}, {}
    with synthetic_log(session, rows) as path:
        runs[_name(rows)] = session.take_turns({_name(rows): preparation_child(path)})[_name(rows)]
    sides[_name(rows)] = Spread(tuple(run.document["seconds"] for run in runs[_name(rows)]), "s")
    if len({run.document["fingerprint"] for run in runs[_name(rows)]}) > 1:
        raise BenchmarkError("preparing the same log twice gave different sequences")
    on_target = rows == _TARGET_ROWS
    findings.append(
        Finding(
            f"csv to sequences, {_name(rows)}: time",
            sides[_name(rows)].median,
            "s",
            _SECONDS if on_target else None,
        )
    )
    findings.append(_memory(rows, runs[_name(rows)], _GIGABYTES if on_target else None))
    if spilled is not None:
        with synthetic_log(session, spilled) as path:
            runs[_name(spilled)] = [session.run(_name(spilled), preparation_child(path))]
        sides[_name(spilled)] = Spread(tuple(run.document["seconds"] for run in runs[_name(spilled)]), "s")
        findings.append(
            Finding(f"csv to sequences, {_name(spilled)}: time", sides[_name(spilled)].median, "s")
        )
        findings.append(_memory(spilled, runs[_name(spilled)], _SPILLED_GIGABYTES))
    return Outcome(findings=findings, sides=sides, runs=runs)


@contextmanager
def synthetic_log(session: Session, rows: int) -> Iterator[Path]:
    """A synthetic log in the scratch directory, removed at the end of the block.

    Raises:
        BenchmarkError: too little disk space.
    """
    needed, free = rows * _DISK_A_ROW, shutil.disk_usage(session.scratch).free
    if free < needed:
        raise BenchmarkError(
            f"{session.scratch}: {needed / 1e9:.0f} GB are needed for a log of {_name(rows)}, {free / 1e9:.0f} GB "
            "are free; name another directory with --scratch, or leave it out with --without-spill"
        )
    path = session.scratch / f"log-{rows}.csv"
    try:
        session.run(
            f"a log of {_name(rows)}",
            Child("benchmarks.ours.synthetic_log", {"path": str(path), "rows": rows, "seed": 1}),
        )
        yield path
    finally:
        path.unlink(missing_ok=True)


def preparation_child(path: Path) -> Child:
    """A child that prepares one log in memory."""
    return Child("benchmarks.ours.preparation", {"path": str(path), "min_count": _MIN_COUNT})


def _memory(rows: int, runs: list[Measurement], target: float | None) -> Finding:
    peak = max(run.peak_bytes for run in runs) / 1e9
    return Finding(f"csv to sequences, {_name(rows)}: peak memory", peak, "GB", target)


def _name(rows: int) -> str:
    return f"{rows / 1e6:g} million rows" if rows >= 1_000_000 else f"{rows:,} rows"
