"""InfoNCE and R as the paper defines them, one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["info_nce", "official_r", "paper_r"]


def info_nce(x1: Tensor, x2: Tensor, temperature: float = 1.0) -> Tensor:
    """Eq. 8, as the mean over 2B rows."""
    losses = []
    for positive, negatives in _scores_by_row(x1, x2):
        top = torch.exp(positive / temperature)
        losses.append(-torch.log(top / (top + torch.exp(negatives / temperature).sum())))
    return torch.stack(losses).mean()


def paper_r(z1: Tensor, z2: Tensor) -> Tensor:
    """Eq. 11 to 13: one o_min and one o_max for the batch."""
    scores, indices = z1 @ z2.T, range(len(z1))
    negatives = [scores[i, j] for i in indices for j in indices if i != j]
    return _r(scores.diagonal(), torch.stack(negatives) if negatives else scores.new_empty(0))


def official_r(x1: Tensor, x2: Tensor) -> Tensor:
    """Eq. 12 and 13 for each of the 2B rows on its own."""
    return torch.stack(
        [_r(positive[None], negatives) for positive, negatives in _scores_by_row(x1, x2)]
    ).mean()


def _scores_by_row(x1: Tensor, x2: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Scores of the positive and the 2(B - 1) negatives of each of the 2B rows: the sets of eq. 8."""
    rows, batch = torch.cat([x1, x2]), len(x1)
    found = []
    for place, row in enumerate(rows):
        others = [index for index in range(2 * batch) if index % batch != place % batch]
        found.append((row @ rows[(place + batch) % (2 * batch)], rows[others] @ row))
    return found


def _r(positives: Tensor, negatives: Tensor) -> Tensor:
    """The two sums of eq. 13 with the margins of eq. 12; 0 without negatives."""
    if not len(negatives):
        return 0 * positives.sum()
    ends = torch.stack([positives.min(), negatives.max()])
    low, high = ends.min(), ends.max()
    return (positives - low).clamp(min=0).mean() + (high - negatives).clamp(min=0).mean()
