"""The recipe `auto`: settings that follow from the sizes of the data.

A model has this recipe if its file has a section of that name, which holds the settings that are the same on every
log. The rules here add those that are not. They look at training and validation data only. ``docs/auto.md`` shows how
they were chosen: by validation on ml-100k, lastfm, complete-journey, Beauty, Sports and Yelp.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mclrec.data.returns import suited_protocol
from mclrec.data.split import Split
from mclrec.wording import count_of

__all__ = ["ALPHA", "AUTO", "TYPICAL", "Choice", "DataSizes", "choose"]

AUTO = "auto"
"""Name of the recipe, and of its section."""

_MAX_LENGTH = 50
_BATCH = 128
_LARGEST_BATCH = 1024
_STEPS = 8
"""Minimum number of steps in an epoch, unless batches would be smaller than `_SMALLEST_BATCH`."""

_SMALLEST_BATCH = 16
_MANY_STEPS = 1000
"""Number of steps in an epoch from which batches grow with the number of windows."""

_PATIENCE_STEPS = 100
_LEAST_PATIENCE = 7
_CYCLE = 4
"""Length of the learning rate's cycle with three updates per batch, as a multiple of the patience."""
_MOST_EPOCHS = 200

_MANY_INTERACTIONS = 30
"""Average number of interactions per item from which less dropout is better."""

_LONG = 20
"""Average number of targets per window from which attention needs little dropout and no filter beside it."""

ALPHA = 0.7
"""Share of the frequency filter: BSARec's on its shortest histories."""

_MANY_BATCHES = 100
"""Number of steps in an epoch from which MCLRec makes the two updates per batch of algorithm 1, the learning rate is
constant, and a filter is added for short histories."""

_FULL_SOFTMAX = 50_000
"""Number of items up to which the softmax is over the whole catalogue."""

_SAMPLES = 2048

_CO_OCCURRENCE = 4.0
"""Weight of co-occurrence, in units of scores."""

_MOST_COUNTED = 50_000
"""Number of items up to which co-occurrence is counted: it stores the items near each one and ranks exactly."""


