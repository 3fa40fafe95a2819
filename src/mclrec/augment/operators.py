"""Stochastic augmentations of histories (paper, section 3.1.1, eq. 4), on a whole packed batch at once.

Every operator takes a batch and a generator and returns a new batch with the same sequences in the same
order; the input is never changed. Counts are ``math.floor(ratio * n)`` of the float product, rounding included:
28 of 100 for a ratio of .29.

`Crop`, `Mask` and `Reorder` are those of CL4SRec (Xie et al., 2022) and leave sequences of one item alone.
`Substitute` and `Insert` are those of CoSeRec (Liu et al., 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mclrec.data.packed import IntArray, Packed, ranges, shuffled
from mclrec.errors import ConfigError

__all__ = ["Crop", "Insert", "Mask", "Operator", "Reorder", "Substitute"]


class Operator(Protocol):
    """Augmentation of a batch of sequences. It may change their lengths, not their number or order."""

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augmented copy of B sequences."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Keeps ``floor(ratio * n)`` consecutive items, at least one, from a uniformly drawn start."""

    ratio: float

    def __post_init__(self) -> None:
        _check_ratio("crop", self.ratio)

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augment a batch; implements `Operator`."""
        lengths = batch.lengths
        kept = np.maximum(_share(self.ratio, lengths), np.minimum(lengths, 1))
        starts = batch.offsets[:-1] + rng.integers(0, lengths - kept, endpoint=True)
        offsets = np.zeros_like(batch.offsets)
        np.cumsum(kept, out=offsets[1:])
        return Packed(batch.items[ranges(starts, kept)], offsets)


@dataclass(frozen=True, slots=True)
class Mask:
    """Replaces ``floor(ratio * n)`` distinct, uniformly drawn items by ``token``.

    Attributes:
        ratio: share of the items that is replaced.
        token: 0 also hides a position from attention (the official code); V + 1 is a separate mask id.
    """

    ratio: float
    token: int = 0

    def __post_init__(self) -> None:
        _check_ratio("mask", self.ratio)

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augment a batch; implements `Operator`."""
        lengths = batch.lengths
        places = shuffled(lengths, rng)
        items = batch.items.copy()
        items[places[ranges(batch.offsets[:-1], _share(self.ratio, lengths))]] = self.token
        return Packed(items, batch.offsets)


@dataclass(frozen=True, slots=True)
class Reorder:
    """Shuffles a window of ``floor(ratio * n)`` consecutive items that begins at a uniformly drawn position."""

    ratio: float

    def __post_init__(self) -> None:
        _check_ratio("reorder", self.ratio)

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augment a batch; implements `Operator`."""
        lengths = batch.lengths
        moved = _share(self.ratio, lengths)
        starts = batch.offsets[:-1] + rng.integers(0, lengths - moved, endpoint=True)
        window = ranges(starts, moved)
        items = batch.items.copy()
        items[window] = batch.items[window[shuffled(moved, rng)]]
        return Packed(items, batch.offsets)


@dataclass(frozen=True, slots=True)
class Substitute:
    """Replaces ``floor(ratio * n)`` distinct, uniformly drawn items, at least one, by the most similar items.

    Attributes:
        ratio: share of the items that is replaced.
        nearest: returns (V + 1,) the dense id of the item that is currently most similar to each item.
    """

    ratio: float
    nearest: Callable[[], IntArray]

    def __post_init__(self) -> None:
        _check_ratio("substitute", self.ratio)

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augment a batch; implements `Operator`."""
        chosen = _at_least_one(self.ratio, batch, rng)
        items = batch.items.copy()
        items[chosen] = self.nearest()[items[chosen]]
        return Packed(items, batch.offsets)


@dataclass(frozen=True, slots=True)
class Insert:
    """Inserts the most similar item before each of ``floor(ratio * n)`` distinct, uniformly drawn items, at least one.

    Attributes:
        ratio: share of the items before which a similar item is inserted.
        nearest: as for `Substitute`.
        max_length: n; longer results lose their oldest items.
    """

    ratio: float
    nearest: Callable[[], IntArray]
    max_length: int

    def __post_init__(self) -> None:
        _check_ratio("insert", self.ratio)

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        """Augment a batch; implements `Operator`."""
        chosen = _at_least_one(self.ratio, batch, rng)
        copies = np.ones(len(batch.items), dtype=np.int64)
        copies[chosen] = 2
        items = np.repeat(batch.items, copies)
        inserted = (np.cumsum(copies) - copies)[chosen]  # the first of two copies
        items[inserted] = self.nearest()[items[inserted]]
        ends = np.concatenate([[0], np.cumsum(copies)])[batch.offsets]
        kept = np.minimum(np.diff(ends), self.max_length)
        return Packed(items[ranges(ends[1:] - kept, kept)], np.concatenate([[0], np.cumsum(kept)]))


def _at_least_one(ratio: float, batch: Packed, rng: np.random.Generator) -> IntArray:
    """Places of ``max(floor(ratio * n), 1)`` distinct tokens of each non-empty sequence."""
    lengths = batch.lengths
    counts = np.minimum(np.maximum(np.floor(ratio * lengths).astype(np.int64), 1), lengths)
    return shuffled(lengths, rng)[ranges(batch.offsets[:-1], counts)]


def _check_ratio(operator: str, ratio: float) -> None:
    if not 0 <= ratio <= 1:
        raise ConfigError(f"{operator} ratio is {ratio}; it should be a share of the sequence, from 0 to 1")


def _share(ratio: float, lengths: IntArray) -> IntArray:
    """(B,) ``floor(ratio * n)``, and 0 for sequences of one item."""
    return np.where(lengths > 1, np.floor(ratio * lengths), 0).astype(np.int64)
