"""Item vectors that several processes share out by rows, and how any of them gets the vectors of any item.

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
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mclrec.processes import SINGLE_PROCESS, Processes

__all__ = ["ItemEmbedding", "Shard", "lookup", "sharded"]

_AMONG: ContextVar[Processes] = ContextVar(
    "processes among which item tables are sharded", default=SINGLE_PROCESS
)

_DRAWN = 1 << 22
"""Numbers that are drawn at a time, most of which other processes keep."""

_TOGETHER = 16
"""Torch draws normal numbers in groups of so many, and those of a tensor's last group anew where it is not full."""


@contextmanager
def sharded(processes: Processes) -> Iterator[None]:
    """Item tables that are made in the block have in each process the rows that are its own."""
    token = _AMONG.set(processes)
    try:
        yield
    finally:
        _AMONG.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The ids whose rows this process has, of every tensor with a row an id.

    Attributes:
        ids: how many there are in all, V + 2: padding, items, mask. A tensor may have fewer rows.
        processes: that share them; one has all.
    """

    ids: int
    processes: Processes = SINGLE_PROCESS

    @classmethod
    def of(cls, num_items: int) -> Shard:
        """Among the processes of the block `sharded` that this is in."""
        return cls(num_items + 2, _AMONG.get())

    @property
    def whole(self) -> bool:
        """Whether this process has all rows."""
        return self.processes.size == 1

    @property
    def first(self) -> int:
        """The first id that is this process's own."""
        return self.bounds[self.processes.rank]

    @property
    def bounds(self) -> list[int]:
        """(N + 1) where the ids of each process begin, and where the last one's end."""
        size = self.processes.size
        return [self.ids * rank // size for rank in range(size + 1)]

    def counts(self, rows: int) -> list[int]:
        """(N) how many rows each process has of a tensor that has ``rows`` in all."""
        ends = [min(bound, rows) for bound in self.bounds]
        return [end - start for start, end in pairwise(ends)]

    def count(self, rows: int) -> int:
        """How many rows this process has of a tensor that has ``rows`` in all."""
        return self.counts(rows)[self.processes.rank]


class ItemEmbedding(nn.Module):
    """Vectors of padding, items and mask, N(0, 1) at first; the padding's has no gradient from here.

    Args:
        num_items: V.
        hidden_size: d.
    """

    def __init__(self, num_items: int, hidden_size: int) -> None:
        super().__init__()
        self.shard = Shard.of(num_items)
        self.weight = nn.Parameter(torch.empty(self.shard.count(num_items + 2), hidden_size))
        self.draw(1.0)

    @torch.no_grad()
    def draw(self, std: float) -> None:
        """N(0, std) from torch's generator: the same numbers however the rows are divided, and never all at once."""
        rows, hidden_size = self.shard.ids, self.weight.shape[1]
        first, last = self.shard.first, self.shard.first + len(self.weight)
        block = max(1, _DRAWN // (hidden_size * _TOGETHER)) * _TOGETHER  # rows
        start = 0
        while start < rows:
            # The last group of all must not stand alone.
            stop = rows if rows - start < block + _TOGETHER else start + block
            drawn = torch.empty(stop - start, hidden_size).normal_(std=std)
            low, high = max(start, first), min(stop, last)
            if low < high:
                self.weight[low - first : high - first] = drawn[low - start : high - start]
            start = stop

    def forward(self, ids: Tensor) -> Tensor:
        """(*ids.shape, d)."""
        return lookup(self.weight, ids, self.shard, frozen=0)


def lookup(rows: Tensor, ids: Tensor, shard: Shard, frozen: int | None = None) -> Tensor:
    """Rows of ``ids``, wherever they are.

    All processes must come here, those that want nothing too, and so they must in the backward pass: a process without
    rows keeps its empty tensors in the graph.

    Args:
        rows: (this process's ids, ...) its own rows.
        ids: int64 of any shape.
        shard: which ids are its own.
        frozen: an id whose row gets no gradient.

    Returns:
        (*ids.shape, ...). Where processes share out rows that are a parameter, ``backward`` adds its gradient to
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
