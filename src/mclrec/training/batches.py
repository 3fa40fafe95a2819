"""The batches of an epoch: shuffled, and prepared one ahead in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from mclrec.data.batches import Batch
from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.models.phases import Phase
from mclrec.randomness import Stream, generator
from mclrec.training.order import Order

__all__ = ["EpochBatches"]


class EpochBatches:
    """Batches of one epoch. What is drawn depends on (seed, phase, epoch, step) alone.

    Each process draws the whole batch, which costs it little beside a step, and keeps its own rows: so their number
    changes nothing.

    Args:
        phase: prepares batches.
        examples: what they are cut from.
        batch_size: examples a batch of all processes; the last may be smaller.
        key: (seed, number of the phase, epoch).
        device: where the batches go.
        processes: that share each batch.
    """

    def __init__(
        self,
        phase: Phase,
        examples: Examples,
        batch_size: int,
        key: tuple[int, int, int],
        device: torch.device,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self._phase, self._examples, self._batch_size = phase, examples, batch_size
        self._key, self._device, self._processes = key, device, processes
        seed, number, epoch = key
        self._order = Order(len(examples), generator(seed, Stream.ORDER, number, epoch))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def size(self, step: int) -> int:
        """Examples of batch number ``step``, those of all processes together."""
        return len(self._rows(step))

    def prepare(self, step: int) -> Batch:
        """This process's part of batch number ``step``."""
        seed, number, epoch = self._key
        rng = generator(seed, Stream.VIEWS, number, epoch, step)
        batch = self._phase.collate(self._examples, self._rows(step), rng)
        return batch.part(self._processes.part(len(batch))).to(self._device)

    def starting_at(self, step: int) -> Iterator[tuple[int, Batch]]:
        """Batches from ``step`` to the end of the epoch, with their numbers."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = pool.submit(self.prepare, step) if step < len(self) else None
            while ahead is not None:
                batch = ahead.result()
                ahead = pool.submit(self.prepare, step + 1) if step + 1 < len(self) else None
                yield step, batch
                step += 1

    def _rows(self, step: int) -> IntArray:
        return self._order.part(step * self._batch_size, (step + 1) * self._batch_size)
