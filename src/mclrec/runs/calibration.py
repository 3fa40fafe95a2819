"""Calibration of a trained model on validation: score additions that no loss tunes for recommendation lists."""

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
"""Largest number of validation targets ranked at each step; if there are more, a sample of this size is drawn."""


def calibrate(
    model: Recommender,
    split: Split,
    metric: str,
    seed: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> Calibration | None:
    """Choose how much a trained model adds to the scores of items of the history, which are among the candidates.

    If hardly any user returns to an item, what training has learned about repetition is left unchanged.

    Args:
        model: the model, with the weights that validation chose.
        split: its validation targets decide.
        metric: metric to maximise, such as ``ndcg@10``.
        seed: seed of the run; it draws the sample of targets if there are many.
        device: device of the model.
        processes: the training processes, which all call this together and choose the same values.

    Returns:
        The chosen values, with the metric before and after; None if there was nothing to choose.
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
    """Choose how much a trained model adds to the scores of items that co-occur with those of the history.

    Args:
        model: the model, with the weights that validation chose.
        split: its validation targets decide.
        training: settings of the training, which give the metric and the protocol.
        seed: seed of the run; it draws the sample of targets if there are many.
        device: device of the model.
        processes: the training processes, which all call this together and choose the same values.

    Returns:
        The chosen values, with the metric before and after; None if there was nothing to choose.
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

    with working("weighting co-occurrence"):
        rank = ranker(model, targets, part, seen=training.seen, cut=cut, device=device, processes=processes)
        chosen = part.calibrate(measure)
    after = means[0] if chosen == start else max(means)
    return Calibration(chosen=chosen._asdict(), metric=training.metric, before=means[0], after=after)


def chosen_lines(record: RunRecord) -> list[str]:
    """Human-readable lines on what validation chose after training."""
    return [
        *([] if record.near_items is None else [near_items_line(record.near_items)]),
        *([] if record.calibration is None else [calibration_line(record.calibration)]),
    ]


def near_items_line(found: Calibration) -> str:
    """Human-readable line on the weight that validation chose for co-occurrence."""
    weight, decay = found.chosen["weight"], found.chosen["decay"]
    return (
        f"co-occurrence weighted by validation, weight {weight:g}, decay {decay:g}: {found.metric} {found.before:.4f} "
        f"-> {found.after:.4f}"
    )


def calibration_line(found: Calibration) -> str:
    """Human-readable line on what validation chose for items of the history."""
    chosen = ", ".join(f"{name} {value:+g}" for name, value in found.chosen.items())
    return (
        f"calibrated by validation, {chosen}: {found.metric} with items of the history among the candidates "
        f"{found.before:.4f} -> {found.after:.4f}"
    )
