"""Layers of which each training pass leaves some out (SRMA, Liu et al., 2022)."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.dropout import Dropout, Seeded

__all__ = ["DroppedLayers"]


class DroppedLayers(Seeded):
    """Layers one after the other; in training, ``dropped`` of them, drawn for the whole batch, are left out.

    Args:
        layers: how many there are.
        dropped: how many are left out; never more than there are.
        hidden_size: d.
        dropout: rate inside each layer.
    """

    for_batch = True

    def __init__(self, layers: int, dropped: int, *, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropped = min(dropped, layers)
        self.layers = nn.ModuleList(_Layer(hidden_size, dropout) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        kept = np.arange(len(self.layers))
        if self.training and self.dropped:
            rng = self.generator or np.random.default_rng()
            kept = np.sort(rng.permutation(len(kept))[self.dropped :])
        for number in kept.tolist():
            x = self.layers[number](x)
        return x


class _Layer(nn.Module):
    """Linear, GELU, dropout, residual, LayerNorm."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x + self.dropout(F.gelu(self.linear(x))))
        return out
