"""Full-ranking evaluation of Beauty's test users: all items are candidates (protocol U), HR and NDCG at 5, 10, 20."""

from __future__ import annotations

from benchmarks.comparison import fastest, finding
from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.rows.epochs import export_beauty
from benchmarks.session import Session
from benchmarks.summary import Spread
from benchmarks.work import check_same_work

__all__ = ["EVALUATION_SIDES", "measure_evaluation"]

_OURS = "ours, fp32"
_CUTS = (5, 10, 20)
_THEIRS = {size: f"RecBole 1.2.1, batches of {size}, fp32" for size in (4096, 256)}
"""RecBole's default batch size, and the batch size of our training; the faster one counts."""

EVALUATION_SIDES = (_OURS, *_THEIRS.values())
"""The sides that the row compares."""


def measure_evaluation(session: Session) -> Outcome:
    """Measure users per second against RecBole's evaluation; sides take turns, and the first pass does not count."""
    passes = session.budget.passes + 1
    common = {"seed": 1, "cuts": _CUTS}
    python = session.python_of("recbole")
    recbole = {
        "inter": str(export_beauty(session)),
        "scratch": str(session.scratch),
        "batch": 256,
        "max_length": 50,
        **common,
    }
    theirs = {
        side: Child("benchmarks.peers.recbole_evaluation", {**recbole, "evaluation_batch": size}, python)
        for size, side in _THEIRS.items()
    }
    ours = Child("benchmarks.ours.evaluation", {**common, "data": "beauty", "model": "sasrec"})
    runs = {side: [run] for side, run in session.interleave({_OURS: ours, **theirs}, passes).items()}
    work = check_same_work(runs)
    speeds = {
        side: Spread(
            tuple(work["users"] / seconds for seconds in run.document["pass_seconds"][1:]), "users/s"
        )
        for side, (run,) in runs.items()
    }
    best = fastest(speeds, _OURS)
    compared = finding("full-ranking evaluation, users a second", speeds, _OURS, best, 10, "at least")
    return Outcome(findings=[compared], work=work, sides=speeds, runs=runs)
