"""The plan of a training in human-readable lines: what the recipe chose and why, and how long it will take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mclrec.data.split import Split
from mclrec.recipes import Recipe, resolve, section_names
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.runs.construction import LongestTimes, longest_times
from mclrec.wording import count_of

__all__ = ["duration", "held_out_lines", "plan_lines"]

_MANY = 100_000
"""Number of test targets above which it is mentioned."""

_TIMED = 4
"""Number of batches to time."""

_LONG = 600.0
"""Seconds of training above which the quicker recipe is suggested."""

_VERY_LONG = 3600.0
"""Seconds of training by the quicker recipe above which a time limit is suggested."""


def plan_lines(
    recipe: Recipe, split: Split, sizes: DataSizes, device: torch.device, *, timed: bool = True
) -> list[str]:
    """Describe what is going to be trained, line by line.

    Args:
        recipe: recipe of the training.
        split: split of the data.
        sizes: sizes of the data.
        device: device to train on.
        timed: whether to time a few batches of a throwaway model for it.
    """
    lines = [f"recipe {recipe.section}: {recipe.source}", *_choices(recipe), *held_out_lines(split)]
    lines += [*_validation_lines(recipe, split), *_test_lines(split)]
    if not timed:
        return lines
    longest = longest_times(split, recipe, device, _TIMED)
    seconds = sum(longest)
    if not len(split.validation):
        return [
            *lines,
            f"time: {count_of(recipe.training.epochs, 'epoch')}, about {duration(seconds)}; nothing is held out",
        ]
    return (
        [*lines, _time(recipe, longest), *_suggestion_lines(recipe, split, sizes, device, seconds)]
        if seconds
        else lines
    )


def _validation_lines(recipe: Recipe, split: Split) -> list[str]:
    """A line saying that validation ranks only a sample of the targets, if it does."""
    most, there = recipe.training.validation_targets, len(split.validation)
    if most is None or there <= most:
        return []
    cure = "--set validation_targets=none ranks all"
    return [f"validation ranks {most:,} of {count_of(there, 'held-out item')}, drawn at random; {cure}"]


def _test_lines(split: Split) -> list[str]:
    """A line on the number of test targets, all of which are ranked after training, if it is very large."""
    if len(split.test) <= _MANY:
        return []
    targets, items = count_of(len(split.test), "target"), count_of(split.data.num_items, "item")
    return [f"test ranks all of {targets} among {items} after training, under U and F"]


def held_out_lines(split: Split) -> list[str]:
    """Lines on the cold items and users of a split by time, and on what later rows decided (the k-core).

    Args:
        split: a split by any rule; splits other than by time give no lines.
    """
    if not split.name.startswith("by-time"):
        return []
    training, test = split.training, split.test
    new_items = int(np.count_nonzero(training.popularity[test.items] == 0))
    new_users = int(np.count_nonzero(training.lengths[test.users] == 0))
    users = len(np.unique(test.users))
    line = (
        f"test: {count_of(len(test), 'target')} of {count_of(users, 'user')}; the items of {new_items:,} are never in "
        f"training, so no model that knows items by id can recommend them, nor are the users of {new_users:,}"
    )
    return [line, *_core(split)]


def _core(split: Split) -> list[str]:
    """A line on items and users that the k-core kept only because of rows that are not in training."""
    taken = split.data.taken
    least = next((step.option for step in taken.steps if step.rule == "k-core"), None) if taken else None
    if least is None:
        return []
    k = int(least.split()[-1])
    items = int(np.count_nonzero(split.training.popularity[1:] < k))
    users = int(np.count_nonzero(split.training.lengths < k))
    if not items + users:
        return []
    line = (
        f"  the k-core ({least}) counted later rows too: {items:,} of {count_of(split.data.num_items, 'item')} and "
        f"{users:,} of {count_of(split.data.num_users, 'user')} have fewer than {count_of(k, 'row')} in training; "
        "--min-count 1 avoids this"
    )
    return [line]


def duration(seconds: float) -> str:
    """Format seconds in words: ``1 second``, ``40 seconds``, ``4 minutes``, ``5.5 hours``."""
    if seconds < 90:
        return count_of(max(round(seconds), 1), "second")
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours".replace(".0 ", " ")


def _choices(recipe: Recipe) -> list[str]:
    """A line for each choice of the recipe `auto`."""
    return [
        f"  {', '.join(f'{key} = {value}' for key, value in choice.settings.items())}: {choice.reason}"
        for choice in recipe.choices
    ]


def _time(recipe: Recipe, longest: LongestTimes) -> str:
    epochs = recipe.training.epochs
    training, validation = (seconds / epochs for seconds in longest)
    each = f"{training:.3g} s per epoch and {validation:.2g} s for its validation"
    most = f"at most {count_of(epochs, 'epoch')}: {duration(sum(longest))}"
    return f"time: about {each}, {most}, less if validation stops rising"


def _suggestion_lines(
    recipe: Recipe, split: Split, sizes: DataSizes, device: torch.device, seconds: float
) -> list[str]:
    """Suggest `auto` if training is slow because each prefix is an example, and a time limit if `auto` is slow."""
    if recipe.section == AUTO and seconds > _VERY_LONG:
        return ["  --minutes 30 trains the best model that is found in half an hour"]
    long = seconds > _LONG and getattr(recipe.config, "unit", None) == "prefixes"
    if not long or AUTO not in section_names(recipe.model):
        return []
    auto = resolve(recipe.model, None, AUTO, sizes=sizes)
    auto = replace(auto, training=auto.training.on(device))
    usual = sum(longest_times(split, auto, device, _TIMED))
    return [
        f"  each prefix of a history is an example, as in the paper; --recipe {AUTO} takes {duration(usual)}"
    ]
