"""Item tables that several processes shard by rows, and how any of them gets the rows of any item.

A catalogue of V items costs 16 V d bytes: vectors, gradient and Adam's two moments. Inside `sharded`, each process
keeps a run of rows, with all that belongs to them. A process asks the owners for the rows of its batch; their gradients
go back the same way and are added up there, so that what an owner has after a backward pass is complete.
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

_AMONG: ContextVar[Processes] = ContextVar("processes that shard item tables", default=SINGLE_PROCESS)


@contextmanager
def sharded(processes: Processes) -> Iterator[None]:
    """Shard the item tables that are made in the block among processes."""
    token = _AMONG.set(processes)
    try:
        yield
    finally:
        _AMONG.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The run of ids whose rows this process holds, of every tensor with a row an id.

    Attributes:
        ids: number of all ids, V + 2: padding, items, mask. A tensor may have fewer rows.
        processes: the processes that hold them; one holds all.
    """

    ids: int
    processes: Processes = SINGLE_PROCESS

    @classmethod
    def of(cls, num_items: int) -> Shard:
        """Shard among the processes of the `sharded` block that this is called in."""
        return cls(num_items + 2, _AMONG.get())

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
        """(N + 1) where the ids of each process begin, and where the last one's end."""
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
    """Look up the rows of ``ids``, in whichever process they are.

    All processes must call this, those that need no row too, and so they must in the backward pass: a process without
    rows keeps its empty tensors in the graph.

    Args:
        rows: (this process's ids, ...) its own rows.
        ids: int64 of any shape.
        shard: which ids are its own.
        frozen: an id whose row gets no gradient.

    Returns:
        (*ids.shape, ...). Where sharded rows are a parameter, ``backward`` adds its gradient to
        ``rows.grad``, and `torch.autograd.grad` does not see it.
    """
    if shard.whole:
        return F.embedding(ids, rows, padding_idx=frozen) if rows.dim() == 2 else rows[ids]
    wanted, places = ids.unique(return_inverse=True)
    own, parameter = rows, rows.is_leaf and rows.requires_grad
    if parameter and torch.is_grad_enabled():
        # A leaf of its own: autograd would make a second table to add up this gradient and that of a softmax.
        own = rows.detach()
        own.requires_grad_().register_post_accumulate_grad_hook(partial(_add_to_gradient, rows))
    found: Tensor = _Fetch.apply(own, wanted, shard, frozen, parameter)  # type: ignore[no-untyped-call]
    return found.index_select(0, places.flatten()).view(*ids.shape, *rows.shape[1:])


def mean_of_items(rows: Tensor, num_items: int, shard: Shard) -> Tensor:
    """Mean of the rows of items 1..V, in whichever process they are; all processes must call this.

    Args:
        rows: (this process's ids, ...) its own rows.
        num_items: V.
        shard: which ids are its own.

    Returns:
        (...), the same in all processes; what they make of it adds up in the gradients of the rows.
    """
    low = max(1 - shard.first, 0)  # the padding id is no item
    own = rows[low : max(shard.count(num_items + 1), low)].sum(0)
    total: Tensor = own if shard.whole else _Sum.apply(own, shard.processes)  # type: ignore[no-untyped-call]
    return total / num_items


def _add_to_gradient(rows: Tensor, leaf: Tensor) -> None:
    """The gradient of ``leaf``, which is sparse, goes into that of ``rows``."""
    assert leaf.grad is not None
    part, leaf.grad = leaf.grad, None
    if rows.grad is None:
        rows.grad = part.to_dense()
    else:
        rows.grad.index_add_(0, part._indices()[0], part._values())


class _Fetch(torch.autograd.Function):
    """Rows of sorted, distinct ids from their owners; gradients, sparse or not, go back to them and are added up."""

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
    """Sum over the processes; so are gradients of it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.all_reduce_sum(part.clone())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.all_reduce_sum(gradient.clone()), None
