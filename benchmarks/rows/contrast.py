"""The contrast of all states (CoSeRec, ICLRec, LMA4Rec, SRMA, CL4SRec), without the zeros of short histories."""

from __future__ import annotations

from statistics import median

from benchmarks.comparison import finding
from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.session import Session
from benchmarks.summary import Spread

__all__ = ["measure_contrast"]

_DATA = ("sports", "complete-journey")
_REQUEST = {"batch_size": 256, "hidden_size": 64, "max_length": 50, "batches": 30, "seed": 1}
_SHORT = 4.0
"""Target for how many times as fast it is on short histories."""


def measure_contrast(session: Session) -> Outcome:
    """Measure forward and backward passes for batches of a log of short histories, and of one of long ones."""
    side = "contrast of all states"
    child = Child("benchmarks.ours.contrast", {"data": _DATA, **_REQUEST})
    runs = session.take_turns({side: child})[side]
    sides = {
        f"{data}, {name}": Spread(
            tuple(1000 * median(run.document["seconds"][data][way]) for run in runs), "ms"
        )
        for data in _DATA
        for way, name in (("parts", "without zeros"), ("whole", "whole rows"))
    }
    return Outcome(
        findings=[
            finding(
                f"contrast of all states, {data}",
                sides,
                f"{data}, whole rows",
                f"{data}, without zeros",
                target,
                "at least",
            )
            for data, target in zip(_DATA, (_SHORT, None), strict=True)
        ],
        sides=sides,
        runs={side: runs},
        notes=[
            "Both ways take the same batches in turns, in one process; in several, training gathers whole rows."
        ],
    )
