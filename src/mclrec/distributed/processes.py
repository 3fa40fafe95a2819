"""What the processes that train one model can ask of each other, and the single process of an ordinary run.

Every process holds all parameters, sharded item tables excepted, and takes its part of the rows of each batch. What is
summed here gives all of them the same numbers, bit by bit, so that they stay alike. `SINGLE_PROCESS` has all rows and
nobody to talk to: what it is given comes back as it is. Several are a `mclrec.distributed.group.ProcessGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["SINGLE_PROCESS", "Processes", "SingleProcess", "chunk_rows"]

_CHUNK = 1 << 24
"""Bytes of rows that the main process is given at a time, about."""


class Processes(Protocol):
    """The processes of a run, as one of them sees them. All must call the same methods in the same order."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """N, the number of processes."""

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and reports progress."""

    def part(self, total: int) -> slice:
        """Slice of ``total`` rows that is this process's own; the slices of all processes in order are all rows."""

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """Gather the rows of all processes in order, with gradients.

        Args:
            rows: (n, ...) this process's part of the rows.
            total: rows of all processes together.

        Returns:
            (total, ...); a gradient of it, added up over the processes, reaches the rows of each.
        """

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """Gather any number of rows of each process in order, without gradients; also return the slice of its own."""

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        """Send each process the rows that are meant for it.

        Args:
            rows: (n, ...) first those for process 0, then those for process 1 and so on.
            sent: (N) how many are for each process.
            received: (N) how many each process has for this one; None if it is not known.

        Returns:
            Rows for this process, in the order of those that had them, and how many come from each.
        """

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """Yield the rows of all processes in order to the main process, some at a time; the others get none.

        Args:
            rows: (n, ...) this process's own.
            counts: (N) how many each has.
        """

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Maximum over the processes, in place."""

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum each parameter's gradient over the processes; it stays None where no process has one."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is true in some process."""

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by the main process's."""

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """Return the text that the main process makes."""

    def barrier(self) -> None:
        """Wait for all processes."""


class SingleProcess:
    """The single process of an ordinary run; implements `Processes`."""

    rank, size, main = 0, 1, True

    def part(self, total: int) -> slice:
        """Return all rows."""
        return slice(0, total)

    def gather(self, rows: Tensor, total: int) -> Tensor:  # noqa: ARG002 - the interface
        """Return the rows."""
        return rows

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """Return the rows, and where they stand."""
        return rows, slice(0, len(rows))

    def all_to_all(
        self,
        rows: Tensor,
        sent: Sequence[int],
        received: Sequence[int] | None = None,  # noqa: ARG002 - the interface
    ) -> tuple[Tensor, Sequence[int]]:
        """Return the rows, and how many there are."""
        return rows, sent

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:  # noqa: ARG002 - the interface
        """Yield the rows on the CPU, some at a time."""
        for start in range(0, len(rows), chunk_rows(rows)):
            yield rows[start : start + chunk_rows(rows)].cpu()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Leave the gradients as they are."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return the flags."""
        return flags

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Leave the tensors as they are."""

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """Return the text."""
        return text()

    def barrier(self) -> None:
        """Go on at once."""


SINGLE_PROCESS = SingleProcess()
"""The process of a run that was started without others."""


def chunk_rows(rows: Tensor) -> int:
    """Number of rows in a chunk of `gather_chunks`; at least one."""
    return max(1, _CHUNK // max(rows.new_empty(1, *rows.shape[1:]).nbytes, 1))
