"""Full-ranking evaluation of Beauty's test users: all items are candidates (protocol U), HR and NDCG at 5, 10, 20."""

from __future__ import annotations

from statistics import median

from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.rows.epochs import export_beauty
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread, quantity
from benchmarks.work import check_same_work

__all__ = ["measure_evaluation"]

_OURS = "ours, fp32"
_CUTS = (5, 10, 20)
_BATCHES = (4096, 256)  # RecBole's own, and ours in training: the faster counts


def measure_evaluation(session: Session) -> Outcome:
    """Measure users per second, against RecBole's evaluation."""
    common = {"seed": 1, "cuts": _CUTS, "passes": 3}
    python = session.python_of("recbole")
    recbole = {
        "inter": str(export_beauty(session)),
        "scratch": str(session.scratch),
        "batch": 256,
        "max_length": 50,
        **common,
    }
    theirs = {
        f"RecBole 1.2.1, batches of {size}, fp32": Child(
            "benchmarks.peers.recbole_evaluation", {**recbole, "evaluation_batch": size}, python
        )
        for size in _BATCHES
    }
    ours = Child("benchmarks.ours.evaluation", {**common, "data": "beauty", "model": "sasrec"})
    runs = session.take_turns({_OURS: ours, **theirs})
    work = check_same_work(runs)
    speeds = {
        side: Spread(
            tuple(work["users"] / median(run.document["pass_seconds"]) for run in of_side), "users/s"
        )
        for side, of_side in runs.items()
    }
    best = max(theirs, key=lambda side: speeds[side].median)
    finding = Finding(
        f"full-ranking evaluation, users a second: {_OURS} / {best}",
        speeds[_OURS].median / speeds[best].median,
        "x",
        10,
        "at least",
        quantity(speeds[_OURS].median, "users/s"),
        quantity(speeds[best].median, "users/s"),
    )
    return Outcome(findings=[finding], work=work, sides=speeds, runs=runs)
