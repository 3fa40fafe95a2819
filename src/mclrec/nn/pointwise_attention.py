"""Blocks and encoder of HSTU (Zhai et al., ICML 2024), on packed histories; `mclrec.models.hstu` has the equations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.blocks import Distances
from mclrec.nn.dropout import Dropout
from mclrec.nn.packing import Layout, take
from mclrec.nn.transformer import BlockEncoder

__all__ = ["HSTUBlock", "HSTUEncoder"]

_EPS = 1e-6
"""Epsilon of all norms."""


class HSTUBlock(nn.Module):
    """Pointwise aggregated attention with a gate, and a residual.

    Args:
        hidden_size: d.
        heads: attention heads.
        dropout: rate before f2.
        max_length: n, the longest history.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float, max_length: int) -> None:
        super().__init__()
        self.hidden_size, self.heads, self.max_length = hidden_size, heads, max_length
        self.uvqk = nn.Linear(hidden_size, 4 * hidden_size, bias=False)  # f1
        self.distances = Distances(1, max_length)  # rab
        self.out = nn.Linear(hidden_size, hidden_size)  # f2
        self.dropout = Dropout(dropout)
        nn.init.normal_(self.uvqk.weight, std=0.02)
        nn.init.normal_(self.distances.weight, std=0.02)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """Apply the block to packed tokens: (S, d) -> (S, d), or (B, d) of the last tokens."""
        u, v, q, k = self._split(x)
        if not last_only:
            return self._finish(x, u, self._between(v, q, k, plan, hidden))
        x, u, q = (take(part, plan.last) for part in (x, u, q))
        return self._finish(x, u, self._attend_last(v, q, k, plan, hidden))

    def padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Apply the block to padded tokens: (B, L, d), future (L, L), hidden (B, L) -> (B, L, d)."""
        u, *vqk = self._split(x)
        v, q, k = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in vqk)  # (B, heads, L, .)
        unseen = future | hidden[:, None, None]  # (B, 1, queries, keys)
        weights = self._weights(q @ k.mT + self.distances(x.shape[1])).masked_fill(unseen, 0)
        return self._finish(x, u, (weights @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """U, V, Q and K of tokens (..., d), eq. 1."""
        parts: Tensor = self.uvqk(_normalised(x))
        return F.silu(parts).chunk(4, -1)

    def _weights(self, scores: Tensor) -> Tensor:
        """Weights of keys from scores, eq. 2."""
        return F.silu(scores) / self.max_length

    def _between(self, v: Tensor, q: Tensor, k: Tensor, plan: Layout, hidden: Tensor | None) -> Tensor:
        """A V of all tokens (S, d), computed block by block."""
        parts = []
        for group in plan.groups:
            places, length = slice(group.start, group.stop), group.length
            values, queries, keys = (
                part[places].view(-1, length, self.heads, self.hidden_size // self.heads).transpose(1, 2)
                for part in (v, q, k)
            )  # (blocks, heads, L, .)
            seen = group.bias == 0  # (blocks, keys, queries)
            if hidden is not None:
                seen = seen & ~hidden[places].view(-1, length, 1)
            weights = self._weights(queries @ keys.mT + self.distances(length))
            mixed = weights.masked_fill(~seen.mT.unsqueeze(1), 0) @ values
            parts.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat([*parts, v.new_zeros(len(v) - sum(map(len, parts)), self.hidden_size)])

    def _attend_last(self, v: Tensor, q: Tensor, k: Tensor, plan: Layout, hidden: Tensor | None) -> Tensor:
        """A V (B, d) of the last token of each history, for the queries (B, d) of these tokens."""
        owners = plan.owners.index_select(0, plan.inverse)
        values, keys = (take(part, plan.inverse).unflatten(1, (self.heads, -1)) for part in (v, k))
        scores = (q.index_select(0, owners).unflatten(1, (self.heads, -1)) * keys).sum(-1)  # (T, heads)
        weights = self._weights(scores + self.distances.to_last(plan).T)
        if hidden is not None:
            weights = weights.masked_fill(hidden.index_select(0, plan.inverse).unsqueeze(1), 0)
        mixed: Tensor = (weights.unsqueeze(2) * values).flatten(1)
        return mixed.new_zeros(len(plan.last), self.hidden_size).index_add(0, owners, mixed)

    def _finish(self, x: Tensor, u: Tensor, mixed: Tensor) -> Tensor:
        """Output of the block, eq. 3, token by token."""
        out: Tensor = x + self.out(self.dropout(_normalised(mixed) * u))
        return out


class HSTUEncoder(BlockEncoder):
    """HSTU encoder: item vectors times the square root of d plus positions, dropout, blocks of pointwise attention.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d.
        layers: number of blocks.
        heads: attention heads.
        dropout: rate after the embedding and in each block.
        last_norm: whether the last block's states go through a LayerNorm, whose weights learn their scale.
    """

    drops_hidden = False  # distances count hidden tokens too

    def __init__(
        self,
        *,
        num_items: int,
        max_length: int,
        hidden_size: int,
        layers: int,
        heads: int,
        dropout: float,
        last_norm: bool = False,
    ) -> None:
        super().__init__(num_items, max_length, hidden_size, dropout, positions="oldest", causal=True)
        self.scale = math.sqrt(hidden_size)
        self.items.draw(0.02)
        assert self.positions is not None
        nn.init.normal_(self.positions.weight, std=1 / self.scale)
        self.blocks = nn.ModuleList(HSTUBlock(hidden_size, heads, dropout, max_length) for _ in range(layers))
        self.last_norm = nn.LayerNorm(hidden_size, eps=_EPS) if last_norm else nn.Identity()

    def _embed(self, items: Tensor, positions: Tensor) -> Tensor:
        assert self.positions is not None
        out: Tensor = self.dropout(self.items(items) * self.scale + self.positions(positions))
        return out

    def _leave(self, x: Tensor) -> Tensor:
        out: Tensor = self.last_norm(x)
        return out


def _normalised(x: Tensor) -> Tensor:
    """Rows with mean 0 and variance 1."""
    return F.layer_norm(x, [x.shape[-1]], eps=_EPS)
