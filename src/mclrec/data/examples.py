"""Training examples as index arithmetic on the flat arrays: histories are cut only when a batch needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.data.sequences import SequenceData

__all__ = ["Examples", "Spans", "interactions", "prefixes", "sequences", "whole", "windows"]


class Spans(NamedTuple):
    """Positions of some examples in the flat arrays.

    Attributes:
        users: (B,) user rows.
        starts: (B,) index in ``data.items`` of the first input item.
        ends: (B,) index after the last input item, which is that of the last target.
    """

    users: IntArray
    starts: IntArray
    ends: IntArray

    @property
    def lengths(self) -> IntArray:
        """(B,) number of input items of each example."""
        return self.ends - self.starts


@dataclass(frozen=True, eq=False)
class Examples:
    """E training examples: spans of histories, with the item after the span or after each of its positions as target.

    They are numbered user by user, and for each user by where they end, at equal distances. Memory therefore grows with
    the number of users (16 bytes each), not with that of interactions.

    Attributes:
        data: the training data.
        bounds: (U + 1,) user row ``u`` has the examples ``bounds[u]`` up to ``bounds[u + 1]``.
        firsts: (U,) index at which the first example of each user ends.
        max_length: greatest number of input items.
        every_position: whether each input position has a target (the item after it) or only the last.
        stride: distance between the ends of consecutive examples of a user.
    """

    data: SequenceData
    bounds: IntArray
    firsts: IntArray
    max_length: int
    every_position: bool
    stride: int = 1

    def __len__(self) -> int:
        return int(self.bounds[-1])

    @cached_property
    def num_targets(self) -> int:
        """Number of targets in one pass over all examples."""
        return int(self.at(np.arange(len(self))).lengths.sum()) if self.every_position else len(self)

    def at(self, rows: IntArray) -> Spans:
        """Positions of some examples in the flat arrays."""
        users = np.searchsorted(self.bounds, rows, side="right") - 1
        ends = self.firsts[users] + self.stride * (rows - self.bounds[users])
        return Spans(users, np.maximum(self.data.offsets[users], ends - self.max_length), ends)

    def inputs(self, rows: IntArray) -> Packed:
        """Input items of some examples."""
        return self._cut(rows, 0)

    def targets(self, rows: IntArray) -> IntArray:
        """The next items: (T,) one per position, in the order of ``inputs``, or (B,) one per example."""
        if self.every_position:
            return self._cut(rows, 1).items
        return self.data.items[self.at(rows).ends].astype(np.int64)

    def _cut(self, rows: IntArray, shift: int) -> Packed:
        spans = self.at(rows)
        lengths = spans.lengths
        items = self.data.items[ranges(spans.starts + shift, lengths)].astype(np.int64)
        return Packed(items, np.concatenate([[0], np.cumsum(lengths)]))


def prefixes(data: SequenceData, max_length: int) -> Examples:
    """Prefix expansion: every item but a user's first is a target, its last ``max_length`` predecessors the input."""
    return _numbered(data, np.maximum(data.lengths - 1, 0), data.offsets[:-1] + 1, max_length)


def sequences(data: SequenceData, max_length: int) -> Examples:
    """One example per user, with a target at each of the last ``max_length`` positions."""
    return _numbered(data, data.lengths >= 2, data.offsets[1:] - 1, max_length, every_position=True)


def windows(data: SequenceData, max_length: int) -> Examples:
    """Whole histories, cut from the end into pieces of ``max_length`` positions, with a target at each position.

    Every item but a user's first is a target once, as in `prefixes`. A user with at most ``max_length`` + 1 items has
    one example, the same as in `sequences`.
    """
    counts = -(-np.maximum(data.lengths - 1, 0) // max_length)
    firsts = data.offsets[1:] - 1 - (counts - 1) * max_length
    return _numbered(data, counts, firsts, max_length, every_position=True, stride=max_length)


def interactions(data: SequenceData) -> Examples:
    """Every item of every user is a target, the first one too; there is no input, since order does not matter."""
    return _numbered(data, data.lengths, data.offsets[:-1], 0)


def whole(data: SequenceData, max_length: int) -> Examples:
    """One example per user: the last ``max_length`` items, without a target."""
    return _numbered(data, data.lengths > 0, data.offsets[1:], max_length)


def _numbered(
    data: SequenceData,
    counts: IntArray | npt.NDArray[np.bool_],
    firsts: IntArray,
    max_length: int,
    *,
    every_position: bool = False,
    stride: int = 1,
) -> Examples:
    """Examples with ``counts[u]`` of them for user row ``u``, the first of which ends at ``firsts[u]``."""
    bounds = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Examples(data, bounds, firsts, max_length, every_position, stride)
