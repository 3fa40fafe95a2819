"""Training examples as index arithmetic on the flat arrays: nothing is cut before a batch asks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.data.sequences import SequenceData

__all__ = ["Examples", "interactions", "prefixes", "sequences", "whole"]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """E stretches of histories: each predicts what came next, once or at every position.

    Attributes:
        data: the training data.
        users: (E,) user rows.
        starts: (E,) place in ``data.items`` of the first input item.
        ends: (E,) place after the last input item, which is where the last target stands.
        every_position: whether each input position has a target (the item after it) or only the last.
    """

    data: SequenceData
    users: IntArray
    starts: IntArray
    ends: IntArray
    every_position: bool

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_targets(self) -> int:
        """Targets of one pass over all examples."""
        return int((self.ends - self.starts).sum()) if self.every_position else len(self)

    def inputs(self, rows: IntArray) -> Packed:
        """Input items of some examples."""
        return self._cut(rows, 0)

    def targets(self, rows: IntArray) -> IntArray:
        """The next items: (T,) one a position, in the order of ``inputs``, or (B,) one an example."""
        if self.every_position:
            return self._cut(rows, 1).items
        return self.data.items[self.ends[rows]].astype(np.int64)

    def _cut(self, rows: IntArray, shift: int) -> Packed:
        lengths = self.ends[rows] - self.starts[rows]
        items = self.data.items[ranges(self.starts[rows] + shift, lengths)].astype(np.int64)
        return Packed(items, np.concatenate([[0], np.cumsum(lengths)]))


def prefixes(data: SequenceData, longest: int) -> Examples:
    """Prefix expansion: every item but a user's first is a target, its last ``longest`` predecessors the input."""
    lengths = np.maximum(data.lengths - 1, 0)
    ends = ranges(data.offsets[:-1] + 1, lengths)
    users = np.repeat(np.arange(data.num_users), lengths)
    starts = np.maximum(data.offsets[users], ends - longest)
    return Examples(data, users, starts, ends, every_position=False)


def sequences(data: SequenceData, longest: int) -> Examples:
    """One example a user, with a target at each of the last ``longest`` positions."""
    users = np.flatnonzero(data.lengths >= 2)
    ends = data.offsets[users + 1] - 1
    starts = np.maximum(data.offsets[users], ends - longest)
    return Examples(data, users, starts, ends, every_position=True)


def interactions(data: SequenceData) -> Examples:
    """Every item of every user is a target, a user's first too; there is no input: order does not matter."""
    places = np.arange(len(data.items))
    users = np.repeat(np.arange(data.num_users), data.lengths)
    return Examples(data, users, places, places, every_position=False)


def whole(data: SequenceData, longest: int) -> Examples:
    """One example a user: the last ``longest`` items, none of them kept back as a target."""
    users = np.flatnonzero(data.lengths)
    ends = data.offsets[users + 1]
    return Examples(data, users, np.maximum(data.offsets[users], ends - longest), ends, every_position=False)
