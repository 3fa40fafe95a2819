"""Rotary position embedding (Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Rotary"]

_BASE = 10_000.0
"""Base of the rates, from the paper: the slowest pair of features rotates by about 1 / base from item to item."""


class Rotary(nn.Module):
    """Rotates queries and keys according to their places, so that their inner products depend on the distance.

    Features i and i + s / 2 of a head are a point in the plane, which is rotated by ``10000^(-2 i / s)`` per place.
    There are no parameters.

    Args:
        size: s, features of a head, an even number.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size % 2:
            raise ValueError(f"heads of {size} features: rotary positions need an even number")
        self.pairs = size // 2

    def forward(self, vectors: Tensor, back: Tensor, farthest: int) -> Tensor:
        """Rotate vectors.

        Args:
            vectors: (..., T, heads, s).
            back: (T,) distance of each token from one fixed token of its history, which is not rotated.
            farthest: a number greater than all of these distances.

        Returns:
            The same shape.
        """
        wide = torch.promote_types(vectors.dtype, torch.float32)
        rates = _BASE ** -(torch.arange(self.pairs, device=back.device).to(wide) / self.pairs)
        angles = torch.arange(farthest, device=back.device).to(wide)[:, None] * rates
        cos, sin = (wave.index_select(0, back).unsqueeze(1) for wave in (angles.cos(), angles.sin()))
        x, y = vectors.to(wide).chunk(2, -1)
        return torch.cat([x * cos + y * sin, y * cos - x * sin], -1).to(vectors.dtype)
