"""Causal transformer over packed histories, post-norm, as SASRec's successors use it (paper, section 2.2).

Linear layers and norms see real tokens only; attention pads in groups of like length. When only the last hidden
state of a history is wanted, the last block computes queries and everything after them for that token alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.dropout import Dropout
from mclrec.nn.packing import Group, Layout, layout, take

__all__ = ["TransformerEncoder"]

_HIDDEN = -1e9
"""Score of a key that must not be seen. Finite: a query that sees no key at all must not become NaN."""


class TransformerEncoder(nn.Module):
    """Item and position embedding, LayerNorm, dropout, then causal post-norm blocks.

    Items with id 0 are hidden: no other token attends to them.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        longest: n, the longest history.
        width: d.
        layers: number of blocks.
        heads: attention heads.
        inner: width inside the feed-forward part.
        dropout: rate after embedding, attention output and feed-forward part.
        attention_dropout: rate on attention weights.
        positions: whether position ids count from the oldest kept item or back from the newest, which then
            always has the id n - 1.
    """

    def __init__(
        self,
        *,
        num_items: int,
        longest: int = 50,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        inner: int = 256,
        dropout: float = 0.5,
        attention_dropout: float = 0.5,
        positions: Literal["oldest", "newest"] = "oldest",
    ) -> None:
        super().__init__()
        self.longest = longest
        self.positions_from = positions
        self.items = nn.Embedding(num_items + 2, width, padding_idx=0)  # only the softmax trains row 0
        self.positions = nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            _Block(width, heads, inner, dropout, attention_dropout) for _ in range(layers)
        )
        self.apply(_initialise)

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Hidden states of packed histories, none of them empty and none longer than n.

        Args:
            items: (T,) item ids.
            offsets: (B + 1,) on the host.
            outputs: the last token's state of each history, or every token's.

        Returns:
            (B, d) or (T, d), in the order of the input.
        """
        plan = layout(offsets, items.device)
        inside = items.index_select(0, plan.order)
        x = self._embed(inside, plan.positions if self.positions_from == "oldest" else -1 - plan.remaining)
        hidden = inside == 0
        hidden_keys = hidden if bool(hidden.any()) else None
        last_only = outputs == "last"
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, plan, hidden_keys, last_only and number == len(self.blocks))
        return take(x, plan.restore if last_only else plan.inverse)  # (B, d) or (T, d)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states of left-aligned, zero-padded histories: the form that is exported.

        Args:
            items: (B, L) item ids, zeros after each history's end.
            lengths: (B,) at least 1.

        Returns:
            (B, d).
        """
        places = torch.arange(items.shape[1], device=items.device)
        positions = places if self.positions_from == "oldest" else places - lengths[:, None]
        x = self._embed(items, positions.expand_as(items))
        future = places[None, :] > places[:, None]
        blocked = future[None, None] | (items == 0)[:, None, None, :]  # (B, 1, L, L)
        for block in cast("Iterable[_Block]", self.blocks):
            x = block.padded(x, blocked)
        last = (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2])
        return x.gather(1, last).squeeze(1)

    def _embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """Embedding layer; negative positions count back from n."""
        vectors = self.items(items) + self.positions(positions.remainder(self.longest))
        out: Tensor = self.dropout(self.norm(vectors))
        return out


class _Block(nn.Module):
    """Self-attention and feed-forward part, each with dropout, residual and LayerNorm after it."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.width, self.heads = width, heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.attention_dropout = Dropout(attention_dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """(T, d) to (T, d), or to (B, d) in the groups' order of histories."""
        if not last_only:
            qkv = self.qkv(x)  # (T, 3 d)
            parts = [self._attend(group, qkv, hidden) for group in plan.groups]
            return self._finish(x, torch.cat(parts))
        newest = take(x, plan.last)  # (B, d)
        d = self.width
        queries = F.linear(newest, self.qkv.weight[:d], self.qkv.bias[:d])
        keys_values = F.linear(x, self.qkv.weight[d:], self.qkv.bias[d:])  # (T, 2 d)
        rows = queries.split([group.rows for group in plan.groups])
        parts = [
            self._attend_last(group, q, keys_values, hidden)
            for group, q in zip(plan.groups, rows, strict=True)
        ]
        return self._finish(newest, torch.cat(parts))

    def padded(self, x: Tensor, blocked: Tensor) -> Tensor:
        """The same on padded tokens: (B, L, d), blocked (B, 1, L, L) -> (B, L, d)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._finish(x, self._mix(q, k, v, blocked))

    def _attend(self, group: Group, qkv: Tensor, hidden: Tensor | None) -> Tensor:
        """Causal attention inside one group: (T, 3 d) -> (T of the group, d)."""
        tokens = qkv[group.start : group.stop]
        q, k, v = group.pad(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        places = torch.arange(group.longest, device=qkv.device)
        blocked = (places[None, :] > places[:, None])[
            None, None
        ]  # padding comes last: never seen by real tokens
        if hidden is not None:
            blocked = blocked | group.pad(hidden[group.start : group.stop])[:, None, None, :]
        return group.unpad(self._mix(q, k, v, blocked))

    def _attend_last(
        self, group: Group, queries: Tensor, keys_values: Tensor, hidden: Tensor | None
    ) -> Tensor:
        """Attention of the last token of each history of one group: queries (b, d) -> (b, d)."""
        tokens = keys_values[group.start : group.stop]
        k, v = group.pad(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = queries.unflatten(-1, (self.heads, -1))[:, :, None]  # (b, heads, 1, d / heads)
        places = torch.arange(group.longest, device=queries.device)
        blocked = (places[None, :] >= group.lengths[:, None])[:, None, None, :]
        if hidden is not None:
            blocked = blocked | group.pad(hidden[group.start : group.stop])[:, None, None, :]
        return self._mix(q, k, v, blocked).squeeze(1)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor) -> Tensor:
        """Scaled dot-product attention; q (b, heads, Q, d / heads) -> (b, Q, d)."""
        scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-1, -2)
        weights = self.attention_dropout(scores.masked_fill(blocked, _HIDDEN).softmax(-1))
        mixed: Tensor = weights.to(v.dtype) @ v
        return mixed.transpose(1, 2).flatten(2)

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Everything after attention, token by token."""
        x = self.attention_norm(x + self.dropout(self.out(attended)))
        out: Tensor = self.norm(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return out


def _initialise(module: nn.Module) -> None:
    """Weights N(0, .02), biases zero, norms one."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
