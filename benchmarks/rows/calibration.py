"""Calibration after training: validation ranks for each choice, from scores that are computed once."""

from __future__ import annotations

from benchmarks.comparison import finding
from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.session import Session
from benchmarks.summary import Spread

__all__ = ["measure_calibration"]

_DATA = ("yelp", "complete-journey")
_REQUEST = {"targets": 4_000, "threads": 1, "seed": 1}
_RECOMPUTED, _KEPT = "all scores anew", "scores computed once"


def measure_calibration(session: Session) -> Outcome:
    """Measure a search for the weight of co-occurrence, on a log of many items and on one of long histories."""
    child = Child("benchmarks.ours.calibration", {"data": _DATA, **_REQUEST})
    runs = session.take_turns({"calibration": child})["calibration"]
    sides = {
        f"{data}, {name}": Spread(tuple(run.document["seconds"][data][way] for run in runs), "s")
        for data in _DATA
        for way, name in (("kept", _KEPT), ("anew", _RECOMPUTED))
    }
    return Outcome(
        findings=[
            finding(
                f"24 choices of co-occurrence, {data}",
                sides,
                f"{data}, {_RECOMPUTED}",
                f"{data}, {_KEPT}",
                None,
                "at least",
            )
            for data in _DATA
        ],
        sides=sides,
        runs={"calibration": runs},
        notes=[
            (
                f"{_REQUEST['targets']:,} validation targets at most, SASRec with random weights, one thread; what is "
                "kept is computed within the time. Both ways find the same ranks, or the row fails."
            )
        ],
    )
