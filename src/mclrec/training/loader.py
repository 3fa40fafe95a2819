"""Data loader: the shuffled batches of an epoch, each prepared while the one before is trained on."""

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
"""Examples up to which a permutation is held, in 32 MB."""

_ROUNDS = 8
"""Rounds of the Feistel network."""

Words = npt.NDArray[np.uint64]


class EpochBatches:
    """The batches of one epoch, shuffled; what is drawn depends on (seed, phase, epoch, step) alone.

    Each process draws the whole batch, which costs little beside a step, and keeps its own rows, so that the number of
    processes changes nothing.

    Args:
        phase: collates the batches.
        examples: the training examples.
        batch_size: examples in a batch of all processes; the last may be smaller.
        key: (seed, number of the phase, epoch).
        device: where the batches go.
        processes: processes that divide each batch.
        width: the length to which histories are padded; None for packed ones.
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
        """Number of examples in batch number ``step``, of all processes together."""
        return len(self._rows(step))

    def prepare(self, step: int) -> Batch:
        """Collate batch number ``step`` and return this process's part of it."""
        seed, number, epoch = self._key
        rng = generator(seed, Stream.VIEWS, number, epoch, step)
        batch = self._phase.collate(self._examples, self._rows(step), rng)
        batch = batch.part(self._processes.part(len(batch)))
        return (batch if self._width is None else batch.padded(self._width)).to(self._device)

    def starting_at(self, step: int) -> Iterator[tuple[int, Batch]]:
        """Yield numbered batches from ``step`` to the end of the epoch; a thread prepares one ahead."""
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

    A permutation of many would take more memory than what is trained on. It is computed instead, by a Feistel network
    on the bits of a place: each round adds (xor) a keyed hash of one half to the other, which can be undone, so that no
    two places get one number. A number that is ``count`` or more goes through again until it is not; there are at most
    as many of those as of the others.

    Args:
        count: number of elements.
        rng: draws the permutation, or the keys of the rounds.
        held: largest count for which the permutation is held.
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
        """Elements number ``start`` up to ``stop``, or to the end."""
        if self._order is not None:
            return self._order[start:stop]
        numbers = self._mixed(np.arange(start, min(stop, self._count), dtype=np.uint64))
        while len(again := np.flatnonzero(numbers >= self._count)):
            numbers[again] = self._mixed(numbers[again])
        return numbers.astype(np.int64)

    def _mixed(self, places: Words) -> Words:
        """Encrypt each number to another one of as many bits."""
        one = np.uint64(1)
        low, high = places & ((one << self._low) - one), places >> self._low
        for number, key in enumerate(self._keys):
            if number % 2:
                low = low ^ (_hash(high, key) >> (np.uint64(64) - self._low))
            else:
                high = high ^ (_hash(low, key) >> (np.uint64(64) - self._high))
        return (high << self._low) | low


def _hash(values: Words, key: np.uint64) -> Words:
    """Hash to 64 bits: the end of splitmix64."""
    values = values + key
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
