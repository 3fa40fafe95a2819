"""Many sequences of different length in two flat arrays: no padding is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["IntArray", "Packed", "ranges", "shuffled"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """B sequences one after the other.

    Attributes:
        items: (T,) int64 item ids, 1..V, with 0 for a hidden and V+1 for a masked position.
        offsets: (B + 1,) int64; sequence ``b`` is ``items[offsets[b]:offsets[b + 1]]``.
    """

    items: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | npt.NDArray[np.integer[Any]]]) -> Packed:
        """Pack a list of sequences."""
        rows = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        items = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return cls(items, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @property
    def lengths(self) -> IntArray:
        """(B,) number of tokens of each sequence."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> IntArray:
        """(T,) which sequence each token belongs to."""
        rows: IntArray = np.repeat(np.arange(len(self)), self.lengths)
        return rows

    @property
    def positions(self) -> IntArray:
        """(T,) place of each token in its sequence, from 0."""
        return ranges(np.zeros(len(self), dtype=np.int64), self.lengths)

    def __len__(self) -> int:
        """B, the number of sequences."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:
        """Items of one sequence."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: npt.NDArray[np.integer[Any]], max_length: int | None = None) -> Packed:
        """The sequences ``rows``, in that order; of each its last ``max_length`` tokens, or all."""
        lengths = self.lengths[rows] if max_length is None else np.minimum(self.lengths[rows], max_length)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Packed(self.items[ranges(self.offsets[1:][rows] - lengths, lengths)], offsets)

    def tolist(self) -> list[list[int]]:
        """The sequences as Python lists."""
        return [self[row].tolist() for row in range(len(self))]


def shuffled(lengths: IntArray, rng: np.random.Generator) -> IntArray:
    """(T,) places of packed tokens with each sequence's own in uniformly random order."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    # Half a unit of noise: with a whole one, a key could round up into the next sequence.
    return np.argsort(rows + 0.5 * rng.random(len(rows)))


def ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """Concatenated ``arange(starts[i], starts[i] + lengths[i])``, without a loop.

    >>> ranges(np.array([3, 10]), np.array([2, 3]))
    array([ 3,  4, 10, 11, 12])
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    shifts: IntArray = np.repeat(starts - (ends - lengths), lengths)
    return np.arange(total) + shifts
