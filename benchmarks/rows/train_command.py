"""Where the time of `mclrec train` on a long log goes, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.rows.preparation import synthetic_log
from benchmarks.session import Session
from benchmarks.summary import Finding, quantity

__all__ = ["findings_of", "measure_train_command"]

_TARGETS = 2000
_CUT = {"steps": "batches", "validation": "validation", "calibration": "calibration", "test": "test"}
"""Stages that are run only in part, and the unit that they are counted in."""


def measure_train_command(session: Session) -> Outcome:
    """Train as `mclrec train LOG` does by default, with the first batches of one epoch and a sample of the targets.

    Raises:
        BenchmarkError: too little disk space.
    """
    rows = session.budget.streamed
    name = f"`mclrec train`, {rows / 1e6:g} million rows"
    with synthetic_log(session, rows) as path:
        request = {
            "path": str(path),
            "model": "mclrec",
            "settings": [],
            "batches": session.budget.batches,
            "targets": _TARGETS,
            "seed": 1,
        }
        run = session.run(name, Child("benchmarks.ours.train_command", request))
    memory = Finding(f"{name}: peak memory", run.peak_bytes / 1e9, "GB")
    note = (
        f"`mclrec train` is timed with {session.budget.batches} batches of an epoch and {_TARGETS:,} targets; a whole "
        "epoch, validation and test are these times the number that there would have been."
    )
    return Outcome([*findings_of(name, run.document), memory], runs={name: [run]}, notes=[note])


def findings_of(name: str, document: Mapping[str, Any]) -> list[Finding]:
    """One finding per stage: its seconds, extrapolated if it was run only in part, with what was measured then."""
    return [_finding(name, stage, seconds, document) for stage, seconds in document["seconds"].items()]


def _finding(name: str, stage: str, seconds: float, document: Mapping[str, Any]) -> Finding:
    counted = _CUT.get(stage)
    if counted is None:
        return Finding(f"{name}: {stage}", seconds, "s")
    done, whole = document["cut"][counted], document["whole"][counted]
    kind = "batches" if counted == "batches" else "targets"
    measured = f"{quantity(seconds, 's')} for {done:,} of {whole:,} {kind}"
    what = "steps of an epoch" if stage == "steps" else stage
    return Finding(f"{name}: {what}", seconds * whole / max(1, done), "s", ours=measured)
