"""Gain of native code for the feed-forward parts: an epoch of MCLRec with these parts compiled by inductor.

The compiler fuses norm, GELU, dropout, residual and their backward passes into C++ loops between the matrix products,
as a native extension of ours would. Such an extension is worth having if the epoch is 1.6 times as fast.
"""

from __future__ import annotations

from benchmarks.comparison import finding
from benchmarks.outcome import Outcome
from benchmarks.rows.epochs import epoch_seconds, training_child
from benchmarks.session import Session
from benchmarks.work import checked

__all__ = ["measure_compiled"]

_PRECISIONS = ("fp32", "bf16")
_WORTH = 1.6


def measure_compiled(session: Session) -> Outcome:
    """Measure an epoch of MCLRec on prefixes as it is, and with compiled feed-forward parts."""
    sides = {
        f"MCLRec{name}, {precision}": training_child(session, "mclrec", precision, compile=compiled)
        for precision in _PRECISIONS
        for name, compiled in (("", False), (", compiled", True))
    }
    runs = session.take_turns(sides)
    work = checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    return Outcome(
        findings=[
            finding(
                "epoch, feed-forward parts compiled",
                epochs,
                f"MCLRec, {precision}",
                f"MCLRec, compiled, {precision}",
                _WORTH,
                "at least",
            )
            for precision in _PRECISIONS
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=["A native extension for these parts would be worth having from 1.6 times on."],
    )
