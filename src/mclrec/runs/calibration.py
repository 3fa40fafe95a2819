"""Calibration of a trained model by validation: what no loss sets as lists need it."""

from __future__ import annotations

import torch

from mclrec.data.split import Split
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.metrics import FloatArray, parse_metric, per_user
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.progress import working
from mclrec.randomness import Stream, generator
from mclrec.runs.file_record import Calibration
from mclrec.runs.run import RunRecord
from mclrec.training.config import TrainingConfig
from mclrec.training.validation import drawn, returning_targets

__all__ = [
    "CALIBRATION_TARGETS",
    "calibrate",
    "calibration_line",
    "chosen_lines",
    "near_items_line",
    "weigh_near_items",
]

CALIBRATION_TARGETS = 20_000
"""Validation targets that are ranked at each step; of more, so many are drawn."""


def calibrate(
    model: Recommender,
    split: Split,
    metric: str,
    seed: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> Calibration | None:
    """Let a trained model choose what it has to choose, with the items of histories among the candidates.

    Where nobody returns to an item, what training has learned of it is left as it is.

    Args:
        model: with the weights that validation chose.
        split: whose validation targets decide.
        metric: such as ``ndcg@10``.
        seed: of the run; draws the targets where there are many.
        device: where the model is.
        processes: all call this together, and choose alike.

    Returns:
        What was chosen, and what the metric was before and is now; None if there was nothing to choose.
    """
    targets = returning_targets(split.validation, CALIBRATION_TARGETS, seed) if model.calibrates else None
    if targets is None:
        return None
    mean, values = parse_metric(metric).mean, list[float]()

    def measure() -> float:
        ranks = rank_targets(model, targets, seen="keep", device=device, processes=processes)
        values.append(mean(ranks))
        return values[-1]

    with working("calibrating"):
        chosen = model.calibrate(measure)
    return Calibration(chosen=dict(chosen), metric=metric, before=values[0], after=max(values))


def weigh_near_items(
    model: Recommender,
    split: Split,
    training: TrainingConfig,
    seed: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> Calibration | None:
    """Let a trained model choose how much items gain that are near those of the history.

    Args:
        model: with the weights that validation chose.
        split: whose validation targets decide.
        training: its metric and its protocol.
        seed: of the run; draws the targets where there are many.
        device: where the model is.
        processes: all call this together, and choose alike.

    Returns:
        What was chosen, and what the metric was before and is now; None if there was nothing to choose.
    """
    start = model.nearness
    if not start or not len(split.validation):
        return None
    targets = drawn(split.validation, CALIBRATION_TARGETS, generator(seed, Stream.CALIBRATION))
    name, cut = parse_metric(training.metric)
    means = list[float]()

    def measure() -> FloatArray:
        ranks = rank_targets(model, targets, seen=training.seen, device=device, processes=processes)
        values = per_user(ranks, name, cut)
        means.append(float(values.mean()))
        return values

    with working("weighing co-occurrence"):
        chosen = model.weigh_near_items(measure)
    after = means[0] if chosen == start else max(means)
    return Calibration(chosen=dict(chosen), metric=training.metric, before=means[0], after=after)


def chosen_lines(record: RunRecord) -> list[str]:
    """What validation chose after training, in lines for people."""
    return [
        *([] if record.near_items is None else [near_items_line(record.near_items)]),
        *([] if record.calibration is None else [calibration_line(record.calibration)]),
    ]


def near_items_line(found: Calibration) -> str:
    """How much validation lets co-occurrence add, in a line for people."""
    weight, decay = found.chosen["weight"], found.chosen["decay"]
    return (
        f"co-occurrence weighed by validation, weight {weight:g}, decay {decay:g}: {found.metric} "
        f"{found.before:.4f} -> {found.after:.4f}"
    )


def calibration_line(found: Calibration) -> str:
    """What validation chose, in a line for people."""
    chosen = ", ".join(f"{name} {value:+g}" for name, value in found.chosen.items())
    return (
        f"calibrated by validation, {chosen}: {found.metric} with items of the history among the candidates "
        f"{found.before:.4f} -> {found.after:.4f}"
    )
