"""Choice of precision where the recipe leaves it open: bf16 if it is much faster here, or what a run began with."""

from __future__ import annotations

from dataclasses import replace

import torch

from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.recipes import Recipe

__all__ = ["with_precision"]

_REASONS = {"bf16": "much faster than fp32 here", "fp32": "as bf16 is not much faster here"}


def with_precision(
    recipe: Recipe, device: torch.device, begun: object = None, processes: Processes = SINGLE_PROCESS
) -> tuple[Recipe, list[str]]:
    """Resolve ``precision = "auto"`` in a recipe; returns the recipe and a line on the choice.

    A resumed run keeps the precision that it began with, even if it is now on a machine where the other one is faster.
    Each process would measure its own machine, so all take what the main process found.

    Args:
        recipe: recipe of the training.
        device: device to train on.
        begun: precision that a resumed run began with; None for a new run.
        processes: the processes that train together.
    """
    if recipe.training.precision != "auto":
        return recipe, []
    known = begun if begun in _REASONS else None  # a damaged file may hold anything; it is refused later
    decided = processes.broadcast_text(lambda: known or recipe.training.on(device).precision)
    training = recipe.training.model_copy(update={"precision": decided})
    why = "as the run began" if known else _REASONS[decided]
    return replace(recipe, training=training), [f"precision: {decided}, {why}"]
