"""Transformer over packed histories, causal or not; post-norm, as SASRec's successors use it (paper, section 2.2), or
pre-norm.

Histories are packed side by side, so that hardly any work goes into padding. When only the last hidden state of a
history is wanted, the last block computes queries and everything after them for that token alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.nn.blocks import Block
from mclrec.nn.encoders import Encoder
from mclrec.nn.frequency import Frequencies
from mclrec.nn.items import ItemEmbedding
from mclrec.nn.packing import Layout, last_of_padded, layout, take, with_padding
from mclrec.nn.trained_rows import TrainedPositions

__all__ = ["BlockEncoder", "TransformerEncoder"]

_DISTANCES: Mapping[str, Literal["learned", "rotary"]] = {"relative": "learned", "rotary": "rotary"}
"""The blocks' argument ``distances``, by the value of ``positions``."""


class BlockEncoder(Encoder):
    """Base of encoders that apply blocks to packed tokens, each of them an item at a position.

    Items with id 0 are hidden: no other token attends to them. A block takes (S, d) tokens, their layout, which of them
    are hidden (None for none) and whether only the last tokens are wanted; its `padded` takes (B, L, d) tokens, which
    of them come after each query (L, L) and which are hidden (B, L).

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d.
        dropout: rate after embedding, and in the blocks.
        positions: whether position ids count from the oldest kept item or back from the newest, which then
            always has the id n - 1; any other value for no position ids.
        causal: whether a token attends to none after it. It may be changed between two calls: no parameter depends on
            it.
    """

    blocks: nn.ModuleList
    drops_hidden: bool
    """Whether dropping hidden tokens, other than the last one of a history, leaves the results of blocks unchanged."""

    def __init__(
        self,
        num_items: int,
        max_length: int,
        hidden_size: int,
        dropout: float,
        *,
        positions: str,
        causal: bool,
    ) -> None:
        super().__init__(num_items, max_length, hidden_size, dropout)
        self.causal, self.positions_from = causal, positions
        with_ids = positions in ("oldest", "newest")
        self.positions = TrainedPositions(max_length, hidden_size) if with_ids else None

    @abstractmethod
    def _embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """Input of the first block, from item and position ids of the same shape."""

    def _leave(self, x: Tensor) -> Tensor:
        """Hidden states from the output of the last block."""
        return x

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Hidden states of packed histories; implements `Encoder.encode`."""
        last_only = outputs == "last"
        positions = to_device(self._positions(offsets), items.device)
        # Only on the host is the number of hidden tokens known without waiting.
        if last_only and self.drops_hidden and items.device.type == "cpu":
            items, positions, offsets = _without_hidden(items, positions, offsets)
        plan = layout(offsets, items.device, self.max_length, causal=self.causal)
        inside = items.index_select(0, plan.order)
        x = self._embed(inside, positions.index_select(0, plan.order))
        hidden = inside == 0
        # Checking whether any token is hidden would make the host wait for another device.
        hidden_keys = hidden if hidden.device.type != "cpu" or bool(hidden.any()) else None
        x = self._through_blocks(x, plan, hidden_keys, last_only=last_only)
        return x if last_only else take(x, plan.inverse)  # (B, d) or (T, d)

    def encode_padding(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Hidden states of all places of padded histories; implements `Encoder.encode_padding`.

        As in the code of S3-Rec and its successors, the scores of all keys that a query must not see are lowered by the
        same number. If no other key is left, as for padding before a history, that changes nothing, and the query sees
        the whole history. A filter beside attention reads padding as it reads items.
        """
        positions = to_device(self._positions(offsets), items.device)
        plan = layout(offsets, items.device, self.max_length, causal=False)
        inside = items.index_select(0, plan.order)
        x = self._embed(inside, positions.index_select(0, plan.order))
        plan = with_padding(plan, inside == 0)
        return take(self._through_blocks(x, plan, None, last_only=False), plan.inverse)

    def _through_blocks(self, x: Tensor, plan: Layout, hidden: Tensor | None, *, last_only: bool) -> Tensor:
        """Hidden states (S, d), or (B, d), of embedded tokens in the layout's order."""
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, plan, hidden, last_only and number == len(self.blocks))
        return self._leave(x)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states of padded histories; implements `Encoder.forward`."""
        places = torch.arange(items.shape[1], device=items.device)
        positions = places
        if self.positions_from == "newest":
            positions = places + self.max_length - lengths[:, None]
        # Tokens after the end are never seen, but need a position.
        x = self._embed(items, positions.clamp(max=self.max_length - 1).expand_as(items))
        hidden = items == 0
        future = places > places[:, None] if self.causal else torch.zeros_like(places > places[:, None])
        for block in cast("Iterable[Block]", self.blocks):
            x = block.padded(x, future, hidden)
        return self._leave(last_of_padded(x, lengths))

    def mark(self, length: int) -> None:
        """Mark the positions of histories of ``length`` as trained; distances are meaningful without training."""
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


class TransformerEncoder(BlockEncoder):
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
            always has the id n - 1; or no position ids, but attention that depends on the distance between items:
            through a learned bias (``relative``, see `Distances`) or rotated queries and keys (``rotary``, see
            `Rotary`).
        causal: whether a token attends to none after it. It may be changed between two calls: no parameter depends on
            it.
        norm: where LayerNorm is applied: after each residual sum (``post``), or before each part of a block and after
            the last one (``pre``; Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020).
        feed_forward: ``gelu``, or ``swiglu`` with a gate, which has three maps of ``inner_size`` instead of two.
        frequencies: settings of a frequency filter beside attention in each block; None for no filter.
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
        positions: Literal["oldest", "newest", "relative", "rotary"] = "oldest",
        causal: bool = True,
        norm: Literal["post", "pre"] = "post",
        feed_forward: Literal["gelu", "swiglu"] = "gelu",
        frequencies: Frequencies | None = None,
    ) -> None:
        super().__init__(num_items, max_length, hidden_size, dropout, positions=positions, causal=causal)
        distances = _DISTANCES.get(positions)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        # Distances count hidden tokens too, so none may be dropped where distances matter.
        self.drops_hidden = distances is None and frequencies is None
        self.blocks = nn.ModuleList(
            Block(
                hidden_size=hidden_size,
                heads=heads,
                inner_size=inner_size,
                dropout=dropout,
                attention_dropout=attention_dropout,
                max_length=max_length,
                norm=norm,
                distances=distances,
                feed_forward=feed_forward,
                frequencies=frequencies,
            )
            for _ in range(layers)
        )
        self.last_norm = nn.Identity() if norm == "post" else nn.LayerNorm(hidden_size, eps=1e-12)
        self.apply(_initialise)

    def _embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """Embed items and positions."""
        vectors = self.items(items)
        if self.positions is not None:
            vectors = vectors + self.positions(positions)
        out: Tensor = self.dropout(self.norm(vectors))
        return out

    def _leave(self, x: Tensor) -> Tensor:
        out: Tensor = self.last_norm(x)
        return out


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
    """Initialise weights with N(0, .02) and biases with 0; norms start at 1."""
    if isinstance(module, ItemEmbedding):
        module.draw(0.02)
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
