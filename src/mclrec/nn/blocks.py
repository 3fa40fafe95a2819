"""Blocks of a transformer: self-attention and feed-forward part, post-norm or pre-norm, and distances in attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.attention import attend, causal_attention, last_attention
from mclrec.nn.dropout import Dropout
from mclrec.nn.packing import Layout, distances_to_last, take

__all__ = ["Block", "Distances", "PreNormBlock"]


class Block(nn.Module):
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
        self.distances = None if farthest is None else Distances(heads, farthest)

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """(S, d) to (S, d), or to (B, d)."""
        return self._finish(*self._attend(x, plan, hidden, last_only))

    def padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Apply the block to padded tokens: (B, L, d), future (L, L), hidden (B, L) -> (B, L, d)."""
        return self._finish(x, self._attend_padded(x, future, hidden))

    def _attend(
        self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool
    ) -> tuple[Tensor, Tensor]:
        """Tokens whose states the block computes, and the output of attention for them: (S, d) or (B, d) each."""
        seen, distances = self._before(x), self.distances
        if not last_only:
            between = [] if distances is None else [distances(group.length) for group in plan.groups]
            attended = causal_attention(
                self.qkv(seen), plan, hidden, self.heads, self.attention_dropout, between
            )
            return x, attended
        newest = take(x, plan.last)  # (B, d)
        d = self.hidden_size
        queries = F.linear(self._before(newest), self.qkv.weight[:d], self.qkv.bias[:d])
        keys_values = F.linear(seen, self.qkv.weight[d:], self.qkv.bias[d:])  # (T, 2 d)
        to_last = None if distances is None else distances.to_last(plan)
        attended = last_attention(
            queries, keys_values, plan, hidden, self.heads, self.attention_dropout, to_last
        )
        return newest, attended

    def _attend_padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Output of attention on padded tokens."""
        q, k, v = self.qkv(self._before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        between = None if self.distances is None else self.distances(x.shape[1])
        return attend(q, k, v, future, hidden, self.attention_dropout, between)

    def _before(self, x: Tensor) -> Tensor:
        """Input of attention."""
        return x

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Output of the block from the output of attention, token by token."""
        return self._feed_forward(self.attention_norm(x + self.dropout(self.out(attended))))

    def _feed_forward(self, x: Tensor) -> Tensor:
        """Output of the block from what comes before its feed-forward part."""
        out: Tensor = self.norm(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return out


class PreNormBlock(Block):
    """Transformer block with LayerNorm before each part, so that the residual sum is not normalised."""

    def _before(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention_norm(x)
        return out

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.out(attended))
        out: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm(x)))))
        return out


class Distances(nn.Module):
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
        return self.weight.index_select(1, distances_to_last(plan))
