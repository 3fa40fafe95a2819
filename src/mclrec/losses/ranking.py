"""Losses on pairs of scores: a target against items that were not chosen."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["binary_cross_entropy", "bpr"]


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Sum of ``-log sigmoid(positive) - log(1 - sigmoid(negative))`` (SASRec, Kang and McAuley, 2018, eq. 6).

    Args:
        positive: (...) scores of the targets.
        negative: scores of the drawn negatives, of any shape: several for a target all count.

    Returns:
        Scalar: the sum over all scores; the caller divides by its number of targets.
    """
    return -(F.logsigmoid(positive).sum() + F.logsigmoid(-negative).sum())


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Sum of ``-log sigmoid(positive - negative)`` (BPR, Rendle et al., 2009, section 4.1).

    Args:
        positive: (...) scores of the targets.
        negative: (...) scores of one negative for each target, or (..., N) of several.

    Returns:
        Scalar: the sum over all pairs; the caller divides by its number of targets.
    """
    if negative.dim() > positive.dim():
        positive = positive.unsqueeze(-1)
    return -F.logsigmoid(positive - negative).sum()
