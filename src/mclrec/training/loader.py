"""Data loader: the shuffled batches of an epoch, each prepared during the training step on the previous one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from mclrec.data.batches import Batch
from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.models.phases import Phase
from mclrec.randomness import Stream, generator

__all__ = ["EpochBatches", "Order"]

_HELD = 1 << 22
"""Largest number of examples whose permutation is held in memory: 32 MiB."""

_ROUNDS = 8
"""Rounds of the Feistel network."""

Words = npt.NDArray[np.uint64]


class EpochBatches:
    """The shuffled batches of one epoch; random draws depend on (seed, phase, epoch, step) alone.

    Each process draws the whole batch, which is cheap compared with a step, and keeps its own rows, so that the batches
    do not depend on the number of processes.

    Args:
        phase: the phase, which collates the batches.
        examples: the training examples.
        batch_size: number of examples in a batch, over all processes; the last batch may be smaller.
        key: (seed, number of the phase, epoch).
        device: device to which the batches are moved.
        processes: processes that divide each batch.
        width: length to which histories are padded; None for packed histories.
    """

    def __init__(
        self,
        phase: Phase,
        examples: Examples,
        batch_size: int,
        key: tuple[int, int, int],
        device: torch.device,
        processes: Processes = SINGLE_PROCESS,
        width: int | None = None,
    ) -> None:
        self._phase, self._examples, self._batch_size = phase, examples, batch_size
        self._key, self._device, self._processes, self._width = key, device, processes, width
        seed, number, epoch = key
        self._order = Order(len(examples), generator(seed, Stream.ORDER, number, epoch))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def size(self, step: int) -> int:
        """Number of examples in batch number ``step``, over all processes."""
        return len(self._rows(step))

    def prepare(self, step: int) -> Batch:
        """Collate batch number ``step`` and return this process's part of it."""
        seed, number, epoch = self._key
        rng = generator(seed, Stream.VIEWS, number, epoch, step)
        batch = self._phase.collate(self._examples, self._rows(step), rng)
        batch = batch.part(self._processes.part(len(batch)))
        return (batch if self._width is None else batch.padded(self._width)).to(self._device)

    def starting_at(self, step: int) -> Iterator[tuple[int, Batch]]:
        """Yield numbered batches from ``step`` to the end of the epoch; a thread prefetches one batch."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = pool.submit(self.prepare, step) if step < len(self) else None
            while ahead is not None:
                batch = ahead.result()
                ahead = pool.submit(self.prepare, step + 1) if step + 1 < len(self) else None
                yield step, batch
                step += 1

    def _rows(self, step: int) -> IntArray:
        return self._order.part(step * self._batch_size, (step + 1) * self._batch_size)


class Order:
    """A random permutation of 0..count-1.

    For a large count, storing the permutation would take more memory than the training data. It is computed on demand
    instead, by a Feistel network on the bits of an index: each round XORs a keyed hash of one half into the other,
    which is invertible, so that the result is a permutation. A number of ``count`` or more is encrypted again until it
    is lower (cycle walking); at most about half of the numbers are.

    Args:
        count: number of elements.
        rng: draws the permutation, or the keys of the rounds.
        held: largest count for which the permutation is stored.
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
        """Elements ``start`` to ``stop`` (exclusive) of the permutation, at most to its end."""
        if self._order is not None:
            return self._order[start:stop]
        numbers = self._mixed(np.arange(start, min(stop, self._count), dtype=np.uint64))
        while len(again := np.flatnonzero(numbers >= self._count)):
            numbers[again] = self._mixed(numbers[again])
        return numbers.astype(np.int64)

    def _mixed(self, places: Words) -> Words:
        """Encrypt each number to a number of the same bit width."""
        one = np.uint64(1)
        low, high = places & ((one << self._low) - one), places >> self._low
        for number, key in enumerate(self._keys):
            if number % 2:
                low = low ^ (_hash(high, key) >> (np.uint64(64) - self._low))
            else:
                high = high ^ (_hash(low, key) >> (np.uint64(64) - self._high))
        return (high << self._low) | low


def _hash(values: Words, key: np.uint64) -> Words:
    """Hash to 64 bits: the finaliser of splitmix64."""
    values = values + key
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
