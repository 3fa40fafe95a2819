"""Process group of torch.distributed that trains one model: joining, collectives, and detection of lost processes.

The processes are started by torchrun or by ``mclrec train --processes``. When a process is killed, its connections are
closed, and whoever communicates with it fails at once. A machine that lost its network, a process that hangs or a GPU
that waits would go unnoticed. Each process therefore also sends a heartbeat, and exits when it has missed another's
for `SILENCE` seconds.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.distributed.processes import SINGLE_PROCESS, Processes, chunk_rows
from mclrec.errors import LOST_STATUS, LostProcessError

__all__ = ["SILENCE", "ProcessGroup", "process_group"]

SILENCE = 20.0
"""Seconds without a heartbeat after which a process counts as lost."""

_BEAT = 2.0
"""Seconds between two heartbeats."""

_LONGEST_STEP = timedelta(minutes=30)
"""How long a process may be busy, for example with a file, while others wait for it."""

_BUCKET = 1 << 20
"""Gradients with fewer elements are all-reduced together in one bucket; larger ones singly, without a copy."""


@contextmanager
def process_group(device: torch.device, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Join the process group that torchrun's environment variables describe; a single process without them.

    Args:
        device: device of the training; each process takes the GPU given by its local rank.
        environment: the environment variables.

    Raises:
        LostProcessError: the other processes do not join.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")))
    # The optimisers import it in any case. If it is imported when a group exists, it keeps that group alive for ever,
    # and the group's threads are still running when the interpreter exits: "terminate called without an active
    # exception".
    import_module("torch._dynamo")
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with _lost():
        dist.init_process_group(backend, timeout=_LONGEST_STEP)
    group = ProcessGroup()
    watch = _Watch(group)
    try:
        group.barrier()
        yield group
        watch.stop()
        group.barrier()  # the main process may host the store that the other watchers use
    finally:
        watch.stop()
        dist.destroy_process_group()  # closes the connections, so that processes waiting for this one fail


class _Watch:
    """Sends this process's heartbeat and watches those of the others.

    Silence is counted in polls, not in seconds, so that a run that was suspended as a whole (Ctrl-Z, a closed laptop)
    loses no process on waking.
    """

    def __init__(self, group: ProcessGroup, leave: Callable[[int], None] = os._exit) -> None:
        self._group, self._leave = group, leave
        # A client of its own: requests through the default store wait for each other.
        self._store = dist.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined] # not in its stub
        self._keys = [f"mclrec/alive/{rank}" for rank in range(group.size)]
        self._store.set(self._keys[group.rank], "0")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        # However this process ends: Python aborts ("terminate called without an active exception") if it exits while a
        # thread is inside a call to the store.
        atexit.register(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()
        atexit.unregister(self.stop)

    def _run(self) -> None:
        heard, silent, beat = [b""] * self._group.size, [0] * self._group.size, 0
        while not self._over.wait(_BEAT):
            beat += 1
            try:
                self._store.set(self._keys[self._group.rank], str(beat))
                counts = self._store.multi_get(self._keys)
            except RuntimeError:  # from torch.distributed: the process that hosts the store has ended
                counts = heard
            silent = [
                number + 1 if new == old else 0
                for number, new, old in zip(silent, counts, heard, strict=True)
            ]
            heard = list(counts)
            if max(silent) * _BEAT >= SILENCE and not self._over.is_set():
                self._give_up(silent.index(max(silent)))

    def _give_up(self, rank: int) -> None:
        sys.stderr.write(
            f"error: process {rank} of {self._group.size} has not been heard from for {SILENCE:.0f} seconds, so "
            f"process {self._group.rank} ends too: see its output, and continue with --resume\n"
        )
        sys.stderr.flush()
        self._leave(LOST_STATUS)


class ProcessGroup:
    """The processes of torch's default process group; implements `Processes`.

    Raises:
        LostProcessError: from every method that communicates, if another process has ended or does not answer.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.main = self.rank == 0

    def part(self, total: int) -> slice:
        """Slice of this process's rows; parts differ in length by at most one row."""
        return self._part(total, self.rank)

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """Gather the rows of all processes in order, with gradients."""
        gathered: Tensor = _Gather.apply(rows, total, self)  # type: ignore[no-untyped-call]
        return gathered

    def collect(self, rows: Tensor, total: int) -> Tensor:
        """Gather without gradients."""
        parts = (self._part(total, rank) for rank in range(self.size))
        return self._collect(rows, [part.stop - part.start for part in parts])

    def all_gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """Gather any number of rows from each process; also return the slice of this process's own."""
        counts = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        told = self.all_reduce_sum(counts).tolist()
        start = sum(told[: self.rank])
        return self._collect(rows, told), slice(start, start + len(rows))

    def all_to_all(
        self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
    ) -> tuple[Tensor, Sequence[int]]:
        """Send each process the rows that are meant for it."""
        with _lost():
            if received is None:
                asked = torch.tensor(sent, device=rows.device)
                told = torch.empty_like(asked)
                dist.all_to_all_single(told, asked)
                received = told.tolist()
            found = rows.new_empty(sum(received), *rows.shape[1:])
            dist.all_to_all_single(found, rows.contiguous(), list(received), list(sent))
        return found, received

    def gather_chunks(self, rows: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """Yield the rows of all processes to the main process, some at a time."""
        most = chunk_rows(rows)
        for rank, count in enumerate(counts):
            for start in range(0, count, most):
                stop = min(start + most, count)
                if rank == self.rank:
                    own = rows[start:stop].cpu().contiguous()
                if self.main and not rank:
                    yield own
                elif self.main:
                    given = torch.empty(stop - start, *rows.shape[1:], dtype=rows.dtype)
                    with _lost():
                        dist.recv(given, src=rank)
                    yield given
                elif rank == self.rank:
                    with _lost():
                        dist.send(own, dst=0)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        with _lost():
            dist.all_reduce(values)
        return values

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Maximum over the processes, in place."""
        with _lost():
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    @torch.no_grad()
    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum gradients over the processes; small ones are sent together, with flags for which parameters have one."""
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
        """For each flag, whether it is true in some process."""
        return tuple(self.all_reduce_max(torch.tensor(flags, dtype=torch.uint8)).bool().tolist())

    @torch.no_grad()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with the main process's."""
        for tensor in tensors:
            whole = tensor.contiguous()
            with _lost():
                dist.broadcast(whole, src=0)
            tensor.copy_(whole)

    def broadcast_text(self, text: Callable[[], str]) -> str:
        """Return the text that the main process produces."""
        message = torch.frombuffer(bytearray(text().encode()), dtype=torch.uint8) if self.main else None
        size = torch.tensor(0 if message is None else len(message))
        self.broadcast([size])
        content = torch.empty(int(size), dtype=torch.uint8) if message is None else message
        self.broadcast([content])
        return bytes(content.numpy()).decode()

    def barrier(self) -> None:
        """Wait for all processes."""
        self.all_reduce_sum(torch.zeros(1))

    def _collect(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Gather the rows of all processes, where process i has ``counts[i]`` rows."""
        if not any(counts):
            return rows
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in range(self.size)]
        with _lost():
            dist.all_gather(pieces, padded)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    def _part(self, total: int, rank: int) -> slice:
        return slice(total * rank // self.size, total * (rank + 1) // self.size)


class _Gather(torch.autograd.Function):
    """Gathers the rows of all processes; the gradient of a row is summed over the processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, total: int, group: ProcessGroup) -> Tensor:
        ctx.group, ctx.total = group, total
        return group.collect(rows, total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.group.all_reduce_sum(gradient.contiguous().clone())[ctx.group.part(ctx.total)], None, None


@contextmanager
def _lost() -> Iterator[None]:
    """Turn torch's error about a process that does not answer into a `LostProcessError` that says what to do."""
    try:
        yield
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise LostProcessError(
            "another process of this run has ended or does not answer, so this one ends too: "
            f"see its output, and continue with --resume ({reason})"
        ) from None
