"""Flat arrays: sequences of different lengths packed one after the other, and large arrays backed by files.

Arrays with one value per interaction are processed in blocks, because a whole-array expression such as
``table[places]`` makes temporary arrays of eight bytes per interaction. Memory then grows with users and items only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.errors import DataError

__all__ = [
    "IntArray",
    "Packed",
    "blocks",
    "counted",
    "distinct_counts",
    "empty",
    "gathered",
    "highest_of_each",
    "ranges",
    "run_blocks",
    "selected",
    "shuffled",
    "spans",
]

IntArray = npt.NDArray[np.int64]

_MAPPED_FROM = 1 << 25  # bytes from which an array is backed by a file
_BLOCK = 1 << 20  # values processed at a time
_DENSE = 4  # ratio of possible keys to keys up to which counting in an array beats sorting


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """B sequences of different lengths, one after the other in a flat array.

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
        """(T,) number of the sequence that each token belongs to."""
        rows: IntArray = np.repeat(np.arange(len(self)), self.lengths)
        return rows

    @property
    def positions(self) -> IntArray:
        """(T,) position of each token in its sequence, from 0."""
        return ranges(np.zeros(len(self), dtype=np.int64), self.lengths)

    def __len__(self) -> int:
        """B, the number of sequences."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:
        """Items of one sequence."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: npt.NDArray[np.integer[Any]], max_length: int | None = None) -> Packed:
        """Select the sequences ``rows``, in that order, with the last ``max_length`` tokens of each, or all."""
        lengths = self.lengths[rows] if max_length is None else np.minimum(self.lengths[rows], max_length)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Packed(self.items[ranges(self.offsets[1:][rows] - lengths, lengths)], offsets)

    def tolist(self) -> list[list[int]]:
        """The sequences as Python lists."""
        return [self[row].tolist() for row in range(len(self))]


def shuffled(lengths: IntArray, rng: np.random.Generator) -> IntArray:
    """(T,) places of packed tokens, permuted uniformly at random within each sequence."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    # Noise of up to half a unit: with a whole unit, a key could round up into the next sequence.
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


# -------------------------------------------------------------------------------- large arrays


def empty(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Allocate an array of ``count`` values; a large one is backed by an unnamed file in ``TMPDIR``, removed with it.

    Raises:
        DataError: the disk has no room for the file.
    """
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size < _MAPPED_FROM:
        return np.empty(count, kind)
    with tempfile.TemporaryFile(prefix="mclrec-") as file:
        try:
            # Reserve the space now: a later write to a page without space on disk would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            # As a plain array: everything computed from a memmap would be a memmap too.
            return np.asarray(np.memmap(file, kind, "r+", shape=(count,)))
        except OSError as problem:
            raise DataError(
                f"{tempfile.gettempdir()}: no space for {size / 1e9:.1f} GB of interactions ({problem.strerror}); "
                "set TMPDIR to a folder on a larger disk"
            ) from None


def blocks(count: int) -> Iterator[slice]:
    """Slices of one block each that together cover 0 up to ``count``."""
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def spans(offsets: IntArray) -> Iterator[tuple[int, int]]:
    """Ranges of users, ``first`` up to ``last``, of about one block of interactions each; no user is split."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1], _BLOCK))
    ends = np.unique(np.concatenate([cuts, [0, len(offsets) - 1]])).tolist()
    return pairwise(ends)


def run_blocks(same: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Slices of about one block each that together cover an array without splitting a run.

    Args:
        same: (N,) whether a value belongs to the same run as the one before it.
    """
    start = 0
    while start < len(same):
        end = start + _BLOCK
        while end < len(same):
            some = same[end : end + _BLOCK]
            if not some.all():
                end += int(np.argmin(some))
                break
            end += len(some)
        yield slice(start, min(end, len(same)))
        start = end


def counted(values: npt.NDArray[np.integer[Any]], kinds: int) -> IntArray:
    """(kinds,) number of occurrences of each of 0..kinds-1; `np.bincount` in blocks."""
    counts = np.zeros(kinds, dtype=np.int64)
    for block in blocks(len(values)):
        counts += np.bincount(values[block], minlength=kinds)
    return counts


def distinct_counts(keys: IntArray, size: int, weights: IntArray | None = None) -> tuple[IntArray, IntArray]:
    """The distinct keys in ascending order, and the number of occurrences (or the sum of weights) of each.

    Args:
        keys: keys from 0 to ``size`` - 1.
        size: number of possible keys.
        weights: positive weight of each key; None for 1.
    """
    if size <= _DENSE * len(keys):
        counts = np.bincount(keys, weights, minlength=size).astype(np.int64, copy=False)
        places = np.flatnonzero(counts)
        return places, counts[places]
    if weights is None:
        found, counts = np.unique(keys, return_counts=True)
        return found, counts
    found, numbers = np.unique(keys, return_inverse=True)
    return found, np.bincount(numbers, weights, minlength=len(found)).astype(np.int64)


def highest_of_each(groups: IntArray, values: npt.NDArray[np.floating[Any]], count: int) -> IntArray:
    """Places of the highest values of each group, in descending order; ties keep their order.

    Args:
        groups: group of each value, ascending.
        values: values to compare.
        count: maximum number of places per group.
    """
    bounds = np.flatnonzero(np.diff(groups)) + 1
    starts = [0, *bounds.tolist()]
    # Sorting the groups one by one is faster than sorting all values at once by group and value.
    orders = (np.argsort(-piece, kind="stable")[:count] for piece in np.split(values, bounds))
    return np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])


def gathered(table: npt.NDArray[Any], places: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """``table[places]``, computed in blocks."""
    found = empty(len(places), table.dtype)
    for block in blocks(len(places)):
        found[block] = table[places[block]]
    return found


def selected(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """``values[mask]``, computed in blocks."""
    kept, start = empty(int(np.count_nonzero(mask)), values.dtype), 0
    for block in blocks(len(values)):
        some = values[block][mask[block]]
        kept[start : start + len(some)] = some
        start += len(some)
    return kept
