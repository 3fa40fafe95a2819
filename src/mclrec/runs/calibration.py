"""Calibration of a trained model by validation: what no loss sets as lists need it."""

from __future__ import annotations

import torch

from mclrec.data.split import Split
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.metrics import FloatArray, parse_metric, per_user
from mclrec.evaluation.reranking import ranker
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
    part = model.repeats
    targets = None if part is None else returning_targets(split.validation, CALIBRATION_TARGETS, seed)
    if part is None or targets is None:
        return None
    judge, values = parse_metric(metric), list[float]()

    def measure() -> float:
        values.append(judge.mean(rank()))
        return values[-1]

    with working("calibrating"):
        rank = ranker(model, targets, part, seen="keep", cut=judge.k, device=device, processes=processes)
        chosen = part.calibrate(measure)._asdict()
    return Calibration(chosen=chosen, metric=metric, before=values[0], after=max(values))


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
    part = model.co_occurrence
    if part is None or not len(split.validation):
        return None
    start = part.chosen
    targets = drawn(split.validation, CALIBRATION_TARGETS, generator(seed, Stream.CALIBRATION))
    name, cut = parse_metric(training.metric)
    means = list[float]()

    def measure() -> FloatArray:
        values = per_user(rank(), name, cut)
        means.append(float(values.mean()))
        return values

    with working("weighing co-occurrence"):
        rank = ranker(model, targets, part, seen=training.seen, cut=cut, device=device, processes=processes)
        chosen = part.calibrate(measure)
    after = means[0] if chosen == start else max(means)
    return Calibration(chosen=chosen._asdict(), metric=training.metric, before=means[0], after=after)


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
