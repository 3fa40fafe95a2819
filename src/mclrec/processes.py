"""Several processes that train one model: which of them this is, and what they tell each other.

Every process holds all parameters, item tables that are sharded excepted, and takes its part of the rows of each batch.
What is added up here gives all of them the same numbers, bit by bit, so that they stay alike. `SINGLE_PROCESS` is the
one process of an ordinary run: it has all rows and nobody to talk to, and what it is given comes back as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.errors import LostProcessError

__all__ = ["SINGLE_PROCESS", "ProcessGroup", "Processes", "SingleProcess", "lost"]

_BUCKET = 1 << 20
"""Numbers of small gradients that are added up in one go; larger tensors go by themselves, without a copy."""

_PIECE = 1 << 24
"""Bytes of rows that the main process is given at a time, about."""


class Processes(Protocol):
    """What a process can ask of the others. All of them must call the same methods in the same order."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """N, how many there are."""

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and says how far things are."""

    def part(self, total: int) -> slice:
        """Which of ``total`` rows are this process's own: all parts in order are all rows, none of them twice."""

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """The rows of all processes in order, with gradients.

        Args:
            rows: (n, ...) this process's part of the rows.
            total: rows of all processes together.

        Returns:
            (total, ...); a gradient of it, added up over the processes, reaches the rows of each.
        """

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """The rows of all processes in order, however many each has, without gradients; and where its own stand."""

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        """Rows for each process go there.

        Args:
            rows: (n, ...) first those for process 0, then those for process 1 and so on.
            sent: (N) how many are for each process.
            received: (N) how many each process has for this one; None if it is not known.

        Returns:
            Rows for this process, in the order of those that had them, and how many come from each.
        """

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """The rows of all processes in order, some at a time, in the main process's memory; others are given none.

        Args:
            rows: (n, ...) this process's own.
            counts: (N) how many each has.
        """

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Maximum over the processes, in place."""

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Give each parameter the sum of its gradients; none where no process has one."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether some process raised it."""

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by the main process's."""

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """A text that only the main process makes."""

    def barrier(self) -> None:
        """Go on when all have come here."""


