"""The catalogue as vectors and biases: all that losses, evaluation and inference see of a model's items."""

from __future__ import annotations

from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mclrec.data.batches import to_device
from mclrec.data.packed import Packed
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import Shard, lookup, mean_of_items
from mclrec.distributed.vocab_parallel import gather_additions, vocab_parallel_cross_entropy
from mclrec.errors import EvaluationError
from mclrec.losses.additions import Additions
from mclrec.losses.softmax import chunked_linear_cross_entropy
from mclrec.shapes import round_up

__all__ = ["ItemTable", "exclude", "ranks_among"]

_EXACT = 1 << 24
"""Every integer below this is exact in fp32."""


class ItemTable:
    """The catalogue as vectors and biases; losses and rankings access it only through this class.

    If the rows are sharded among processes, all processes must call the same methods in the same order. Results are
    those that one process with all rows would get.

    Args:
        weight: (V + 1 or more, d); row ``i`` is item ``i``, row 0 the padding id; rows after V are ignored.
        num_items: V.
        bias: (V + 1 or more,) or None.
        shard: the rows of weight and bias that this process holds; all if None.
    """

    def __init__(
        self, weight: Tensor, num_items: int, bias: Tensor | None = None, shard: Shard | None = None
    ) -> None:
        self.weight, self.bias, self.num_items = weight, bias, num_items
        self._shard = shard or Shard(num_items + 2)

    def detach(self) -> ItemTable:
        """The same table, with vectors and biases that no gradient reaches."""
        bias = None if self.bias is None else self.bias.detach()
        return ItemTable(self.weight.detach(), self.num_items, bias, self._shard)

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: shape (*ids.shape, d)."""
        return lookup(self.weight, ids, self._shard)

    def pair_scores(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Score of each query (..., d) with the item of its own row, ids (...): shape (...)."""
        scores = (queries * self.lookup(ids)).sum(-1)
        return scores if self.bias is None else scores + lookup(self.bias, ids, self._shard)

    def scores_of(self, queries: Tensor, ids: Tensor) -> Tensor:
        """(B, N) scores in fp32 of the same items ``ids`` (N,) for every query."""
        bias = None if self.bias is None else lookup(self.bias, ids, self._shard)
        count = len(queries)
        rows = F.pad(queries, (0, 0, 0, round_up(count, 16) - count))  # few shapes, see mclrec.shapes
        return F.linear(rows, self.lookup(ids), bias)[:count].float()

    def mean_scores(self, queries: Tensor) -> Tensor:
        """(B,) mean score of each query over all items, in fp32 at least."""
        with torch.autocast(queries.device.type, enabled=False):
            scores = queries.to(self.weight.dtype) @ mean_of_items(self.weight, self.num_items, self._shard)
            return (
                scores
                if self.bias is None
                else scores + mean_of_items(self.bias, self.num_items, self._shard)
            )

    def scores(self, queries: Tensor, additions: Additions | None = None) -> Tensor:
        """(B, V + 1) scores in fp32 of all ids, padding included; only this process's ids if the table is sharded."""
        rows = self._shard.count(self.num_items + 1)
        scores = F.linear(
            queries, self.weight[:rows], None if self.bias is None else self.bias[:rows]
        ).float()
        return scores if additions is None else self._own(additions).add_to(scores)

    def cross_entropy(self, queries: Tensor, targets: Tensor, additions: Additions | None = None) -> Tensor:
        """Sum over rows of the softmax cross-entropy over all ids, the padding id included (eq. 3 as logits).

        With ``additions``, the scores of all queries are held at once, so there should be few queries.
        """
        classes = self.num_items + 1
        if self._shard.whole and additions is not None:
            return F.cross_entropy(self.scores(queries, additions), targets, reduction="sum")
        if self._shard.whole:
            return chunked_linear_cross_entropy(queries, self.weight, self.bias, targets, classes=classes)
        return vocab_parallel_cross_entropy(
            queries,
            self.weight,
            self.bias,
            targets,
            first=self._shard.first,
            classes=self._shard.count(classes),
            processes=self._shard.processes,
            additions=additions,
        )

    def ranks(
        self,
        queries: Tensor,
        items: Tensor,
        excluded: Packed | None,
        rows: int,
        additions: Additions | None = None,
    ) -> Tensor:
        """(B,) rank of one item per query among all items; see `ranks_among`.

        Args:
            queries: (B, d).
            items: (B,) int64 on the host.
            excluded: B lists of items that are not candidates; None if all items are.
            rows: queries that are scored at a time.
            additions: to the scores of the queries; None for no additions.
        """
        processes, first = self._shard.processes, self._shard.first
        (queries, own), (items, _) = processes.all_gather(queries), processes.all_gather(items)
        if excluded is not None:
            excluded = _gather_lists(excluded, processes)
        rows, columns = rows * processes.size, self._shard.count(self.num_items + 1)
        ranks = torch.empty(len(queries), dtype=torch.int64)
        together = None if additions is None else gather_additions(additions, own.start, processes)
        parts = repeat(None) if together is None else together.split(rows)
        for start, added in zip(range(0, len(queries), rows), parts, strict=False):
            part = slice(start, start + rows)
            scores = self.scores(queries[part], added)
            if scores.shape[1] != columns:
                raise EvaluationError(
                    f"the item table has {len(self.weight)} rows, not V + 1 = {self.num_items + 1} or more"
                )
            if excluded is not None:
                scores = exclude(scores, excluded.take(np.arange(start, start + len(scores))), first)
            ranks[part] = ranks_among(scores, items[part], first, processes)
        return ranks[own]

    def _own(self, additions: Additions) -> Additions:
        """The additions to ids whose rows this process holds."""
        if self._shard.whole:
            return additions
        first = self._shard.first
        return additions.of_items(first, first + self._shard.count(self.num_items + 1))


