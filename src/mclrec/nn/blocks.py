"""Transformer blocks: self-attention, optionally with a parallel frequency filter, and a feed-forward part."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.attention import attend, causal_attention, last_attention
from mclrec.nn.dropout import Dropout
from mclrec.nn.frequency import Frequencies, FrequencyFilter
from mclrec.nn.packing import Layout, distances_to_last, take
from mclrec.nn.rotary import Rotary

__all__ = ["Block", "Distances"]


class Block(nn.Module):
    """Transformer block: self-attention and feed-forward part, each with dropout, residual and LayerNorm.

    A filter beside attention is a separate part, with its own dropout, residual and LayerNorm; the outputs of the two
    are added with fixed weights. With post-norm, this is the block of BSARec.

    Args:
        hidden_size: d.
        heads: attention heads.
        inner_size: size inside the feed-forward part.
        dropout: rate after each part.
        attention_dropout: rate on attention weights.
        max_length: n, the longest history.
        norm: whether LayerNorm is applied to each residual sum (``post``) or to the input of each part (``pre``).
        distances: how attention depends on the distance between two tokens: through learned numbers added to the
            scores (`Distances`), or through rotated queries and keys (`Rotary`); None for no dependence.
        feed_forward: the feed-forward part: two linear maps with GELU between, or with a gate (Shazeer, GLU Variants
            Improve Transformer, 2020).
        frequencies: settings of the filter; None for no filter.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        heads: int,
        inner_size: int,
        dropout: float,
        attention_dropout: float,
        max_length: int,
        norm: Literal["post", "pre"] = "post",
        distances: Literal["learned", "rotary"] | None = None,
        feed_forward: Literal["gelu", "swiglu"] = "gelu",
        frequencies: Frequencies | None = None,
    ) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of {heads} heads")
        self.hidden_size, self.heads, self.pre_norm = hidden_size, heads, norm == "pre"
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.gated = feed_forward == "swiglu"
        self.up = nn.Linear(hidden_size, 2 * inner_size if self.gated else inner_size)
        self.down = nn.Linear(inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.attention_dropout = Dropout(attention_dropout)
        self.dropout = Dropout(dropout)
        self.distances = Distances(heads, max_length) if distances == "learned" else None
        self.rotary = Rotary(hidden_size // heads) if distances == "rotary" else None
        self.filter: FrequencyFilter | None = None
        if frequencies is not None:
            self.alpha = frequencies.alpha
            self.filter = FrequencyFilter(hidden_size, max_length, frequencies.kept, frequencies.causal)
            self.filter_norm = nn.LayerNorm(hidden_size, eps=1e-12)

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """Apply the block to packed tokens: (S, d) -> (S, d), or (B, d) of the last tokens."""
        filtered = None
        if self.filter is not None:
            filtered = self.filter(self._before(x, self.filter_norm), plan, hidden, last_only)
        return self._finish(*self._attend(x, plan, hidden, last_only), filtered)

    def padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Apply the block to padded tokens: (B, L, d), future (L, L), hidden (B, L) -> (B, L, d)."""
        filtered = None
        if self.filter is not None:
            filtered = self.filter.padded(self._before(x, self.filter_norm), future, hidden)
        return self._finish(x, self._attend_padded(x, future, hidden), filtered)

    def _attend(
        self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool
    ) -> tuple[Tensor, Tensor]:
        """Tokens whose states the block computes, and the output of attention for them: (S, d) or (B, d) each."""
        seen, distances = self._before(x, self.attention_norm), self.distances
        if not last_only:
            between = [] if distances is None else [distances(group.length) for group in plan.groups]
            qkv = self._rotated(self.qkv(seen), 2, plan)
            attended = causal_attention(qkv, plan, hidden, self.heads, self.attention_dropout, between)
            return x, attended
        newest = take(x, plan.last)  # (B, d)
        d, asking = self.hidden_size, self._before(newest, self.attention_norm)
        queries = F.linear(
            asking, self.qkv.weight[:d], self.qkv.bias[:d]
        )  # of last tokens, which are not rotated
        keys_values = F.linear(seen, self.qkv.weight[d:], self.qkv.bias[d:])  # (S, 2 d)
        keys_values = self._rotated(keys_values, 1, plan)
        to_last = None if distances is None else distances.to_last(plan)
        attended = last_attention(
            queries, keys_values, plan, hidden, self.heads, self.attention_dropout, to_last
        )
        return newest, attended

    def _attend_padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Output of attention on padded tokens."""
        seen = self._before(x, self.attention_norm)
        length, qkv = (
            x.shape[1],
            self.qkv(seen).unflatten(-1, (3 * self.heads, -1)),
        )  # (B, L, 3 heads, d / heads)
        if self.rotary is not None:
            back = torch.arange(length - 1, -1, -1, device=x.device)
            turned = self.rotary(qkv[:, :, : 2 * self.heads], back, length)
            qkv = torch.cat([turned, qkv[:, :, 2 * self.heads :]], 2)
        q, k, v = qkv.unflatten(2, (3, self.heads)).permute(2, 0, 3, 1, 4)
        between = None if self.distances is None else self.distances(length)
        return attend(q, k, v, future, hidden, self.attention_dropout, between)

    def _rotated(self, parts: Tensor, count: int, plan: Layout) -> Tensor:
        """Rotate the first ``count`` of queries, keys and values, which stand side by side in ``parts`` (S, ...)."""
        if self.rotary is None:
            return parts
        d, back = self.hidden_size * count, distances_to_last(plan).index_select(0, plan.order)
        vectors = parts[:, :d].unflatten(1, (count * self.heads, -1))
        return torch.cat([self.rotary(vectors, back, plan.max_length).flatten(1), parts[:, d:]], 1)

    def _finish(self, x: Tensor, attended: Tensor, filtered: Tensor | None) -> Tensor:
        """Output of the block from the outputs of attention and filter, token by token."""
        # The filter's dropout is drawn first: published numbers depend on the order.
        by_filter = None if filtered is None else self._after(x, filtered, self.filter_norm)
        x = self._after(x, self.out(attended), self.attention_norm)
        if by_filter is not None:
            x = self.alpha * by_filter + (1 - self.alpha) * x
        return self._after(x, self.down(self._inside(self._before(x, self.norm))), self.norm)

    def _inside(self, x: Tensor) -> Tensor:
        """Activations inside the feed-forward part."""
        if not self.gated:
            return F.gelu(self.up(x))
        gate, value = self.up(x).chunk(2, -1)
        gated: Tensor = F.silu(gate) * value
        return gated

    def _before(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Input of a part of the block, whose LayerNorm is ``norm``."""
        return norm(x) if self.pre_norm else x

    def _after(self, x: Tensor, out: Tensor, norm: nn.Module) -> Tensor:
        """Output of a part of the block after dropout and residual, and after LayerNorm with post-norm."""
        total = x + self.dropout(out)
        return total if self.pre_norm else norm(total)  # type: ignore[no-any-return]


class Distances(nn.Module):
    """Relative position bias: a learned number per head and distance between key and query, added to the score.

    The biases start as the lines of ALiBi (Press et al., ICLR 2022), with slope -2^-h for head h, steeper than in that
    paper because histories are short; then each distance is learned separately, as in T5 (Raffel et al., JMLR 2020).

    Args:
        heads: number of heads.
        farthest: n; two tokens of a history are always less than n apart.
    """

    def __init__(self, heads: int, farthest: int) -> None:
        super().__init__()
        # Computed in Python: when only the size is needed (`models.sizes`), torch's powers would import its compiler.
        lines = [[-(distance * 0.5**head) for distance in range(farthest)] for head in range(1, heads + 1)]
        self.weight = nn.Parameter(torch.tensor(lines))  # (heads, n)

    def forward(self, length: int) -> Tensor:
        """Biases (heads, L, L) between the places of a block, which may belong to different histories."""
        places = torch.arange(length, device=self.weight.device)
        apart = (places - places[:, None]).abs().clamp(max=self.weight.shape[1] - 1)
        between: Tensor = self.weight.index_select(1, apart.flatten())
        return between.view(-1, length, length)

    def to_last(self, plan: Layout) -> Tensor:
        """Biases (heads, T) between each token of the packed input and the last one of its history."""
        return self.weight.index_select(1, distances_to_last(plan))
