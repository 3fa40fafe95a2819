"""Transformer over packed histories, causal or not; post-norm, as SASRec's successors use it (paper, section 2.2), or
pre-norm.

Histories stand side by side, so that hardly any work goes into padding. When only the last hidden state of a history
is wanted, the last block computes queries and everything after them for that token alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.nn.attention import attend, causal_attention, last_attention
from mclrec.nn.dropout import Dropout
from mclrec.nn.encoders import Encoder
from mclrec.nn.items import ItemEmbedding
from mclrec.nn.packing import Layout, last_of_padded, layout, take
from mclrec.nn.trained_rows import TrainedPositions

__all__ = ["TransformerEncoder"]


class TransformerEncoder(Encoder):
    """Transformer encoder: item and position embedding, LayerNorm, dropout, then blocks.

    Items with id 0 are hidden: no other token attends to them.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d.
        layers: number of blocks.
        heads: attention heads.
        inner_size: size inside the feed-forward part.
        dropout: rate after embedding, attention output and feed-forward part.
        attention_dropout: rate on attention weights.
        positions: whether position ids count from the oldest kept item or back from the newest, which then
            always has the id n - 1; or ``relative``: no position ids, attention knows how far apart two items are, see
            `_Distances`.
        causal: whether a token attends to none after it. It may be changed between two calls: no parameter depends on
            it.
        norm: where LayerNorm stands: behind each residual sum (``post``), or before each part of a block and behind the
            last one (``pre``; Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020).
    """

    def __init__(
        self,
        *,
        num_items: int,
        max_length: int = 50,
        hidden_size: int = 64,
        layers: int = 2,
        heads: int = 2,
        inner_size: int = 256,
        dropout: float = 0.5,
        attention_dropout: float = 0.5,
        positions: Literal["oldest", "newest", "relative"] = "oldest",
        causal: bool = True,
        norm: Literal["post", "pre"] = "post",
    ) -> None:
        super().__init__(num_items, max_length, hidden_size, dropout)
        self.causal = causal
        self.positions_from = positions
        relative = positions == "relative"
        self.positions = None if relative else TrainedPositions(max_length, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        block = _Block if norm == "post" else _PreNormBlock
        self.blocks = nn.ModuleList(
            block(
                hidden_size, heads, inner_size, dropout, attention_dropout, max_length if relative else None
            )
            for _ in range(layers)
        )
        self.last_norm = nn.Identity() if norm == "post" else nn.LayerNorm(hidden_size, eps=1e-12)
        self.apply(_initialise)

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Hidden states of packed histories; implements `Encoder.encode`."""
        last_only = outputs == "last"
        positions = to_device(self._positions(offsets), items.device)
        # Distances count hidden items too. How many are hidden is known on the host alone without waiting.
        if last_only and self.positions is not None and items.device.type == "cpu":
            items, positions, offsets = _without_hidden(items, positions, offsets)
        plan = layout(offsets, items.device, self.max_length, causal=self.causal)
        inside = items.index_select(0, plan.order)
        x = self._embed(inside, positions.index_select(0, plan.order))
        hidden = inside == 0
        # To look whether there is one, the host would have to wait for another device.
        hidden_keys = hidden if hidden.device.type != "cpu" or bool(hidden.any()) else None
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, plan, hidden_keys, last_only and number == len(self.blocks))
        x = self.last_norm(x)
        return x if last_only else take(x, plan.inverse)  # (B, d) or (T, d)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states of padded histories; implements `Encoder.forward`."""
        places = torch.arange(items.shape[1], device=items.device)
        positions = places
        if self.positions_from == "newest":
            positions = places + self.max_length - lengths[:, None]
        # What lies after the end is never seen, but needs a position.
        x = self._embed(items, positions.clamp(max=self.max_length - 1).expand_as(items))
        hidden = items == 0
        future = places > places[:, None] if self.causal else torch.zeros_like(places > places[:, None])
        for block in cast("Iterable[_Block]", self.blocks):
            x = block.padded(x, future, hidden)
        return cast("Tensor", self.last_norm(last_of_padded(x, lengths)))

    def mark(self, length: int) -> None:
        """Take positions in histories of ``length`` for trained; distances have a meaning from the start."""
        if self.positions is not None:
            self.positions.mark(length)

    @property
    def usable(self) -> int:
        """The longest history whose positions are all trained; n before any training."""
        return self.max_length if self.positions is None else self.positions.usable

    def _positions(self, offsets: Tensor) -> Tensor:
        """(T,) position ids of packed tokens, on the host."""
        bounds = offsets.numpy()
        starts = bounds[:-1] if self.positions_from == "oldest" else bounds[1:] - self.max_length
        return torch.from_numpy(np.arange(bounds[-1]) - np.repeat(starts, np.diff(bounds)))

    def _embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """Embed items and positions."""
        vectors = self.items(items)
        if self.positions is not None:
            vectors = vectors + self.positions(positions)
        out: Tensor = self.dropout(self.norm(vectors))
        return out


