"""Growth of time and memory with the interactions and with the history length; `catalogue` is a row of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.rows.catalogue import LINEAR, TORCH_PROCESS, growth_findings, median_step, step_child
from benchmarks.rows.preparation import preparation_child, synthetic_log
from benchmarks.session import Session
from benchmarks.summary import Curve, Finding, Point

__all__ = ["measure_growth"]

_QUADRATIC = 2.0  # slope on log axes that is allowed in the length of histories: attention is quadratic in it
_ITEMS, _LENGTH = 10_000, 10  # of the synthetic data, whose number of users grows
_USERS_A_BATCH = 64
_DATA_PROCESS = Child("benchmarks.ours.idle", {"modules": ["mclrec.data.loading"]})

Runs = dict[int, list[Measurement]]


def measure_growth(session: Session) -> Outcome:
    """Measure three curves; a point is the faster of two runs, so that a pause of the machine does not count."""
    curves: list[Curve] = []
    findings: list[Finding] = []
    kept: dict[str, list[Measurement]] = {}
    for what, against, measure, seconds, idle, target in (
        ("preparing a log", "rows", _preparations, _preparation, _DATA_PROCESS, LINEAR),
        ("an epoch of SASRec, prefixes", "interactions", _epochs, _epoch_seconds, TORCH_PROCESS, LINEAR),
        (
            f"a step of SASRec, {_USERS_A_BATCH} sequences",
            "history length",
            _steps,
            median_step,
            TORCH_PROCESS,
            _QUADRATIC,
        ),
    ):
        runs = measure(session)
        empty = session.run("an idle process", idle).peak_bytes
        curve = Curve(what, against, _points(runs, seconds), empty)
        curves.append(curve)
        findings += growth_findings(curve, target)
        kept |= {f"{what}, {against} {size:,}": of_size for size, of_size in runs.items()}
    return Outcome(findings, runs=kept, curves=curves)


def _points(
    runs: Mapping[int, list[Measurement]], seconds: Callable[[Measurement], float]
) -> tuple[Point, ...]:
    fastest = {size: min(of_size, key=seconds) for size, of_size in runs.items()}
    return tuple(Point(size, seconds(run), run.peak_bytes) for size, run in fastest.items())


def _run_twice(session: Session, name: str, child: Child) -> list[Measurement]:
    return [session.run(name, child) for _ in range(min(2, session.budget.rounds))]


def _preparations(session: Session) -> Runs:
    """Prepare logs of several sizes."""
    runs = {}
    for rows in session.budget.interactions:
        with synthetic_log(session, rows) as path:
            runs[rows] = _run_twice(session, f"{rows:,} rows", preparation_child(path))
    return runs


def _preparation(run: Measurement) -> float:
    return float(run.document["seconds"])


def _epochs(session: Session) -> Runs:
    """Train on data of several sizes; the set-up counts as part of the epoch."""
    return {
        count: _run_twice(
            session,
            f"{count:,} interactions",
            step_child(
                session,
                {"users": count // _LENGTH, "items": _ITEMS, "length": _LENGTH},
                session.budget.growth_batches,
            ),
        )
        for count in session.budget.interactions
    }


def _epoch_seconds(run: Measurement) -> float:
    batch = fmean(run.document["batch_seconds"])
    return float(run.document["setup_seconds"] + batch * run.document["batches_per_epoch"])


def _steps(session: Session) -> Runs:
    """Train on sequences of several lengths, with a small catalogue."""
    return {
        length: _run_twice(
            session,
            f"histories of {length}",
            step_child(
                session,
                {"users": 1_000, "items": 1_000, "length": length + 1},
                session.budget.growth_batches,
                unit="sequences",
                batch_size=_USERS_A_BATCH,
                max_length=length,
            ),
        )
        for length in session.budget.lengths
    }
