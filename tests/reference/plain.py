"""Reference SASRec and MCLRec, written without regard for speed: everything padded to n, one row at a time.

Built from torch's own modules under the names of our state dict, so that `load_state_dict` copies our parameters.
Nothing from `mclrec.nn`, `mclrec.losses` or `mclrec.augment` is used.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from tests.reference.plain_losses import info_nce, official_r, paper_r
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories
from mclrec.models.mclrec import MCLRecConfig
from mclrec.models.sequential import SequentialConfig

__all__ = ["Parts", "PlainMCLRec", "PlainSASRec", "rows_of"]

Parts = dict[str, tuple[float, Tensor]]
"""Weight and mean of each part of a loss."""


def rows_of(histories: Histories) -> list[list[int]]:
    """One list of items per history."""
    items, bounds = histories.items.tolist(), histories.offsets.tolist()
    return [items[start:stop] for start, stop in pairwise(bounds)]


class PlainBlock(nn.Module):
    """Post-norm transformer block on (B, n, d)."""

    def __init__(self, config: SequentialConfig) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        self.heads = config.heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.up = nn.Linear(hidden_size, config.inner_size)
        self.gelu = nn.GELU()
        self.down = nn.Linear(config.inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.attention_dropout = nn.Dropout(config.attention_dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """``seen`` (B, n, n): which keys each query sees."""
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)
        size = x.shape[-1] // self.heads
        mixed = []
        for head in range(self.heads):
            q, k, v = (part[..., head * size : (head + 1) * size] for part in (queries, keys, values))
            scores = (q @ k.transpose(1, 2) / math.sqrt(size)).masked_fill(~seen, -math.inf)
            mixed.append(self.attention_dropout(F.softmax(scores, dim=-1)) @ v)
        x = self.attention_norm(x + self.dropout(self.out(torch.cat(mixed, dim=-1))))
        out: Tensor = self.norm(x + self.dropout(self.down(self.gelu(self.up(x)))))
        return out


class PlainEncoder(nn.Module):
    """Causal transformer over left-aligned histories, padded with zeros to n at the end."""

    def __init__(self, config: SequentialConfig, num_items: int) -> None:
        super().__init__()
        self.max_length, self.newest = config.max_length, config.positions == "newest"
        self.items = nn.Embedding(num_items + 2, config.hidden_size, padding_idx=0)
        self.positions = nn.Embedding(config.max_length, config.hidden_size)
        self.positions.register_buffer("seen", torch.tensor(0))  # our module records trained positions there
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.layers))

    def forward(self, histories: list[list[int]]) -> Tensor:
        """(B, n, d) states; those beyond the end of a history are meaningless."""
        n = self.max_length
        items = torch.zeros(len(histories), n, dtype=torch.int64)
        places = torch.zeros(len(histories), n, dtype=torch.int64)
        seen = torch.zeros(len(histories), n, n, dtype=torch.bool)
        for row, history in enumerate(histories):
            for t, item in enumerate(history):
                items[row, t] = item
                places[row, t] = n - len(history) + t if self.newest else t
            for t in range(n):
                for s in range(t + 1):
                    seen[row, t, s] = s < len(history) and history[s] != 0
                if not seen[row, t].any():  # only hidden items so far: attends to itself
                    seen[row, t, t] = True
        x = self.dropout(self.norm(self.items(items) + self.positions(places)))
        for block in self.blocks:
            x = block(x, seen)
        states: Tensor = x
        return states

    def last(self, histories: list[list[int]]) -> Tensor:
        """(B, d) state of each history's newest item."""
        states = self(histories)
        return torch.stack([states[row, len(history) - 1] for row, history in enumerate(histories)])


class PlainSASRec(nn.Module):
    """An encoder and the recommendation loss, for either training unit."""

    def __init__(self, config: SequentialConfig, num_items: int) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        self.encoder = PlainEncoder(config, num_items)

    def loss(self, batch: Batch) -> Parts:
        """L_rec, one target at a time: eq. 3 as logits, or SASRec's eq. 6."""
        histories, table = rows_of(batch.histories), self.encoder.items.weight
        states, total = self.encoder(histories), table.new_zeros(())
        asked = [
            (row, t)
            for row, history in enumerate(histories)
            for t in range(len(history))
            if self.config.unit == "sequences" or t == len(history) - 1
        ]
        for number, (place, target) in enumerate(zip(asked, batch.targets.tolist(), strict=True)):
            scores = table @ states[place]
            if self.config.loss == "softmax":  # includes the padding id, excludes the mask id
                total = total - torch.log(F.softmax(scores[: self.num_items + 1], dim=0)[target])
            else:
                assert batch.negatives is not None
                negative = int(batch.negatives[number])
                total = total - torch.log(torch.sigmoid(scores[target]))
                total = total - torch.log(1 - torch.sigmoid(scores[negative]))
        return {"rec": (1.0, total / batch.count)}


class PlainAugmenter(nn.Module):
    """Eq. 5: d -> d/2 -> d/4 -> d, then L2 normalisation."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, hidden_size // 2),
            nn.GELU(),
            nn.Linear(hidden_size // 2, hidden_size // 4),
            nn.GELU(),
            nn.Linear(hidden_size // 4, hidden_size),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) normalised outputs, one row at a time."""
        return torch.stack([row / row.square().sum().sqrt() for row in self.layers(hidden)])


class PlainMCLRec(PlainSASRec):
    """L_0 and L_1 (eq. 14 and 15), with the weights of R in the official code."""

    config: MCLRecConfig

    def __init__(self, config: MCLRecConfig, num_items: int) -> None:
        super().__init__(config, num_items)
        self.augmenter1 = PlainAugmenter(config.hidden_size)
        self.augmenter2 = self.augmenter1 if config.shared_augmenter else PlainAugmenter(config.hidden_size)
        self.gamma = 0.1 * config.beta if config.gamma is None else config.gamma

    def encoder_loss(self, batch: Batch) -> Parts:
        """L_0."""
        # A row of the contrast weighs as much as one target, or as a whole history of targets.
        share = 1.0 if self.config.contrast_by == "history" else len(batch) / batch.count
        lambda_, beta, gamma = (share * one for one in (self.config.lambda_, self.config.beta, self.gamma))
        parts = self.loss(batch)
        if lambda_:
            h1, h2 = self._views(batch)
            parts["cl1"] = (lambda_, info_nce(h1, h2))
        return parts | (self._learned(batch, beta, gamma) if beta else {})

    def augmenter_loss(self, batch: Batch) -> Parts:
        """L_1, where L_cl2 has the weight 1 and R keeps its own relative to it."""
        return self._learned(batch, 1.0, self.gamma / self.config.beta)

    def _views(self, batch: Batch) -> list[Tensor]:
        return [self.encoder.last(rows_of(view)) for view in batch.views]

    def _learned(self, batch: Batch, beta: float, gamma: float) -> Parts:
        """L_cl2 (eq. 9) and R."""
        h1, h2 = self._views(batch)
        z1, z2 = self.augmenter1(h1), self.augmenter2(h2)
        parts: Parts = {"cl2": (beta, info_nce(z1, z2) + info_nce(h1, z2) + info_nce(h2, z1))}
        if self.config.regularizer == "paper" and gamma:
            parts["reg"] = (gamma, paper_r(z1, z2))
        elif self.config.regularizer == "official" and gamma:
            parts["reg"] = (gamma, official_r(z1, z2) + official_r(h1, z2) + official_r(h2, z1))
        return parts
