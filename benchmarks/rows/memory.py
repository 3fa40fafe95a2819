"""Peak memory of training MCLRec on Beauty: some hundred batches and a validation."""

from __future__ import annotations

from benchmarks.outcome import Outcome
from benchmarks.rows.epochs import training_child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["measure_memory"]

_GIGABYTES = 1.2


def measure_memory(session: Session) -> Outcome:
    """Measure the largest resident set of the process, in both precisions."""
    runs = {
        f"MCLRec, {precision}": [
            session.run(
                f"MCLRec, {precision}",
                training_child(
                    session,
                    "mclrec",
                    precision,
                    batches=session.budget.memory_batches,
                    validate=True,
                ),
            )
        ]
        for precision in ("fp32", "bf16")
    }
    peaks = {
        side: Spread(tuple(run.peak_bytes / 1e9 for run in of_side), "GB") for side, of_side in runs.items()
    }
    return Outcome(
        findings=[
            Finding(f"training on Beauty, {side}: peak memory", peak.median, "GB", _GIGABYTES)
            for side, peak in peaks.items()
        ],
        sides=peaks,
        runs=runs,
    )
