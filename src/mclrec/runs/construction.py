"""Construction of the model of a run, and an estimate of how long its training takes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.sizes import IN_TRAINING, check_memory
from mclrec.randomness import Stream, generator
from mclrec.recipes import Recipe
from mclrec.training.trainer import Trainer

__all__ = ["LongestTime", "build", "longest_time"]


def build(recipe: Recipe, training: SequenceData, seed: int) -> Recommender:
    """Build the model with weights initialised by the seed."""
    model_class = registry.model_class(recipe.model)
    check_memory(model_class, recipe.config, training.num_items, training.num_users, IN_TRAINING)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, Stream.INITIALISATION).integers(1 << 62)))
        return model_class(recipe.config, training.num_items, training.num_users)


class LongestTime(NamedTuple):
    """Seconds of a training that is never stopped early.

    Attributes:
        training: of all epochs.
        validation: of ranking validation targets after each of them.
    """

    training: float
    validation: float


def longest_time(split: Split, recipe: Recipe, device: torch.device, steps: int = 9) -> LongestTime:
    """Estimate how long a training takes on this machine if it is never stopped early.

    Args:
        split: of the data.
        recipe: of the model.
        device: where to train.
        steps: batches that are timed, of a model that is thrown away.
    """
    model = build(recipe, split.training, 1)
    if not model.phases():
        return LongestTime(0.0, 0.0)
    nowhere = Path()  # nothing is written
    trainer = Trainer(model, split, recipe.training, seed=1, directory=nowhere, device=device, identity={})
    return LongestTime(trainer.longest_time(steps), trainer.longest_validation())
