"""Which precision a training takes where its recipe leaves it open: what is quicker here, or what it began with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mclrec.distributed.processes import Processes
from mclrec.recipes import Recipe
from mclrec.training.checkpoint import began_with

__all__ = ["with_precision"]

_DECIDED = ("fp32", "bf16")


def with_precision(
    recipe: Recipe, device: torch.device, resumed: Path | None, processes: Processes
) -> tuple[Recipe, list[str]]:
    """A recipe with ``precision = "auto"`` decided, and a line on it.

    A run that goes on keeps the precision that it began with: it may be on another machine now, where the other one is
    quicker. Each process would measure its own machine, so all take what the main one found.

    Args:
        recipe: of the training.
        device: where to train.
        resumed: directory of the run that goes on; None for a new one.
        processes: that train together.
    """
    if recipe.training.precision != "auto":
        return recipe, []
    begun = None if resumed is None else began_with(resumed).get("precision")
    if begun not in _DECIDED:  # of an earlier version, or of a damaged file, which is refused later
        begun = None
    decided = processes.broadcast_text(lambda: begun or recipe.training.on(device).precision)
    training = recipe.training.model_copy(update={"precision": decided})
    why = "as the run began" if begun else "the quicker one here"
    return replace(recipe, training=training), [f"precision: {decided}, {why}"]
