"""What follows training: choices by validation, and metrics on the test targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from mclrec.data.split import EVERYTHING, Split
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.protocol import SEEN_OF
from mclrec.evaluation.ranking import evaluate
from mclrec.models.base import Recommender
from mclrec.models.directory import TENSORS, weights_checksum
from mclrec.progress import advancing
from mclrec.recipes import Recipe
from mclrec.runs.calibration import calibrate, weigh_near_items
from mclrec.runs.file_record import Calibration
from mclrec.runs.long_test import telling_if_long
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import ranks_path

__all__ = ["Chosen", "choose", "measure"]


class Chosen(NamedTuple):
    """What validation chose for a trained model; see `RunRecord`."""

    near_items: Calibration | None = None
    calibration: Calibration | None = None


def choose(
    request: TrainRequest,
    model: Recommender,
    split: Split,
    recipe: Recipe,
    device: torch.device,
    processes: Processes,
) -> Chosen:
    """Calibrate a model on validation; a final model has no validation and takes the values of its measured run."""
    if not recipe.training.calibrate_scores:
        return Chosen()
    if request.split != EVERYTHING:
        return Chosen(
            weigh_near_items(model, split, recipe.training, request.seed, device, processes),
            calibrate(model, split, recipe.training.metric, request.seed, device, processes),
        )
    if request.like is None:
        return Chosen()
    record = request.like.record
    found = Chosen(record.near_items, record.calibration)
    for part, chosen in zip((model.co_occurrence, model.repeats), found, strict=True):
        if part is not None and chosen is not None:
            part.adopt(chosen.chosen)
    return found


def measure(
    model: Recommender,
    split: Split,
    recipe: Recipe,
    directory: Path,
    seed: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Measure test metrics under both protocols, and write the exact ranks beside the model."""
    results = {}
    total = len(SEEN_OF) * len(split.test)
    with advancing("test targets", total) as advance:
        ranked = telling_if_long(total // processes.size, advance) if processes.main else advance
        for label, seen in SEEN_OF.items():
            result = evaluate(
                model,
                split,
                name=recipe.model,
                seen=seen,
                seed=seed,
                device=device,
                progress=ranked,
                processes=processes,
            )
            if processes.main:
                result.save_ranks(ranks_path(directory, "test", label), weights_checksum(directory / TENSORS))
            results[label] = result.to_json()
    return {"test": results}
