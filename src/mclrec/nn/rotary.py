"""Rotary position embedding (Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Rotary"]

_BASE = 10_000.0
"""Of the paper: the slowest pair of features turns by about one over it from an item to the next."""


class Rotary(nn.Module):
    """Turns queries and keys by their places, so that a product of two knows how far apart they are.

    Features i and i + s / 2 of a head are a point in the plane, which is turned by ``10000^(-2 i / s)`` for each place.
    Nothing of it is learned.

    Args:
        size: s, features of a head, an even number.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size % 2:
            raise ValueError(f"heads of {size} features: rotary positions need an even number")
        self.pairs = size // 2

    def forward(self, vectors: Tensor, back: Tensor, farthest: int) -> Tensor:
        """Turn vectors.

        Args:
            vectors: (..., T, heads, s).
            back: (T,) places from each token to one that is not turned, by which all tokens of a history count.
            farthest: more than any of these.

        Returns:
            The same shape.
        """
        wide = torch.promote_types(vectors.dtype, torch.float32)
        rates = _BASE ** -(torch.arange(self.pairs, device=back.device).to(wide) / self.pairs)
        angles = torch.arange(farthest, device=back.device).to(wide)[:, None] * rates
        cos, sin = (wave.index_select(0, back).unsqueeze(1) for wave in (angles.cos(), angles.sin()))
        x, y = vectors.to(wide).chunk(2, -1)
        return torch.cat([x * cos + y * sin, y * cos - x * sin], -1).to(vectors.dtype)
