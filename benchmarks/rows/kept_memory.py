"""Gain from keeping the memory that a training step frees, instead of returning it to the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.comparison import finding
from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.rows.catalogue import median_step, step_child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread, quantity

__all__ = ["measure_kept_memory"]

_DRAWN = {"users": 1_000, "length": 20}
_TRAININGS: Mapping[str, tuple[str | Mapping[str, int], str]] = {
    "Beauty, softmax": ("beauty", "sequences"),
    "Beauty, gbce": ("beauty", "gbce"),
    "200,000 items, softmax on prefixes": ({**_DRAWN, "items": 200_000}, "default"),
    "1,000,000 items, sampled": ({**_DRAWN, "items": 1_000_000}, "sampled"),
}
"""The data and the SASRec recipe of each training, by name."""

_GLIBC_DEFAULT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"}
"""Sets what is the default anyway: training does not change an allocator that the user has tuned."""

_STEPS = 10


def measure_kept_memory(session: Session) -> Outcome:
    """Measure a step of several trainings both ways, and the peak memory that keeping costs."""
    children: dict[str, Child] = {}
    for name, (data, recipe) in _TRAININGS.items():
        child = step_child(session, data, min(_STEPS, session.budget.batches), recipe)
        children |= {f"{name}, kept": child, f"{name}, returned": replace(child, environment=_GLIBC_DEFAULT)}
    runs = session.take_turns(children)
    sides = {
        side: Spread(tuple(1000 * median_step(run) for run in of_side), "ms")
        for side, of_side in runs.items()
    }
    peaks = {
        side: Spread(tuple(run.peak_bytes / 1e9 for run in of_side), "GB") for side, of_side in runs.items()
    }
    findings: list[Finding] = []
    for name in _TRAININGS:
        kept, returned = f"{name}, kept", f"{name}, returned"
        findings += [
            finding("a step of SASRec, memory kept", sides, returned, kept, None, "at least"),
            Finding(
                f"a step of SASRec, memory kept: {name}, peak memory",
                peaks[kept].median / peaks[returned].median,
                "x",
                ours=quantity(peaks[kept].median, "GB"),
                theirs=quantity(peaks[returned].median, "GB"),
            ),
        ]
    return Outcome(findings=findings, sides=sides, runs=runs)
