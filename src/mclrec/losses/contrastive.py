"""InfoNCE between views of the same sequences (paper, section 3.2, eq. 7-9).

MCLRec contrasts up to four pairs of its four views. `ViewPairs` computes each block of inner products once
for all of them, and for the regulariser beside them:

    pairs = ViewPairs.of((h1, h2, z1, z2), ((0, 3), (1, 2), (2, 3)))
    cl2 = info_nce_of(pairs).sum()  # eq. 9
    penalty = regularizer_official(pairs).sum()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ViewPairs", "info_nce", "info_nce_of"]


@dataclass(frozen=True, slots=True, eq=False)
class ViewPairs:
    """Inner products of P pairs of views; row ``i`` of every view comes from sequence ``i``.

    The positives of a pair (x1, x2) are (x1_i, x2_i). The negatives of x1_i and of x2_i are the other
    2(B - 1) rows of both views.

    Attributes:
        pairs: P index pairs into the views.
        positives: (P, B) inner products of the positive pairs.
        within: (views, B, B) inner products of each view's rows with each other.
        across: (P, B, B) inner products of the rows of x1 with those of x2. Here and in ``within`` the
            diagonal, which is no negative, holds the most negative finite number.
        mean_negatives: (P,) mean inner product of all 2B rows with their negatives; meaningless for B = 1.
    """

    pairs: Sequence[tuple[int, int]]
    positives: Tensor
    within: Tensor
    across: Tensor
    mean_negatives: Tensor

    @classmethod
    def of(
        cls, views: Sequence[Tensor], pairs: Sequence[tuple[int, int]], temperature: float = 1.0
    ) -> ViewPairs:
        """Inner products, in fp32 at least, autocast or not.

        Args:
            views: (B, d) each; every one of them in some pair.
            pairs: index pairs into ``views``.
            temperature: what inner products are divided by.
        """
        with torch.autocast(views[0].device.type, enabled=False):
            rows = torch.stack([view.to(torch.promote_types(view.dtype, torch.float32)) for view in views])
            rows = rows / temperature**0.5  # (views, B, d)
            first = torch.stack([rows[one] for one, _ in pairs])  # (P, B, d)
            second = torch.stack([rows[other] for _, other in pairs])
            batch = rows.shape[1]
            # Finite, so that a batch of one, which has no negatives, gets gradients of 0 and not NaN.
            hole = rows.new_full((batch,), torch.finfo(rows.dtype).min).diag()
            positives = (first * second).sum(-1)
            # The sum of all (2B)^2 inner products is the squared norm of the rows' sum.
            everything = (first.sum(1) + second.sum(1)).square().sum(-1)
            itself = (first.square() + second.square()).sum((1, 2))
            negatives = everything - itself - 2 * positives.sum(-1)
            return cls(
                pairs,
                positives,
                within=torch.baddbmm(hole, rows, rows.mT),
                across=torch.baddbmm(hole, first, second.mT),
                mean_negatives=negatives / max(4 * batch * (batch - 1), 1),
            )

    def reduce_negatives(
        self, reduce: Callable[[Tensor, int], Tensor], combine: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """(P, 2, B) one number from the negatives of each x1_i, and of each x2_i.

        Args:
            reduce: along a dimension of a block.
            combine: the results from the row's own view and from the other view.
        """
        own = reduce(self.within, -1)
        first = torch.stack([own[one] for one, _ in self.pairs])
        second = torch.stack([own[other] for _, other in self.pairs])
        return torch.stack(
            [combine(first, reduce(self.across, -1)), combine(second, reduce(self.across, -2))], dim=1
        )


def info_nce(x1: Tensor, x2: Tensor, temperature: float = 1.0) -> Tensor:
    """InfoNCE of one pair of views, s() the inner product (paper, eq. 8).

    Args:
        x1: (B, d).
        x2: (B, d); row ``i`` is the positive of ``x1``'s row ``i``.
        temperature: what s() is divided by.

    Returns:
        Scalar, see `info_nce_of`.
    """
    return info_nce_of(ViewPairs.of((x1, x2), ((0, 1),), temperature))[0]


def info_nce_of(pairs: ViewPairs) -> Tensor:
    """InfoNCE of several pairs of views (paper, eq. 8).

    Each of the 2B rows of a pair has one positive and 2(B - 1) negatives. Like the official code, takes the
    mean over the 2B rows: half of the paper's value, which adds the two rows of a positive pair.

    Returns:
        (P,) one loss a pair; 0, with gradients of 0, for B = 1.
    """
    log_sums = pairs.reduce_negatives(torch.logsumexp, torch.logaddexp)
    return -F.logsigmoid(pairs.positives.unsqueeze(1) - log_sums).mean((1, 2))
