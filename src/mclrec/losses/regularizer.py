"""Contrastive regularisation R, against collapsed augmenters (paper, section 3.3, eq. 11-13).

With o_min = min(min(sigma+), max(sigma-)) and o_max = max(min(sigma+), max(sigma-)), eq. 12, the cut-offs of
eq. 13 never cut: no positive lies below o_min and no negative above o_max. So

    R = mean(sigma+) - o_min + o_max - mean(sigma-)
      = mean(sigma+) - mean(sigma-) + |min(sigma+) - max(sigma-)|,

which is what both functions compute. Gradients pass through the minimum and the maximum, as they do in the
official code.
"""

from __future__ import annotations

from torch import Tensor

from mclrec.losses.contrastive import ViewPairs

__all__ = ["regularizer_official", "regularizer_paper"]


def regularizer_paper(pairs: ViewPairs) -> Tensor:
    """R as the paper defines it: one o_min and one o_max for the whole batch.

    sigma+ is the diagonal and sigma- the rest of the (B, B) inner products of one view with the other.
    The paper takes R of the pair (z1, z2) only.

    Returns:
        (P,) one value a pair; 0, with gradients of 0, for B = 1, where there is no negative.
    """
    if pairs.positives.shape[1] == 1:
        return 0 * pairs.positives.sum(1)
    margin = pairs.positives.amin(1) - pairs.highest_across
    return pairs.positives.mean(1) - pairs.mean_across + margin.abs()


def regularizer_official(pairs: ViewPairs) -> Tensor:
    """R as the official code computes it: o_min and o_max of eq. 12 for each row on its own.

    Row ``i`` of the 2B rows of a pair has one positive, its inner product with its partner, and 2(B - 1)
    negatives, its inner products with all other rows of both views. The positive terms are averaged over the
    2B rows, the negative terms over all 2B * 2(B - 1). The official code adds R of the pairs
    (h1, z2), (h2, z1) and (z1, z2), and weights the sum by .1.

    Returns:
        (P,) one value a pair; 0, with gradients of 0, for B = 1, where there is no negative.
    """
    if pairs.positives.shape[1] == 1:
        return 0 * pairs.positives.sum(1)
    margins = pairs.positives.unsqueeze(1) - pairs.highest  # (P, 2, B)
    return pairs.positives.mean(1) - pairs.mean_negatives + margins.abs().mean((1, 2))
