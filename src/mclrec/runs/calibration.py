"""Calibration of a trained model by validation: what no loss sets as lists need it."""

from __future__ import annotations

import torch

from mclrec.data.split import Split
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.progress import working
from mclrec.runs.file_record import Calibration
from mclrec.training.validation import returning_targets

__all__ = ["CALIBRATION_TARGETS", "calibrate", "calibration_line"]

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


def calibration_line(found: Calibration) -> str:
    """What validation chose, in a line for people."""
    chosen = ", ".join(f"{name} {value:+g}" for name, value in found.chosen.items())
    return (
        f"calibrated by validation, {chosen}: {found.metric} with items of the history among the candidates "
        f"{found.before:.4f} -> {found.after:.4f}"
    )