class _Block(nn.Module):
    """Transformer block: self-attention and feed-forward part, each followed by dropout, residual and LayerNorm."""

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        inner_size: int,
        dropout: float,
        attention_dropout: float,
        farthest: int | None,
    ) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of {heads} heads")
        self.hidden_size, self.heads = hidden_size, heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.up = nn.Linear(hidden_size, inner_size)
        self.down = nn.Linear(inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.attention_dropout = Dropout(attention_dropout)
        self.dropout = Dropout(dropout)
        self.distances = None if farthest is None else _Distances(heads, farthest)

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """(S, d) to (S, d), or to (B, d)."""
        seen, distances = self._before(x), self.distances
        if not last_only:
            between = [] if distances is None else [distances(group.length) for group in plan.groups]
            attended = causal_attention(
                self.qkv(seen), plan, hidden, self.heads, self.attention_dropout, between
            )
            return self._finish(x, attended)
        newest = take(x, plan.last)  # (B, d)
        d = self.hidden_size
        queries = F.linear(self._before(newest), self.qkv.weight[:d], self.qkv.bias[:d])
        keys_values = F.linear(seen, self.qkv.weight[d:], self.qkv.bias[d:])  # (T, 2 d)
        to_last = None if distances is None else distances.to_last(plan)
        attended = last_attention(
            queries, keys_values, plan, hidden, self.heads, self.attention_dropout, to_last
        )
        return self._finish(newest, attended)

    def padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Apply the block to padded tokens: (B, L, d), future (L, L), hidden (B, L) -> (B, L, d)."""
        q, k, v = self.qkv(self._before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        between = None if self.distances is None else self.distances(x.shape[1])
        return self._finish(x, attend(q, k, v, future, hidden, self.attention_dropout, between))

    def _before(self, x: Tensor) -> Tensor:
        """Input of attention."""
        return x

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Output of the block from the output of attention, token by token."""
        x = self.attention_norm(x + self.dropout(self.out(attended)))
        out: Tensor = self.norm(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return out


class _PreNormBlock(_Block):
    """Transformer block with LayerNorm before each part, so that the residual sum is not normalised."""

    def _before(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention_norm(x)
        return out

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.out(attended))
        out: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm(x)))))
        return out


class _Distances(nn.Module):
    """Relative position bias: added to the score of a key by its distance from the query, for each head.

    They start as the lines of ALiBi (Press et al., ICLR 2022), head h with the slope -2^-h, steeper than there because
    histories are short; then each distance is learned by itself, as in T5 (Raffel et al., JMLR 2020).

    Args:
        heads: number of heads.
        farthest: n, no two tokens of a history are as far apart.
    """

    def __init__(self, heads: int, farthest: int) -> None:
        super().__init__()
        # In Python: where only the size is asked for (`models.sizes`), torch's powers import its compiler.
        lines = [[-(distance * 0.5**head) for distance in range(farthest)] for head in range(1, heads + 1)]
        self.weight = nn.Parameter(torch.tensor(lines))  # (heads, n)

    def forward(self, length: int) -> Tensor:
        """Biases (heads, L, L) between the places of a block, some of which belong to different histories."""
        places = torch.arange(length, device=self.weight.device)
        apart = (places - places[:, None]).abs().clamp(max=self.weight.shape[1] - 1)
        between: Tensor = self.weight.index_select(1, apart.flatten())
        return between.view(-1, length, length)

    def to_last(self, plan: Layout) -> Tensor:
        """Biases (heads, T) between each token of the packed input and the last one of its history."""
        tokens, lengths = len(plan.inverse), plan.offsets.diff()
        last = (plan.offsets[1:] - 1).repeat_interleave(lengths, output_size=tokens)
        return self.weight.index_select(1, last - torch.arange(tokens, device=last.device))


def _without_hidden(items: Tensor, positions: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Drop hidden tokens, except the last one of a history: no token attends to them and their states are not used.

    All tensors are on the host.
    """
    kept = items != 0
    kept[offsets[1:] - 1] = True
    if bool(kept.all()):
        return items, positions, offsets
    counts = torch.zeros_like(offsets)
    counts[1:] = kept.cumsum(0)[offsets[1:] - 1]
    return items[kept], positions[kept], counts


def _initialise(module: nn.Module) -> None:
    """Initialise weights by N(0, .02), biases by 0, norms by 1."""
    if isinstance(module, ItemEmbedding):
        module.draw(0.02)
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
