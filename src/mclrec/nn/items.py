"""Item vectors and item biases as parameters, whole or sharded by rows (`mclrec.distributed.shards`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mclrec.distributed.shards import Shard, lookup

__all__ = ["ItemEmbedding", "item_biases"]

_DRAWN = 1 << 22
"""Numbers drawn at a time: the rows of other processes are drawn too, and discarded."""

_DRAW_GROUP = 16
"""Size of the groups in which torch draws normal numbers; it redraws the last one of a tensor if it is not full."""


class ItemEmbedding(nn.Module):
    """Embedding of padding, items and mask, initialised with N(0, 1); looking up the padding gives it no gradient.

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
        """Draw the weights from N(0, std): the same for any number of processes, and never all of them at once."""
        if self.weight.is_meta:  # only the size is needed
            return
        rows, hidden_size = self.shard.ids, self.weight.shape[1]
        first, last = self.shard.first, self.shard.first + len(self.weight)
        block = max(1, _DRAWN // (hidden_size * _DRAW_GROUP)) * _DRAW_GROUP  # rows
        start = 0
        while start < rows:
            # The very last group must not be drawn alone.
            stop = rows if rows - start < block + _DRAW_GROUP else start + block
            drawn = torch.empty(stop - start, hidden_size).normal_(std=std)
            low, high = max(start, first), min(stop, last)
            if low < high:
                self.weight[low - first : high - first] = drawn[low - start : high - start]
            start = stop

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: (*ids.shape, d)."""
        return lookup(self.weight, ids, self.shard, frozen=0)


def item_biases(num_items: int) -> nn.Parameter:
    """Biases of padding and items, initialised with zero."""
    return nn.Parameter(torch.zeros(Shard.of(num_items).count(num_items + 1)))
