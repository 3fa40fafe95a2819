"""Learnable augmenters: from a view's hidden state to one more view (paper, section 3.1.2, eq. 5)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AttentionAugmenter", "ConvolutionAugmenter", "MLPAugmenter"]


class MLPAugmenter(nn.Module):
    """Three linear layers d -> d/2 -> d/4 -> d with GELU between; the output has length 1.

    The paper asks for a 3-layer MLP; widths, activation and normalisation are the official code's.
    """

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
        """(B, d) -> (B, d)."""
        return F.normalize(self.layers(hidden), dim=-1)


class AttentionAugmenter(nn.Module):
    """Self-attention among the pieces of one vector, with a residual and a linear layer; the output has length 1.

    The official code has a variant by attention that the paper does not describe; pieces and residual are ours.

    Args:
        hidden_size: d.
        piece: features of a piece, a divisor of d; all of them if d is not a multiple.
    """

    def __init__(self, hidden_size: int, piece: int = 8) -> None:
        super().__init__()
        self.piece = piece if hidden_size % piece == 0 else hidden_size
        self.qkv = nn.Linear(self.piece, 3 * self.piece)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        pieces = hidden.unflatten(1, (-1, self.piece))  # (B, d / piece, piece)
        q, k, v = self.qkv(pieces).chunk(3, -1)
        weights = (q @ k.mT / math.sqrt(self.piece)).softmax(-1)
        return F.normalize(self.out((pieces + weights @ v).flatten(1)), dim=-1)


class ConvolutionAugmenter(nn.Module):
    """Two convolutions along the features of one vector with GELU between; the output has length 1.

    The official code has a variant by convolution that the paper does not describe; its sizes here are ours.

    Args:
        hidden_size: d, unused: filters do not depend on it.
        channels: between the two convolutions.
        kernel: taps, an odd number.
    """

    def __init__(self, hidden_size: int, channels: int = 8, kernel: int = 5) -> None:  # noqa: ARG002
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, kernel, padding=kernel // 2),
            nn.GELU(),
            nn.Conv1d(channels, 1, kernel, padding=kernel // 2),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        return F.normalize(self.layers(hidden.unsqueeze(1)).squeeze(1), dim=-1)
