"""Memory of each of several processes that shard a large item table: training steps, saving weights, ranking."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.rows.catalogue import median_step
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread, quantity
from benchmarks.work import check_initial_loss

__all__ = ["measure_shards"]

_COUNTS = (1, 2, 4)
_BATCH, _USERS = 32, 64
_OVERHEAD_GB = 0.6
"""Memory that a process may use beyond its share of what a single process uses."""


def measure_shards(session: Session) -> Outcome:
    """Measure the largest peak memory among several processes, against that of a single process."""
    runs: dict[str, list[Measurement]] = {}
    findings, sides = [], {}
    for count in _COUNTS:
        name = f"{count} process{'es' if count > 1 else ''}"
        runs[name] = processes = session.run_together(name, _child(session), count)
        check_initial_loss(name, processes[0].document)
        findings.append(_finding(name, count, processes, _peak(runs["1 process"])))
        sides[name] = Spread((median(median_step(process) for process in processes),), "s")
    return Outcome(findings, sides=sides, runs=runs)


def _child(session: Session) -> Child:
    request: dict[str, Any] = {
        "data": {"users": _USERS, "items": session.budget.shared_items, "length": 20},
        "model": "sasrec",
        "recipe": "default",
        "settings": {"precision": "fp32", "batch_size": _BATCH},
        "seed": 1,
        "batches": 2,
        "warmup": 1,
        "shard": True,
        "save": True,
        "validate": True,
    }
    return Child("benchmarks.ours.training", request)


def _peak(processes: list[Measurement]) -> int:
    return max(process.peak_bytes for process in processes)


def _finding(name: str, count: int, processes: list[Measurement], alone: int) -> Finding:
    peak, share = _peak(processes), alone / count
    items = processes[0].document["work"]["items"]
    return Finding(
        f"{name}, {items:,} items, d 64: peak memory of a process beyond its share of what a single process occupies",
        (peak - share) / 1e9,
        "GB",
        _OVERHEAD_GB,
        ours=f"{quantity(peak / 1e9, 'GB')} in all",
        theirs=f"{quantity(share / 1e9, 'GB')} of a single process",
    )
