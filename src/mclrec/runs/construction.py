"""Construction of a run's model, and estimates of how long its training takes."""

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

__all__ = ["LongestTimes", "build", "longest_time", "longest_times"]


def build(recipe: Recipe, training: SequenceData, seed: int) -> Recommender:
    """Build the model of a recipe, with weights initialised from the seed."""
    model_class = registry.model_class(recipe.model)
    check_memory(model_class, recipe.config, training.num_items, training.num_users, IN_TRAINING)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, Stream.INITIALISATION).integers(1 << 62)))
        return model_class(recipe.config, training.num_items, training.num_users)


class LongestTimes(NamedTuple):
    """Estimated seconds of a training that is never stopped early.

    Attributes:
        training: seconds of all epochs.
        validation: seconds of ranking validation targets after the epochs.
    """

    training: float
    validation: float


def longest_time(split: Split, recipe: Recipe, device: torch.device, steps: int = 9) -> float:
    """Estimate the seconds of a training on this machine if it is never stopped early, without validation.

    Args:
        split: split of the data.
        recipe: recipe of the model.
        device: device to train on.
        steps: number of batches to time, on a throwaway model.
    """
    trainer = _trainer(split, recipe, device)
    return trainer.longest_time(steps) if trainer.model.phases() else 0.0


def longest_times(split: Split, recipe: Recipe, device: torch.device, steps: int = 9) -> LongestTimes:
    """Estimate the seconds of training, as `longest_time`, and of validation, for which some targets are ranked.

    Args:
        split: split of the data.
        recipe: recipe of the model.
        device: device to train on.
        steps: number of batches to time, on a throwaway model.
    """
    trainer = _trainer(split, recipe, device)
    if not trainer.model.phases():
        return LongestTimes(0.0, 0.0)
    return LongestTimes(trainer.longest_time(steps), trainer.longest_validation())


def _trainer(split: Split, recipe: Recipe, device: torch.device) -> Trainer:
    """A trainer of a throwaway model; nothing is written."""
    model = build(recipe, split.training, 1)
    return Trainer(model, split, recipe.training, seed=1, directory=Path(), device=device, identity={})