@dataclass(frozen=True, slots=True)
class DataSizes:
    """Sizes of the data that the rules look at.

    Attributes:
        users: number of users with a training example.
        items: number of items in the catalogue.
        longest: length of the longest training history.
        windows: number of pieces of at most 50 targets that the training histories are cut into.
        interactions: number of training interactions.
        returns: share of the validation targets that are in their user's history; None without targets.
    """

    users: int
    items: int
    longest: int
    windows: int
    interactions: int
    returns: float | None

    @classmethod
    def of(cls, split: Split, returns: float | None) -> DataSizes:
        """Measure the training part.

        Args:
            split: split of the data.
            returns: share of its validation targets that are in their user's history, from the intake, which has
                counted them already; None without targets.
        """
        lengths = split.training.lengths
        return cls(
            int(np.count_nonzero(lengths >= 2)),
            split.data.num_items,
            int(lengths.max(initial=0)),
            int((-(-np.maximum(lengths - 1, 0) // _MAX_LENGTH)).sum()),
            int(lengths.sum()),
            returns,
        )


TYPICAL = (
    DataSizes(users=900, items=1_300, longest=600, windows=2_400, interactions=97_000, returns=0.0),
    DataSizes(users=22_000, items=12_000, longest=200, windows=22_500, interactions=154_000, returns=0.0),
    DataSizes(users=200_000, items=10**6, longest=300, windows=400_000, interactions=9 * 10**6, returns=0.4),
    DataSizes(users=200_000, items=10**6, longest=300, windows=200_000, interactions=2 * 10**6, returns=0.0),
)
"""Sizes of logs with few long histories, with many short ones, and with both kinds for many items. Each choice of the
rules on which the effect of another setting depends is made for one of these."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings that one rule chose, and why.

    Attributes:
        settings: values by key.
        reason: a human-readable clause, on one line.
        unless: a setting on which the others depend: if the user sets another value, the whole choice is dropped; None
            for none.
    """

    settings: Mapping[str, Any]
    reason: str
    unless: str | None = None


def choose(sizes: DataSizes, keys: Collection[str]) -> Sequence[Choice]:
    """Choose settings for data of these sizes.

    Args:
        sizes: sizes of the data.
        keys: settings that the model and its training have; a choice with any other setting is left out.
    """
    choices = [rule(sizes) for rule in _RULES]
    return [choice for choice in choices if choice is not None and choice.settings.keys() <= set(keys)]


def batch_size(windows: int) -> int:
    """Number of windows in a batch: 128, fewer if an epoch would have fewer than 8 steps, more from 1,000 steps on."""
    most, least = windows / _STEPS, windows / _MANY_STEPS
    size = min(max(_BATCH, _power_of_two(least)), _LARGEST_BATCH)
    return max(min(size, _power_of_two(most)), _SMALLEST_BATCH)


def _length(sizes: DataSizes) -> Choice:
    """Length 50, or that of the longest training history if it is shorter: no history reaches further positions."""
    length = min(max(sizes.longest, 2), _MAX_LENGTH)
    why = (
        "the latest items say most about the next one"
        if length == _MAX_LENGTH
        else f"the longest training history has {count_of(sizes.longest, 'item')}"
    )
    return Choice({"max_length": length}, why)


def _steps(sizes: DataSizes) -> int:
    """Number of steps in an epoch."""
    return -(-sizes.windows // batch_size(sizes.windows))


def _batch(sizes: DataSizes) -> Choice:
    what = f"{sizes.windows:,} windows" if sizes.windows > sizes.users else count_of(sizes.users, "user")
    return Choice(
        {"batch_size": batch_size(sizes.windows)}, f"{count_of(_steps(sizes), 'step')} per epoch of {what}"
    )


def _cycle(sizes: DataSizes) -> Choice | None:
    """With few steps per epoch, one cycle of a high learning rate does in half the epochs what a constant one does."""
    if _steps(sizes) >= _MANY_BATCHES:
        return None
    settings = {"learning_rate": 1.6e-2, "cycle": "whole", "epochs": _cycle_epochs(sizes, 2 * _CYCLE)}
    return Choice(
        settings, "few steps per epoch: the rate rises for a fifth of the training, then falls to 0"
    )


def _updates(sizes: DataSizes) -> Choice:
    """Three updates learn more per epoch; two cost half as much, and need a higher learning rate if it is constant."""
    if _steps(sizes) < _MANY_BATCHES:
        settings = {"updates": "three", "epochs": _cycle_epochs(sizes, _CYCLE)}
        reason = "the official code's three updates per batch learn as much in half the epochs"
    else:
        settings = {"updates": "two", "learning_rate": 6e-3}
        reason = "algorithm 1's two updates per batch take half the time of the official code's three"
    return Choice(settings, reason, unless="updates")


def _cycle_epochs(sizes: DataSizes, patiences: int) -> int:
    return min(patiences * _patience_epochs(sizes), _MOST_EPOCHS)


def _patience_epochs(sizes: DataSizes) -> int:
    return max(_LEAST_PATIENCE, -(-_PATIENCE_STEPS // max(_steps(sizes), 1)))


def _patience(sizes: DataSizes) -> Choice:
    """Patience in epochs for a minimum number of steps, because an epoch of few users has few steps."""
    patience = _patience_epochs(sizes)
    return Choice(
        {"stopping": "plateau", "patience": patience},
        f"stops when the last {count_of(patience, 'epoch')} are on average hardly better than the {patience} before",
    )


def _dropout(sizes: DataSizes) -> Choice:
    """Items that are seen often need less dropout, and learn faster with less."""
    each = sizes.interactions / max(sizes.items, 1)
    many = each >= _MANY_INTERACTIONS
    return Choice(
        {"dropout": 0.3 if many else 0.5},
        f"{each:,.0f} interactions per item on average, which is {'many' if many else 'few'}",
    )


def _targets(sizes: DataSizes) -> float:
    """Average number of targets per window."""
    return (sizes.interactions - sizes.users) / max(sizes.windows, 1)


def _attention_dropout(sizes: DataSizes) -> Choice:
    """Among many items it pays to learn which to attend to; with few, dropout serves to create further examples."""
    length = _targets(sizes)
    why = f"targets per window: {length:,.0f} on average, which is {'many' if length >= _LONG else 'few'}"
    return Choice({"attention_dropout": 0.2 if length >= _LONG else 0.5}, why)


def _filter(sizes: DataSizes) -> Choice | None:
    """Short histories offer little to attend to: a filter weights all of their items by how far back they are.

    Only many users make it useful; with few, co-occurrence contributes as much.
    """
    if _targets(sizes) >= _LONG or _steps(sizes) < _MANY_BATCHES:
        return None
    return Choice(
        {"alpha": ALPHA}, "many short histories: a frequency filter beside attention reads them better"
    )


def _loss(sizes: DataSizes) -> Choice:
    if sizes.items <= _FULL_SOFTMAX:
        return Choice(
            {"loss": "softmax"}, f"over all {count_of(sizes.items, 'item')}, the most accurate loss"
        )
    return Choice(
        {"loss": "sampled", "samples": _SAMPLES},
        f"a softmax over all {count_of(sizes.items, 'item')} would take more than half of each step",
    )


def _protocol(sizes: DataSizes) -> Choice:
    share = sizes.returns or 0.0
    if suited_protocol(sizes.returns) == "U":
        return Choice(
            {"seen": "keep"}, f"{share:.0%} of the held-out items are already in the user's history"
        )
    return Choice(
        {"seen": "drop"}, f"users hardly ever return to an item ({share:.1%} of the held-out items)"
    )


def _co_occurrence(sizes: DataSizes) -> Choice | None:
    """The fewer interactions a log has, the more co-occurrence counts add to what an encoder has learnt.

    They raise only items outside the history, so where users return to items they would push those items down.
    """
    if sizes.items > _MOST_COUNTED or suited_protocol(sizes.returns) == "U":
        return None
    return Choice(
        {"co_occurrence": _CO_OCCURRENCE}, "on small logs, items that occur together predict each other well"
    )


_RULES: Sequence[Callable[[DataSizes], Choice | None]] = (
    _length,
    _batch,
    _dropout,
    _attention_dropout,
    _filter,
    _loss,
    _protocol,
    _co_occurrence,
    _cycle,
    _updates,
    _patience,
)


def _power_of_two(value: float) -> int:
    """The nearest power of two."""
    return int(2 ** round(np.log2(max(value, 1.0))))