class SingleProcess:
    """See `Processes`: there is one."""

    rank, size, main = 0, 1, True

    def part(self, total: int) -> slice:
        """See `Processes.part`."""
        return slice(0, total)

    def gather(self, rows: Tensor, total: int) -> Tensor:  # noqa: ARG002 - the interface
        """See `Processes.gather`."""
        return rows

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """See `Processes.pool`."""
        return rows, slice(0, len(rows))

    def all_to_all(
        self,
        rows: Tensor,
        sent: Sequence[int],
        received: Sequence[int] | None = None,  # noqa: ARG002 - the interface
    ) -> tuple[Tensor, Sequence[int]]:
        """See `Processes.exchange`."""
        return rows, sent

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:  # noqa: ARG002 - the interface
        """See `Processes.gather_chunks`."""
        for start in range(0, len(rows), _rows_of_a_piece(rows)):
            yield rows[start : start + _rows_of_a_piece(rows)].cpu()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """See `Processes.add_up`."""
        return values

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """See `Processes.highest`."""
        return values

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """See `Processes.add_gradients`."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """See `Processes.any`."""
        return flags

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """See `Processes.spread`."""

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """See `Processes.tell`."""
        return text()

    def barrier(self) -> None:
        """See `Processes.wait`."""


SINGLE_PROCESS = SingleProcess()
"""The one process of a run that was started without others."""


class ProcessGroup:
    """The processes of torch's default process group; see `Processes`.

    Raises:
        LostProcessError: in every method, where another process has ended or does not answer.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.main = self.rank == 0

    def part(self, total: int) -> slice:
        """See `Processes.part`. Parts differ by one row at most."""
        return self._part(total, self.rank)

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """See `Processes.gather`."""
        gathered: Tensor = _Gather.apply(rows, total, self)  # type: ignore[no-untyped-call]
        return gathered

    def collect(self, rows: Tensor, total: int) -> Tensor:
        """`gather` without gradients."""
        parts = (self._part(total, rank) for rank in range(self.size))
        return self._collect(rows, [part.stop - part.start for part in parts])

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """See `Processes.pool`."""
        counts = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        told = self.all_reduce_sum(counts).tolist()
        start = sum(told[: self.rank])
        return self._collect(rows, told), slice(start, start + len(rows))

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        """See `Processes.exchange`."""
        with lost():
            if received is None:
                asked = torch.tensor(sent, device=rows.device)
                told = torch.empty_like(asked)
                dist.all_to_all_single(told, asked)
                received = told.tolist()
            found = rows.new_empty(sum(received), *rows.shape[1:])
            dist.all_to_all_single(found, rows.contiguous(), list(received), list(sent))
        return found, received

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """See `Processes.gather_chunks`."""
        most = _rows_of_a_piece(rows)
        for rank, count in enumerate(counts):
            for start in range(0, count, most):
                stop = min(start + most, count)
                if rank == self.rank:
                    own = rows[start:stop].cpu().contiguous()
                if self.main and not rank:
                    yield own
                elif self.main:
                    given = torch.empty(stop - start, *rows.shape[1:], dtype=rows.dtype)
                    with lost():
                        dist.recv(given, src=rank)
                    yield given
                elif rank == self.rank:
                    with lost():
                        dist.send(own, dst=0)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """See `Processes.add_up`."""
        with lost():
            dist.all_reduce(values)
        return values

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """See `Processes.highest`."""
        with lost():
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    @torch.no_grad()
    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """See `Processes.add_gradients`. Small ones travel together, with marks of which there are."""
        if not parameters:
            return
        there = [parameter.grad is not None for parameter in parameters]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        small = [gradient for gradient in gradients if gradient.numel() < _BUCKET]
        marks = gradients[0].new_tensor(there)
        bucket = self.all_reduce_sum(torch.cat([marks, *(gradient.flatten() for gradient in small)]))
        marks, *sums = bucket.split([len(marks), *(gradient.numel() for gradient in small)])
        for gradient, total in zip(small, sums, strict=True):
            gradient.copy_(total.view_as(gradient))
        for parameter, gradient, mark in zip(parameters, gradients, marks.tolist(), strict=True):
            if mark:
                parameter.grad = gradient if gradient.numel() < _BUCKET else self.all_reduce_sum(gradient)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """See `Processes.any`."""
        return tuple(self.all_reduce_max(torch.tensor(flags, dtype=torch.uint8)).bool().tolist())

    @torch.no_grad()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """See `Processes.spread`."""
        for tensor in tensors:
            whole = tensor.contiguous()
            with lost():
                dist.broadcast(whole, src=0)
            tensor.copy_(whole)

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """See `Processes.tell`."""
        message = torch.frombuffer(bytearray(text().encode()), dtype=torch.uint8) if self.main else None
        size = torch.tensor(0 if message is None else len(message))
        self.broadcast([size])
        content = torch.empty(int(size), dtype=torch.uint8) if message is None else message
        self.broadcast([content])
        return bytes(content.numpy()).decode()

    def barrier(self) -> None:
        """See `Processes.wait`."""
        self.all_reduce_sum(torch.zeros(1))

    def _collect(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Rows of all processes, of which each has so many."""
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in range(self.size)]
        with lost():
            dist.all_gather(pieces, padded)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    def _part(self, total: int, rank: int) -> slice:
        return slice(total * rank // self.size, total * (rank + 1) // self.size)


def _rows_of_a_piece(rows: Tensor) -> int:
    """How many rows make `_PIECE` bytes; at least one."""
    return max(1, _PIECE // max(rows.new_empty(1, *rows.shape[1:]).nbytes, 1))


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is the sum of what all processes make of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, total: int, group: ProcessGroup) -> Tensor:
        ctx.group, ctx.total = group, total
        return group.collect(rows, total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.group.all_reduce_sum(gradient.contiguous().clone())[ctx.group.part(ctx.total)], None, None


@contextmanager
def lost() -> Iterator[None]:
    """What torch says when another process does not answer, as an error that says what to do."""
    try:
        yield
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise LostProcessError(
            "another process of this run has ended or does not answer, so this one ends too: "
            f"see what that one said, and go on with --resume ({reason})"
        ) from None