def ranks_among(
    scores: Tensor, items: Tensor, first: int = 0, processes: Processes = SINGLE_PROCESS
) -> Tensor:
    """(B,) 1 + the number of other candidates that do not score below the item of the row.

    Ties count against the item. No comparison with NaN is true, so NaN never helps. An item whose own score is NaN or
    -inf is never listed, and ranks after all candidates.

    Args:
        scores: (B, C) of the ids from ``first`` on; id 0 is not a candidate.
        items: (B,) int64 on the host.
        first: the first of this process's ids.
        processes: the processes that hold the other ids.

    Returns:
        int64, on the host.
    """
    places = to_device(items, scores.device) - first
    here = (places >= 0) & (places < scores.shape[1])
    own = scores.new_zeros(len(scores))
    if scores.shape[1]:  # a process may have no ids
        found = scores.gather(1, places.clamp(0, scores.shape[1] - 1).unsqueeze(1)).squeeze(1)
        own = torch.where(here, found, own)
    candidates = scores if first else scores[:, 1:]
    # Summing floats is several times faster than summing booleans, and exact for fewer than `_EXACT`.
    kind = torch.float32 if candidates.shape[1] < _EXACT else torch.int64
    own = processes.all_reduce_sum(own)[:, None]
    below = torch.lt(candidates, own, out=torch.empty_like(candidates, dtype=kind)).sum(1).to(torch.int64)
    unlisted = ~(own > -torch.inf).squeeze(1)
    return (processes.all_reduce_sum(candidates.shape[1] - below) + unlisted).cpu()


def exclude(scores: Tensor, lists: Packed, first: int = 0) -> Tensor:
    """Copy of ``scores`` (B, ids from ``first`` on) with -inf at the items of each row's list."""
    places = lists.items - first
    there = (places >= 0) & (places < scores.shape[1])
    rows, items = (to_device(torch.from_numpy(array[there]), scores.device) for array in (lists.rows, places))
    return scores.index_put((rows, items), scores.new_full((), -torch.inf))


def _gather_lists(lists: Packed, processes: Processes) -> Packed:
    """The lists of all processes, in order."""
    if processes.size == 1:
        return lists
    items, _ = processes.all_gather(torch.from_numpy(lists.items))
    lengths, _ = processes.all_gather(torch.from_numpy(lists.lengths))
    return Packed(items.numpy(), np.concatenate([[0], lengths.numpy().cumsum()]))
