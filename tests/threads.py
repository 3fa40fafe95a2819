"""Processes of a run simulated by threads of this process, which communicate through memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

from mclrec.distributed.group import ProcessGroup

T = TypeVar("T")
_PATIENCE = 60.0
"""Seconds after which a thread fails if another does not reach the barrier."""


class Member(ProcessGroup):
    """A `ProcessGroup` whose members communicate through a shared list."""

    def __init__(self, rank: int, size: int, barrier: Barrier, said: list[Any]) -> None:
        self.rank, self.size, self.main = rank, size, rank == 0
        self._barrier, self._said = barrier, said

    def _tell(self, value: Any) -> list[Any]:
        """Share a value, and return the values of all members."""
        self._said[self.rank] = value
        self._barrier.wait()
        found = list(self._said)
        self._barrier.wait()
        return found

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        found = self._tell(values.clone())
        return values.copy_(torch.stack(found).sum(0))

    def all_reduce_max(self, values: Tensor) -> Tensor:
        found = self._tell(values.clone())
        return values.copy_(torch.stack(found).amax(0))

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        found = [parts[self.rank] for parts in self._tell(rows.split(list(sent)))]
        counts = [len(part) for part in found]
        assert received is None or list(received) == counts
        return torch.cat(found), counts

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        found = self._tell(rows.clone())
        assert [len(part) for part in found] == list(counts)
        if self.main:
            for part in found:
                yield from part.split(3)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor.data.copy_(self._tell(tensor.detach().clone())[0])

    def _collect(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        found = self._tell(rows)
        assert [len(part) for part in found] == list(counts)
        return torch.cat(found)


def members(size: int) -> list[Member]:
    """A group of `size` members that communicate with each other."""
    barrier, said = Barrier(size, timeout=_PATIENCE), [None] * size
    return [Member(rank, size, barrier, said) for rank in range(size)]


def together(group: Sequence[Member], work: Callable[[Member], T]) -> list[T]:
    """Run ``work`` for all members at once, and return their results."""

    def run(member: Member) -> T:
        try:
            return work(member)
        except BaseException:
            member._barrier.abort()  # so that the others do not wait for it
            raise

    with ThreadPoolExecutor(len(group)) as all_gather:
        pending = [all_gather.submit(run, member) for member in group]
    errors = [error for job in pending if (error := job.exception()) is not None]
    for error in sorted(errors, key=lambda error: type(error).__name__ == "BrokenBarrierError"):
        raise error
    return [job.result() for job in pending]
