"""InfoNCE between views of the same sequences, and contrastive regularisation (paper, sections 3.2 and 3.3).

MCLRec contrasts up to four pairs of its four views. `ViewPairs` computes each block of inner products once
for all pairs and for the regulariser:

    pairs = ViewPairs.of((h1, h2, z1, z2), ((0, 3), (1, 2), (2, 3)))
    cl2 = info_nce_of(pairs).sum()  # eq. 9
    penalty = regularizer_official(pairs).sum()

Contrastive regularisation R, against collapsed augmenters (paper, section 3.3, eq. 11-13).

With o_min = min(min(sigma+), max(sigma-)) and o_max = max(min(sigma+), max(sigma-)), eq. 12, the cut-offs of
eq. 13 never cut: no positive lies below o_min and no negative above o_max. So

    R = mean(sigma+) - o_min + o_max - mean(sigma-)
      = mean(sigma+) - mean(sigma-) + |min(sigma+) - max(sigma-)|,

which is what both regularizers compute. Gradients pass through the minimum and the maximum, as they do in the
official code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["ViewPairs", "info_nce", "info_nce_of", "regularizer_official", "regularizer_paper"]


@dataclass(frozen=True, slots=True, eq=False)
class ViewPairs:
    """Statistics of the inner products of P pairs of views; row ``i`` of every view comes from sequence ``i``.

    The positives of a pair (x1, x2) are (x1_i, x2_i). The negatives of x1_i and of x2_i are the other
    2(B - 1) rows of both views. For B = 1 there are no negatives, and their statistics are meaningless.

    Attributes:
        positives: (P, B) inner products of the positive pairs.
        log_sums: (P, 2, B) log-sum-exp of the negatives of each x1_i, and of each x2_i.
        highest: (P, 2, B) maximum of the same negatives.
        mean_negatives: (P,) mean inner product of all 2B rows with their negatives.
        highest_across: (P,) the highest inner product of some x1_i with x2_j, j != i.
        mean_across: (P,) the mean of these inner products.
    """

    positives: Tensor
    log_sums: Tensor
    highest: Tensor
    mean_negatives: Tensor
    highest_across: Tensor
    mean_across: Tensor

    @classmethod
    def of(
        cls, views: Sequence[Tensor], pairs: Sequence[tuple[int, int]], temperature: float = 1.0
    ) -> ViewPairs:
        """Compute the statistics, in fp32 at least, even under autocast.

        Args:
            views: (B, d) each; every view belongs to some pair.
            pairs: index pairs into ``views``.
            temperature: divisor of the inner products.
        """
        return cls.of_parts([torch.stack(list(views))], pairs, temperature)

    @classmethod
    def of_parts(
        cls, parts: Sequence[Tensor], pairs: Sequence[tuple[int, int]], temperature: float = 1.0
    ) -> ViewPairs:
        """Compute the statistics of views whose later columns are mostly zero, without multiplying the zeros.

        Args:
            parts: (views, B_s, d_s) each: some columns of the first B_s rows of all views; the other rows are zero in
                these columns. The first part has all B rows, and no part has more rows than the one before.
            pairs: index pairs into the views.
            temperature: divisor of the inner products.
        """
        first = parts[0]
        with torch.autocast(first.device.type, enabled=False):
            wide = torch.promote_types(first.dtype, torch.float32)
            rows = [part.to(wide) / temperature**0.5 for part in parts]
            sides = tuple(zip(*pairs, strict=True))
            one, other = (_index(side, first.device) for side in sides)
            positives = _positives(rows, one, other)
            log_sums, highest = _reduce_negatives(rows, *sides)
            own, across = slice(len(first)), slice(len(first), None)
            mean_negatives, mean_across = _means(rows, one, other, positives)
            return cls(
                positives,
                log_sums=torch.logaddexp(
                    torch.stack([log_sums[own].index_select(0, side) for side in (one, other)], 1),
                    _sides(log_sums[across]),
                ),
                highest=torch.maximum(
                    torch.stack([highest[own].index_select(0, side) for side in (one, other)], 1),
                    _sides(highest[across]),
                ),
                mean_negatives=mean_negatives,
                highest_across=_sides(highest[across])[:, 0].amax(1),
                mean_across=mean_across,
            )


def info_nce(x1: Tensor, x2: Tensor, temperature: float = 1.0) -> Tensor:
    """InfoNCE of one pair of views, with the inner product as s() (paper, eq. 8).

    Args:
        x1: (B, d).
        x2: (B, d); row ``i`` is the positive of ``x1``'s row ``i``.
        temperature: divisor of s().

    Returns:
        Scalar, see `info_nce_of`.
    """
    return info_nce_of(ViewPairs.of((x1, x2), ((0, 1),), temperature))[0]


def info_nce_of(pairs: ViewPairs) -> Tensor:
    """InfoNCE of several pairs of views (paper, eq. 8).

    Each of the 2B rows of a pair has one positive and 2(B - 1) negatives. As in the official code, the result is
    the mean over the 2B rows: half of the paper's value, which adds up the two rows of a positive pair.

    Returns:
        (P,) one loss per pair; 0, with gradients of 0, for B = 1.
    """
    return -F.logsigmoid(pairs.positives.unsqueeze(1) - pairs.log_sums).mean((1, 2))


def regularizer_paper(pairs: ViewPairs) -> Tensor:
    """R as the paper defines it: one o_min and one o_max for the whole batch.

    sigma+ is the diagonal and sigma- the rest of the (B, B) inner products of one view with the other.
    The paper takes R of the pair (z1, z2) only.

    Returns:
        (P,) one value per pair; 0, with gradients of 0, for B = 1, where there are no negatives.
    """
    if pairs.positives.shape[1] == 1:
        return 0 * pairs.positives.sum(1)
    margin = pairs.positives.amin(1) - pairs.highest_across
    return pairs.positives.mean(1) - pairs.mean_across + margin.abs()


def regularizer_official(pairs: ViewPairs) -> Tensor:
    """R as the official code computes it: o_min and o_max of eq. 12 for each row separately.

    Row ``i`` of the 2B rows of a pair has one positive, its inner product with its partner, and 2(B - 1)
    negatives, its inner products with all other rows of both views. The positive terms are averaged over the
    2B rows, the negative terms over all 2B * 2(B - 1). The official code adds R of the pairs
    (h1, z2), (h2, z1) and (z1, z2), and weights the sum by .1.

    Returns:
        (P,) one value per pair; 0, with gradients of 0, for B = 1, where there are no negatives.
    """
    if pairs.positives.shape[1] == 1:
        return 0 * pairs.positives.sum(1)
    margins = pairs.positives.unsqueeze(1) - pairs.highest  # (P, 2, B)
    return pairs.positives.mean(1) - pairs.mean_negatives + margins.abs().mean((1, 2))


def _sides(across: Tensor) -> Tensor:
    """Reshape (2 P, B), the rows of all pairs followed by their columns, to (P, 2, B)."""
    return torch.stack(across.chunk(2), 1)


def _positives(parts: Sequence[Tensor], one: Tensor, other: Tensor) -> Tensor:
    """(P, B) inner products of rows with their partners."""
    products = [(part.index_select(0, one) * part.index_select(0, other)).sum(-1) for part in parts]
    batch = products[0].shape[1]
    return sum((F.pad(later, (0, batch - later.shape[1])) for later in products[1:]), start=products[0])


def _means(parts: Sequence[Tensor], one: Tensor, other: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) mean over all negatives, and over those of the other view, without computing the inner products."""
    batch = parts[0].shape[1]
    sums = torch.cat([part.sum(1) for part in parts], 1)
    squares = torch.stack([part.square().sum((1, 2)) for part in parts]).sum(0)
    # The sum of all (2B)^2 inner products is the squared norm of the rows' sum.
    first, second = sums.index_select(0, one), sums.index_select(0, other)
    everything = (first + second).square().sum(-1)
    itself = squares.index_select(0, one) + squares.index_select(0, other) + 2 * positives.sum(-1)
    across = (first * second).sum(-1) - positives.sum(-1)
    count = max(batch * (batch - 1), 1)
    return (everything - itself) / (4 * count), across / count


