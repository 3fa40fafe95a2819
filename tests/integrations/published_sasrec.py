"""A SASRec with the parameter names that RecBole publishes: padded, post-norm, one history at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class _Attention(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.dense = (nn.Linear(size, size) for _ in range(4))
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)


class _FeedForward(nn.Module):
    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.dense_1, self.dense_2 = nn.Linear(size, inner), nn.Linear(inner, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)


class _Layer(nn.Module):
    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.multi_head_attention, self.feed_forward = _Attention(size), _FeedForward(size, inner)


class _Layers(nn.Module):
    def __init__(self, layers: int, size: int, inner: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(size, inner) for _ in range(layers))


class PublishedSASRec(nn.Module):
    """Computes scores of all items after one history, directly from the definitions."""

    def __init__(
        self,
        num_items: int,
        size: int = 8,
        heads: int = 2,
        layers: int = 2,
        inner: int = 12,
        longest: int = 6,
    ) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(num_items + 1, size, padding_idx=0)
        self.position_embedding = nn.Embedding(longest, size)
        self.trm_encoder = _Layers(layers, size, inner)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)
        self.heads = heads
        for weights in self.parameters():
            nn.init.normal_(weights, std=0.3)

    @torch.no_grad()
    def scores(self, history: list[int]) -> Tensor:
        """(V + 1,) scores after a history of item rows, of which only the newest are read."""
        longest = self.position_embedding.num_embeddings
        known = history[-longest:]
        padded = torch.tensor(known + [0] * (longest - len(known)))
        x = self.LayerNorm(self.item_embedding(padded) + self.position_embedding.weight)
        hidden = torch.triu(torch.ones(longest, longest, dtype=torch.bool), diagonal=1) | (padded == 0)
        for layer in self.trm_encoder.layer:
            x = self._layer(layer, x, hidden)
        out: Tensor = self.item_embedding.weight @ x[len(known) - 1]
        return out

    def _layer(self, layer: Any, x: Tensor, hidden: Tensor) -> Tensor:
        attention, feed = layer.multi_head_attention, layer.feed_forward
        width = x.shape[1] // self.heads
        parts = []
        for head in range(self.heads):
            here = slice(head * width, (head + 1) * width)
            query, key, value = (
                part(x)[:, here] for part in (attention.query, attention.key, attention.value)
            )
            weights = (query @ key.T / math.sqrt(width)).masked_fill(hidden, -10000.0).softmax(-1)
            parts.append(weights @ value)
        x = attention.LayerNorm(attention.dense(torch.cat(parts, dim=1)) + x)
        inner = feed.dense_1(x)
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        out: Tensor = feed.LayerNorm(feed.dense_2(inner) + x)
        return out
