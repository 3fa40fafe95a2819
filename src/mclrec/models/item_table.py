"""The catalogue as vectors and biases: what losses and rankings see of a model's items."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mclrec.losses.sharded_softmax import vocab_parallel_cross_entropy
from mclrec.losses.softmax import chunked_linear_cross_entropy
from mclrec.nn.items import Shard, lookup
from mclrec.shapes import round_up

__all__ = ["ItemTable"]


class ItemTable:
    """The catalogue as vectors and biases; losses and rankings reach it only through here.

    Where several processes share the rows out, each has its own of them, and all must ask for the same things in the
    same order. What comes back is what one process with all rows would get.

    Args:
        weight: (V + 1 or more, d); row ``i`` is item ``i``, row 0 the padding id; rows after V are ignored.
        num_items: V.
        bias: (V + 1 or more,) or None.
        shard: the rows that this process has of both; all if None.
    """

    def __init__(
        self, weight: Tensor, num_items: int, bias: Tensor | None = None, shard: Shard | None = None
    ) -> None:
        self.weight, self.bias, self.num_items = weight, bias, num_items
        self.shard = shard or Shard(len(weight))

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: shape (*ids.shape, d)."""
        return lookup(self.weight, ids, self.shard)

    def pair_scores(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Score of each query (..., d) with the item of its own row, ids (...): shape (...)."""
        scores = (queries * self.lookup(ids)).sum(-1)
        return scores if self.bias is None else scores + lookup(self.bias, ids, self.shard)

    def scores_of(self, queries: Tensor, ids: Tensor) -> Tensor:
        """(B, N) scores in fp32 of the same items ``ids`` (N,) for every query."""
        bias = None if self.bias is None else lookup(self.bias, ids, self.shard)
        count = len(queries)
        rows = F.pad(queries, (0, 0, 0, round_up(count, 16) - count))  # few shapes, see mclrec.shapes
        return F.linear(rows, self.lookup(ids), bias)[:count].float()

    def scores(self, queries: Tensor) -> Tensor:
        """(B, V + 1) scores in fp32 of all ids, the padding id included; of a process's own ids if there are others.

        Those are `Shard.count` of V + 1, from `Shard.first` on.
        """
        rows = self.shard.count(self.num_items + 1)
        return F.linear(queries, self.weight[:rows], None if self.bias is None else self.bias[:rows]).float()

    def cross_entropy(self, queries: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows of the softmax cross-entropy over all ids, the padding id included (eq. 3 as logits)."""
        classes = self.num_items + 1
        if self.shard.whole:
            return chunked_linear_cross_entropy(queries, self.weight, self.bias, targets, classes=classes)
        return vocab_parallel_cross_entropy(
            queries,
            self.weight,
            self.bias,
            targets,
            first=self.shard.first,
            classes=self.shard.count(classes),
            among=self.shard.processes,
        )
