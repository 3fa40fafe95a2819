"""Which precision a training takes where its recipe leaves it open: what is quicker here, or what it began with."""

from __future__ import annotations

from dataclasses import replace

import torch

from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.recipes import Recipe

__all__ = ["with_precision"]

_DECIDED = ("fp32", "bf16")


def with_precision(
    recipe: Recipe, device: torch.device, begun: object = None, processes: Processes = SINGLE_PROCESS
) -> tuple[Recipe, list[str]]:
    """A recipe with ``precision = "auto"`` decided, and a line on it.

    A run that goes on keeps the precision that it began with: it may be on another machine now, where the other one is
    quicker. Each process would measure its own machine, so all take what the main one found.

    Args:
        recipe: of the training.
        device: where to train.
        begun: precision that the run which goes on began with; None for a new one.
        processes: that train together.
    """
    if recipe.training.precision != "auto":
        return recipe, []
    known = begun if begun in _DECIDED else None  # a damaged file, which is refused later, may say anything
    decided = processes.broadcast_text(lambda: known or recipe.training.on(device).precision)
    training = recipe.training.model_copy(update={"precision": decided})
    why = "as it began" if known else "the quicker one here"
    return replace(recipe, training=training), [f"precision: {decided}, {why}"]
