"""Losses with sampled negatives, which compare the score of a target with those of drawn items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "binary_cross_entropy",
    "bpr",
    "bpr_max",
    "generalised_cross_entropy",
    "sampled_softmax",
    "top1_max",
]


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Sum of ``-log sigmoid(positive) - log(1 - sigmoid(negative))`` (SASRec, Kang and McAuley, 2018).

    Args:
        positive: (...) scores of the targets.
        negative: scores of the drawn negatives, of any shape: if a target has several, all count.

    Returns:
        Scalar: the sum over all scores; the caller divides by its number of targets.
    """
    return -(F.logsigmoid(positive).sum() + F.logsigmoid(-negative).sum())


def generalised_cross_entropy(positive: Tensor, negative: Tensor, rate: float, calibration: float) -> Tensor:
    """Sum of gBCE, ``-(log sigmoid(r_i)^beta + sum_j log(1 - sigmoid(r_j))) / (k + 1)``.

    Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling,
    RecSys 2023: ``beta = a (t (1 - 1 / a) + 1 / a)``. With few negatives each target counts for less than it does in
    binary cross-entropy, so that its probability is not overestimated; t = 0 is binary cross-entropy, t = 1 calibrated.

    Args:
        positive: (T,) scores r_i of the targets.
        negative: (T, k) scores r_j of items drawn for each.
        rate: a, the share of all negatives that is drawn, in (0, 1].
        calibration: t, in [0, 1].

    Returns:
        Scalar: the sum over rows; the caller divides by its number of targets.
    """
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    terms = beta * F.logsigmoid(positive) + F.logsigmoid(-negative).sum(1)
    return -terms.sum() / (negative.shape[1] + 1)


def sampled_softmax(positive: Tensor, negative: Tensor, log_counts: Tensor) -> Tensor:
    """Sum of ``-r_i + log(exp(r_i) + sum_j exp(r_j - log n_j))``, n_j the expected count of item j.

    The sum over drawn items that are not the target estimates the softmax's sum over all of them without bias (log-q
    correction, Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic
    Language Model, 2008). The target is always included, so its score is not corrected.

    Args:
        positive: (T,) scores r_i of the targets.
        negative: (T, N) scores r_j of the drawn items; -inf where a drawn item is the target.
        log_counts: (N,) logarithms of n_j, draws times probability.

    Returns:
        Scalar: the sum over rows; the caller divides by its number of targets.
    """
    others = (negative - log_counts).logsumexp(1)
    return F.softplus(others - positive).sum()


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


def bpr_max(positive: Tensor, negative: Tensor, penalty: float) -> Tensor:
    """Sum of ``-log sum_j s_j sigmoid(r_i - r_j) + penalty sum_j s_j r_j^2``, s the softmax of the negatives' scores.

    Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, CIKM 2018.

    Args:
        positive: (T,) scores r_i of the targets.
        negative: (T, N) scores r_j; -inf where an item is not a negative. A row without negatives adds nothing.
        penalty: weight of the penalty on the negatives' scores.

    Returns:
        Scalar: the sum over rows; the caller divides by its number of targets.
    """
    negative, alone = _with_one_negative(negative)
    log_weights = negative.log_softmax(1)
    present = log_weights > -torch.inf
    above = F.logsigmoid(positive.unsqueeze(1) - negative.masked_fill(~present, 0))
    terms = torch.logsumexp(log_weights + above, 1).masked_fill(alone, 0)
    return -terms.sum() + penalty * _weighted_squares(negative, log_weights)


def top1_max(positive: Tensor, negative: Tensor) -> Tensor:
    """Sum of ``sum_j s_j (sigmoid(r_j - r_i) + sigmoid(r_j^2))``, s the softmax of the negatives' scores.

    Hidasi and Karatzoglou, 2018; arguments and result as for `bpr_max`.
    """
    negative, alone = _with_one_negative(negative)
    weights = negative.softmax(1).masked_fill(alone.unsqueeze(1), 0)
    scores = negative.masked_fill(negative == -torch.inf, 0)
    terms = torch.sigmoid(scores - positive.unsqueeze(1)) + torch.sigmoid(scores.square())
    return (weights * terms).sum()


def _with_one_negative(negative: Tensor) -> tuple[Tensor, Tensor]:
    """Give each row at least one negative, as a softmax needs, and tell which rows (T,) had none.

    A row has none if every drawn item is the target.
    """
    alone = (negative == -torch.inf).all(1)
    return negative.masked_fill(alone.unsqueeze(1), 0), alone


def _weighted_squares(scores: Tensor, log_weights: Tensor) -> Tensor:
    weights = log_weights.exp()
    return (weights * scores.masked_fill(weights == 0, 0).square()).sum()
