"""Learnable augmenters: from a view's hidden state to one more view (paper, section 3.1.2, eq. 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MLPAugmenter"]


class MLPAugmenter(nn.Module):
    """Three linear layers d -> d/2 -> d/4 -> d with GELU between; the output has length 1.

    The paper asks for a 3-layer MLP; widths, activation and normalisation are the official code's.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, width),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        return F.normalize(self.layers(hidden), dim=-1)