def _reduce_negatives(
    parts: Sequence[Tensor], one: tuple[int, ...], other: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Log-sum-exp and maximum of the blocks of inner products, off their diagonals.

    Args:
        parts: as for `ViewPairs.of_parts`.
        one: index of the first view of each of the P pairs.
        other: index of the second view of each pair.

    Returns:
        Log-sum-exps and maxima, each (views + 2 P, B): of each row of each view's products with itself, then of
        each row, and then of each column, of the products of the pairs.
    """
    log_sums, highest = _ReduceNegatives.apply(one, other, *parts)  # type: ignore[no-untyped-call]
    return log_sums, highest


class _ReduceNegatives(torch.autograd.Function):
    """Computes all blocks by one batched product per part, and both reductions and their gradients in few passes."""

    @staticmethod
    def forward(
        ctx: Any, one: tuple[int, ...], other: tuple[int, ...], first: Tensor, *later: Tensor
    ) -> tuple[Tensor, Tensor]:
        views, batch, _ = first.shape
        left, right = (_index((*range(views), *side), first.device) for side in (one, other))
        # Finite, so that a batch of one, which has no negatives, gets gradients of 0 and not NaN.
        hole = first.new_full((batch,), torch.finfo(first.dtype).min / 2).diag()
        products = torch.baddbmm(
            hole, first.index_select(0, left), first.index_select(0, right).mT
        )  # (views + P, B, B)
        for part in later:
            corner = products[:, : part.shape[1], : part.shape[1]]
            corner.baddbmm_(part.index_select(0, left), part.index_select(0, right).mT)
        of_rows, row_places = products.max(2)
        of_columns, column_places = products[views:].max(1)
        columns = products[views:].sub(of_columns.unsqueeze(1)).exp_()
        rowwise = products.sub_(of_rows.unsqueeze(2)).exp_()
        column_sums, row_sums = columns.sum(1), rowwise.sum(2)
        ctx.save_for_backward(
            rowwise, row_sums, row_places, columns, column_sums, column_places, first, *later
        )
        ctx.left, ctx.right = left, right
        log_sums = torch.cat([of_rows + row_sums.log(), of_columns + column_sums.log()])
        return log_sums, torch.cat([of_rows, of_columns])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_sums: Tensor, of_highest: Tensor) -> tuple[Tensor | None, ...]:
        rowwise, row_sums, row_places, columns, column_sums, column_places, *parts = ctx.saved_tensors
        views, blocks = len(parts[0]), len(rowwise)
        grad_scores = rowwise * (of_sums[:blocks] / row_sums).unsqueeze(2)
        grad_scores[views:].addcmul_(columns, (of_sums[blocks:] / column_sums).unsqueeze(1))
        grad_scores.scatter_add_(2, row_places.unsqueeze(2), of_highest[:blocks].unsqueeze(2))
        grad_scores[views:].scatter_add_(1, column_places.unsqueeze(1), of_highest[blocks:].unsqueeze(1))
        return None, None, *(_part_gradient(part, grad_scores, ctx.left, ctx.right) for part in parts)


def _part_gradient(part: Tensor, grad_scores: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Gradient of a part, from the gradient of the inner products."""
    corner = grad_scores[:, : part.shape[1], : part.shape[1]]
    gradient = torch.zeros_like(part)
    gradient.index_add_(0, left, corner @ part.index_select(0, right))
    return gradient.index_add_(0, right, corner.mT @ part.index_select(0, left))


@cache
def _index(views: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices of views as a cached tensor: indexing with a list would make the host wait for the device each time."""
    with torch.inference_mode(False):  # so that training can use it later
        return torch.tensor(views, device=device)
