"""One training step of SASRec (d 64, batches of 256 prefixes, full softmax) as the catalogue grows."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Curve, Finding, Point, Spread, quantity
from benchmarks.work import check_initial_loss

__all__ = ["LINEAR", "TORCH_PROCESS", "growth_findings", "measure_catalogue", "median_step", "step_child"]

TORCH_PROCESS = Child("benchmarks.ours.idle", {"modules": ["torch", "mclrec.runs.training_run"]})
"""A process that has loaded what training needs."""

_STATES = 4  # numbers kept for each weight: itself, its gradient, Adam's two moments
_BEYOND_GB = 1.0
LINEAR = 1.1
"""Largest slope on log axes that counts as linear, as timings are noisy."""

_TARGET_ITEMS = 1_000_000


def step_child(
    session: Session, data: str | Mapping[str, int], batches: int, recipe: str = "default", **settings: Any
) -> Child:
    """A child that trains SASRec with a recipe and ``settings``, on a data set or synthetic histories of one length."""
    return Child(
        "benchmarks.ours.training",
        {
            "data": data if isinstance(data, str) else dict(data),
            "model": "sasrec",
            "recipe": recipe,
            "settings": {"precision": "fp32", **settings},
            "seed": 1,
            "batches": batches,
            "warmup": session.budget.warmup,
        },
    )


def median_step(run: Measurement) -> float:
    """Seconds of the median step."""
    return float(median(run.document["batch_seconds"]))


def measure_catalogue(session: Session) -> Outcome:
    """Measure the memory beyond weights, gradients and optimiser, and the growth of time and memory."""
    empty = session.run("an idle process", TORCH_PROCESS).peak_bytes
    points, runs, findings = [], {}, []
    for items in session.budget.catalogues:
        name = f"{items:,} items"
        data = {"users": 1_000, "items": items, "length": 20}
        run = session.run(name, step_child(session, data, session.budget.catalogue_batches))
        check_initial_loss(name, run.document)
        points.append(Point(items, median_step(run), run.peak_bytes))
        runs[name] = [run]
        findings.append(_memory_finding(items, run))
    curve = Curve("a step of SASRec, 256 prefixes, full softmax", "items", tuple(points), empty)
    sides = {f"{point.size:,} items": Spread((point.seconds,), "s") for point in points}
    return Outcome([*findings, *growth_findings(curve, LINEAR)], sides=sides, runs=runs, curves=[curve])


def growth_findings(curve: Curve, target: float) -> list[Finding]:
    """Findings on the slopes of time and memory, with the largest slope that is allowed."""
    sizes = f"{curve.points[0].size:,} to {curve.points[-1].size:,}"
    what = f"growth with the {curve.against} of {curve.what}"
    return [
        Finding(f"{what}: time", curve.time_slope, "slope", target, ours=sizes),
        Finding(f"{what}: memory", curve.memory_slope, "slope", target, ours=sizes),
    ]


def _memory_finding(items: int, run: Measurement) -> Finding:
    states = _STATES * run.document["parameter_bytes"]
    return Finding(
        f"training step, {items:,} items: peak memory beyond weights, gradients and optimiser",
        (run.peak_bytes - states) / 1e9,
        "GB",
        _BEYOND_GB if items == _TARGET_ITEMS else None,
        ours=f"{quantity(run.peak_bytes / 1e9, 'GB')} in all",
        theirs=f"{quantity(states / 1e9, 'GB')} of states",
    )
