"""What a training is going to do, in lines for people: what the recipe chose and why, and how long it will take."""

from __future__ import annotations

from dataclasses import replace

import torch

from mclrec.data.split import Split
from mclrec.recipes import Recipe, resolve, section_names
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.runs.construction import longest_time
from mclrec.wording import count_of

__all__ = ["duration", "plan_lines"]

_TIMED = 4
"""Batches that are timed."""

_USUAL = (20, 40)
"""Epochs after which most trainings by `auto` end."""

_LONG = 600.0
"""Seconds from which a training has to say that there is a quicker way."""


def plan_lines(
    recipe: Recipe, split: Split, sizes: DataSizes, device: torch.device, *, timed: bool = True
) -> list[str]:
    """Lines on what is going to be trained.

    Args:
        recipe: that is trained by.
        split: of the data.
        sizes: of the data.
        device: where.
        timed: whether a few batches are timed for it, by a model that is thrown away.
    """
    lines = [f"recipe {recipe.section}: {recipe.source}", *_choices(recipe)]
    if not timed:
        return lines
    seconds = longest_time(split, recipe, device, _TIMED)
    if not len(split.validation):
        return [
            *lines,
            f"time: {count_of(recipe.training.epochs, 'epoch')}, about {duration(seconds)}; nothing is held out",
        ]
    return (
        [*lines, *_times(recipe, seconds), *_quicker(recipe, split, sizes, device, seconds)]
        if seconds
        else lines
    )


def duration(seconds: float) -> str:
    """A length of time as people say it: ``40 seconds``, ``4 minutes``, ``5.5 hours``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours".replace(".0 ", " ")


def _choices(recipe: Recipe) -> list[str]:
    """A line for each rule of the recipe `auto`."""
    return [
        f"  {', '.join(f'{key} = {value}' for key, value in choice.settings.items())}: {choice.reason}"
        for choice in recipe.choices
    ]


def _times(recipe: Recipe, seconds: float) -> list[str]:
    epochs = recipe.training.epochs
    line = f"time: about {seconds / epochs:.3g} s an epoch"
    if recipe.section == AUTO and epochs > _USUAL[1]:
        usual = [seconds / epochs * one for one in _USUAL]
        return [
            f"{line}, usually {_USUAL[0]} to {_USUAL[1]} epochs: {duration(usual[0])} to {duration(usual[1])}"
        ]
    return [
        f"{line}, at most {count_of(epochs, 'epoch')}: {duration(seconds)}, less where validation stops rising"
    ]


def _quicker(
    recipe: Recipe, split: Split, sizes: DataSizes, device: torch.device, seconds: float
) -> list[str]:
    """The way by `auto`, where the training takes long because each prefix is an example."""
    long = seconds > _LONG and getattr(recipe.config, "unit", None) == "prefixes"
    if not long or AUTO not in section_names(recipe.model):
        return []
    auto = resolve(recipe.model, None, AUTO, sizes=sizes)
    auto = replace(auto, training=auto.training.on(device))
    usual = longest_time(split, auto, device, _TIMED) / auto.training.epochs * _USUAL[1]
    return [
        f"  each prefix of a history is an example, as in the paper; --recipe {AUTO} takes {duration(usual)}"
    ]
