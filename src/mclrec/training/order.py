"""The order of an epoch: a permutation that is held, or, of many examples, one that is computed a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["Order"]

_HELD = 1 << 22  # examples up to which the permutation is held, in 32 MB
_ROUNDS = 8

Words = npt.NDArray[np.uint64]


class Order:
    """The numbers 0..count-1 in random order.

    A permutation of many would take more memory than what is trained on. It is computed instead, by a Feistel network
    on the bits of a place: each round adds (xor) a keyed hash of one half to the other, which can be undone, so that no
    two places get one number. A number that is ``count`` or more goes through again until it is not; there are at most
    as many of those as of the others.

    Args:
        count: how many.
        rng: draws the permutation, or the keys of the rounds.
        held: up to how many the permutation is held.
    """

    def __init__(self, count: int, rng: np.random.Generator, held: int = _HELD) -> None:
        self._count = count
        self._order: IntArray | None = rng.permutation(count) if count <= held else None
        if self._order is None:
            bits = max((count - 1).bit_length(), 2)
            self._low, self._high = np.uint64(bits // 2), np.uint64(bits - bits // 2)
            self._keys = rng.integers(0, 2**64, size=_ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self._count

    def part(self, start: int, stop: int) -> IntArray:
        """Numbers at the places ``start`` up to ``stop``, or to the end."""
        if self._order is not None:
            return self._order[start:stop]
        numbers = self._mixed(np.arange(start, min(stop, self._count), dtype=np.uint64))
        while len(again := np.flatnonzero(numbers >= self._count)):
            numbers[again] = self._mixed(numbers[again])
        return numbers.astype(np.int64)

    def _mixed(self, places: Words) -> Words:
        """Another number of as many bits for each."""
        one = np.uint64(1)
        low, high = places & ((one << self._low) - one), places >> self._low
        for number, key in enumerate(self._keys):
            if number % 2:
                low = low ^ (_hash(high, key) >> (np.uint64(64) - self._low))
            else:
                high = high ^ (_hash(low, key) >> (np.uint64(64) - self._high))
        return (high << self._low) | low


def _hash(values: Words, key: np.uint64) -> Words:
    """Of 64 bits: the end of splitmix64."""
    values = values + key
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
