"""Random items in the histories that targets are ranked from (paper, section 4.5.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import IntArray, ranges, shuffled
from mclrec.data.split import Split, Targets
from mclrec.errors import ConfigError

__all__ = ["with_noise"]


def with_noise(split: Split, share: float, rng: np.random.Generator) -> Split:
    """The split with ``floor(share * n)`` items put into each test history of n items.

    They stand before distinct, uniformly drawn places of the history, and are items that the user never had. Training
    and validation stay as they are.

    Raises:
        ConfigError: the share is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share of noise is {share}; it must be from 0 to 1")
    return replace(split, test=_noisy(split.test, share, rng))


def _noisy(targets: Targets, share: float, rng: np.random.Generator) -> Targets:
    data, histories = targets.data, targets.histories(np.arange(len(targets)))
    counts = np.floor(share * histories.lengths).astype(np.int64)
    chosen = shuffled(histories.lengths, rng)[ranges(histories.offsets[:-1], counts)]
    copies = np.ones(len(histories.items), dtype=np.int64)
    copies[chosen] = 2
    tokens = np.repeat(histories.items, copies)
    first = (np.cumsum(copies) - copies)[chosen]  # of two copies
    users = targets.users[histories.rows[chosen]]
    tokens[first] = UniformNegatives().for_users(data, users, rng)
    return _replaced(targets, tokens, histories.lengths + counts)


def _replaced(targets: Targets, tokens: IntArray, lengths: IntArray) -> Targets:
    """The same targets behind other histories; users without a target have no items any more."""
    all_lengths = np.zeros(targets.data.num_users, dtype=np.int64)
    all_lengths[targets.users] = lengths + 1
    offsets = np.concatenate([[0], np.cumsum(all_lengths)])
    places = offsets[1:][targets.users] - 1
    order = np.argsort(
        targets.users, kind="stable"
    )  # histories stand in the order of targets, items of users
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    items = np.empty(offsets[-1], dtype=targets.data.items.dtype)
    items[np.setdiff1d(np.arange(offsets[-1]), places)] = tokens[ranges(starts[order], lengths[order])]
    items[places] = targets.items
    return Targets(replace(targets.data, items=items, offsets=offsets, times=None), targets.users, places)
