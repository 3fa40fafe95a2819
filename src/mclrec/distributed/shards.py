"""Item tables sharded by rows among several processes, and lookup of any item's row from any process.

A catalogue of V items costs 16 V d bytes: vectors, gradient and Adam's two moments. Inside `sharded`, each process
keeps a contiguous range of rows, with their gradients and moments. A process requests the rows of its batch from their
owners; the gradients go back the same way and are summed there, so that an owner's gradients are complete after a
backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.distributed.processes import SINGLE_PROCESS, Processes

__all__ = ["Shard", "lookup", "mean_of_items", "sharded"]

_SHARDING_PROCESSES: ContextVar[Processes] = ContextVar(
    "processes that shard item tables", default=SINGLE_PROCESS
)


@contextmanager
def sharded(processes: Processes) -> Iterator[None]:
    """Shard the item tables that are created in the block among processes."""
    token = _SHARDING_PROCESSES.set(processes)
    try:
        yield
    finally:
        _SHARDING_PROCESSES.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The range of ids whose rows this process holds, in every tensor with one row per id.

    Attributes:
        ids: number of all ids, V + 2: padding, items, mask. A tensor may have fewer rows.
        processes: the processes among which the ids are divided; a single one holds all.
    """

    ids: int
    processes: Processes = SINGLE_PROCESS

    @classmethod
    def of(cls, num_items: int) -> Shard:
        """Shard among the processes of the `sharded` block that this is called in."""
        return cls(num_items + 2, _SHARDING_PROCESSES.get())

    @property
    def whole(self) -> bool:
        """Whether this process holds all rows."""
        return self.processes.size == 1

    @property
    def first(self) -> int:
        """The first id of this process."""
        return self.bounds[self.processes.rank]

    @property
    def bounds(self) -> list[int]:
        """(N + 1) first id of each process, then the number of all ids."""
        size = self.processes.size
        return [self.ids * rank // size for rank in range(size + 1)]

    def counts(self, rows: int) -> list[int]:
        """(N) number of rows that each process holds of a tensor with ``rows`` rows in all."""
        ends = [min(bound, rows) for bound in self.bounds]
        return [end - start for start, end in pairwise(ends)]

    def count(self, rows: int) -> int:
        """Number of rows that this process holds of a tensor with ``rows`` rows in all."""
        return self.counts(rows)[self.processes.rank]


def lookup(rows: Tensor, ids: Tensor, shard: Shard, frozen: int | None = None) -> Tensor:
    """Look up the rows of ``ids``, whichever processes hold them.

    All processes must take part, even those that need no rows, in the backward pass too: a process without rows keeps
    its empty tensors in the graph.

    Args:
        rows: (this process's ids, ...) rows of this process.
        ids: int64 of any shape.
        shard: the ids of this process.
        frozen: an id whose row gets no gradient.

    Returns:
        (*ids.shape, ...). If sharded rows are a parameter, ``backward`` adds the gradient to ``rows.grad``, and
        `torch.autograd.grad` does not see it.
    """
    if shard.whole:
        return F.embedding(ids, rows, padding_idx=frozen) if rows.dim() == 2 else rows[ids]
    wanted, places = ids.unique(return_inverse=True)
    own, parameter = rows, rows.is_leaf and rows.requires_grad
    if parameter and torch.is_grad_enabled():
        # A separate leaf: autograd would allocate a second table to sum this gradient and that of a softmax.
        own = rows.detach()
        own.requires_grad_().register_post_accumulate_grad_hook(partial(_add_to_gradient, rows))
    found: Tensor = _Fetch.apply(own, wanted, shard, frozen, parameter)  # type: ignore[no-untyped-call]
    return found.index_select(0, places.flatten()).view(*ids.shape, *rows.shape[1:])


def mean_of_items(rows: Tensor, num_items: int, shard: Shard) -> Tensor:
    """Mean of the rows of items 1..V, whichever processes hold them; all processes must call this.

    Args:
        rows: (this process's ids, ...) rows of this process.
        num_items: V.
        shard: the ids of this process.

    Returns:
        (...), the same in all processes; its gradients from all processes are summed in those of the rows.
    """
    low = max(1 - shard.first, 0)  # skips the padding id, which is not an item
    own = rows[low : max(shard.count(num_items + 1), low)].sum(0)
    total: Tensor = own if shard.whole else _Sum.apply(own, shard.processes)  # type: ignore[no-untyped-call]
    return total / num_items


def _add_to_gradient(rows: Tensor, leaf: Tensor) -> None:
    """Move the sparse gradient of ``leaf`` into the gradient of ``rows``."""
    assert leaf.grad is not None
    part, leaf.grad = leaf.grad, None
    if rows.grad is None:
        rows.grad = part.to_dense()
    else:
        rows.grad.index_add_(0, part._indices()[0], part._values())


class _Fetch(torch.autograd.Function):
    """Fetches rows of sorted, distinct ids from their owners; gradients, sparse or dense, are sent back and summed."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, wanted: Tensor, shard: Shard, frozen: int | None, sparse: bool
    ) -> Tensor:
        bounds = torch.tensor(shard.bounds, device=wanted.device)
        sent = torch.searchsorted(wanted, bounds).diff().tolist()
        asked, received = shard.processes.all_to_all(wanted, sent)
        ctx.places, ctx.kept = asked - shard.first, None if frozen is None else asked != frozen
        ctx.sent, ctx.received, ctx.shard, ctx.shape, ctx.sparse = sent, received, shard, rows.shape, sparse
        found, _ = shard.processes.all_to_all(rows.index_select(0, ctx.places), received, sent)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        returned, _ = ctx.shard.processes.all_to_all(gradient, ctx.sent, ctx.received)
        places = ctx.places
        if ctx.kept is not None:
            places, returned = places[ctx.kept], returned[ctx.kept]
        grad_rows = torch.sparse_coo_tensor(
            places.unsqueeze(0), returned, ctx.shape, check_invariants=False, is_coalesced=False
        )
        return grad_rows if ctx.sparse else grad_rows.to_dense(), None, None, None, None


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.all_reduce_sum(part.clone())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.all_reduce_sum(gradient.clone()), None
