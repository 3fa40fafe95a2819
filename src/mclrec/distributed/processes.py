"""Interface of the processes that train one model (collectives), and the single process of an ordinary run.

Every process holds all parameters, except sharded item tables, and takes its part of the rows of each batch. The sums
computed here are the same in all processes, bit for bit, so that the replicas stay identical. `SINGLE_PROCESS` has all
rows and returns what it is given. Several processes are a `mclrec.distributed.group.ProcessGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["SINGLE_PROCESS", "Processes", "SingleProcess", "chunk_rows"]

_CHUNK = 1 << 24
"""Approximate size in bytes of a chunk of rows that is sent to the main process."""


class Processes(Protocol):
    """The processes of a run, as seen by one of them. All must call the same methods in the same order."""

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
        """Slice of ``total`` rows that belongs to this process; the slices of all processes in order cover all rows."""

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """Gather the rows of all processes in order, with gradients.

        Args:
            rows: (n, ...) this process's part of the rows.
            total: number of rows of all processes together.

        Returns:
            (total, ...); its gradient, summed over the processes, reaches the rows of each.
        """

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """Gather any number of rows from each process in order, without gradients; also return the slice of its own."""

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        """Send each process the rows that are meant for it.

        Args:
            rows: (n, ...) first those for process 0, then those for process 1 and so on.
            sent: (N) number of rows for each process.
            received: (N) number of rows that each process has for this one; None if unknown.

        Returns:
            Rows for this process, ordered by sender, and the number from each.
        """

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """Yield the rows of all processes in order to the main process, some at a time; the others get none.

        Args:
            rows: (n, ...) rows of this process.
            counts: (N) number of rows of each process.
        """

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Maximum over the processes, in place."""

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum each parameter's gradient over the processes; it stays None if no process has one."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is true in some process."""

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with the main process's."""

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """Return the text that the main process produces."""

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
        """Return the rows and the slice that covers them."""
        return rows, slice(0, len(rows))

    def all_to_all(
        self,
        rows: Tensor,
        sent: Sequence[int],
        received: Sequence[int] | None = None,  # noqa: ARG002 - the interface
    ) -> tuple[Tensor, Sequence[int]]:
        """Return the rows and their number as given."""
        return rows, sent

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:  # noqa: ARG002 - the interface
        """Yield the rows on the CPU, in chunks."""
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
        """Return at once."""


SINGLE_PROCESS = SingleProcess()
"""The only process of an ordinary run."""


def chunk_rows(rows: Tensor) -> int:
    """Number of rows in a chunk of `gather_chunks`; at least one."""
    return max(1, _CHUNK // max(rows.new_empty(1, *rows.shape[1:]).nbytes, 1))
