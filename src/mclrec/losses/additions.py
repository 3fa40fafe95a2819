"""What is added to the scores of a few items of each query, beside query . item + bias."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Additions"]


@dataclass(frozen=True, slots=True, eq=False)
class Additions:
    """Numbers that are added to some scores of a (B, V + 1) matrix; a score may have several.

    Attributes:
        rows: (P,) int64 numbers of the queries, in ascending order.
        items: (P,) int64 ids.
        values: (P,) what is added; may have a gradient.
        places: where they stand among those that they were taken from.
    """

    rows: Tensor
    items: Tensor
    values: Tensor
    places: slice | Tensor = field(default_factory=lambda: slice(None))

    def split(self, count: int, size: int) -> list[Additions]:
        """Those of each ``size`` of ``count`` queries, counted from the first of these."""
        starts = list(range(0, count, size))
        bounds = torch.searchsorted(self.rows, self.rows.new_tensor([*starts, count])).tolist()
        return [
            Additions(self.rows[here] - start, self.items[here], self.values[here], here)
            for start, here in zip(starts, map(slice, bounds[:-1], bounds[1:]), strict=True)
        ]

    def of_items(self, first: int, stop: int) -> Additions:
        """Those of the ids from ``first`` up to ``stop``, counted from there."""
        places = ((self.items >= first) & (self.items < stop)).nonzero().squeeze(1)
        return Additions(self.rows[places], self.items[places] - first, self.values[places], places)

    def to_pairs(self, ids: Tensor) -> Tensor:
        """What is added to the scores of each query with ids of its own row, ids (B, ...): shape (B, ...)."""
        width = int(max(ids.max(), self.items.max())) + 1 if ids.numel() and len(self.items) else 1
        keys, order = (self.rows * width + self.items).sort()
        # Sums of all values up to a place, whose differences are what one score gains: exact enough in fp64 alone.
        sums = F.pad(self.values[order].double().cumsum(0), (1, 0))
        rows = torch.arange(len(ids), device=ids.device).view(-1, *[1] * (ids.dim() - 1))
        wanted = rows * width + ids
        first, last = (torch.searchsorted(keys, wanted, right=right) for right in (False, True))
        return (sums[last] - sums[first]).to(self.values.dtype)

    def to_columns(self, ids: Tensor) -> Additions:
        """Those to the same ids (N,) for every query, which may be equal, counted by their places in ``ids``."""
        known, order = ids.sort()
        first, last = (torch.searchsorted(known, self.items, right=right) for right in (False, True))
        counts = last - first
        which = torch.arange(len(counts), device=ids.device).repeat_interleave(counts)
        within = torch.arange(len(which), device=ids.device) - (counts.cumsum(0) - counts)[which]
        return Additions(self.rows[which], order[first[which] + within], self.values[which], which)

    def add_to(self, scores: Tensor, factor: float = 1.0) -> Tensor:
        """Add ``factor`` times the additions to (B, V + 1) scores, which are overwritten and returned."""
        added = (self.values * factor).to(scores.dtype)
        return scores.index_put_((self.rows, self.items), added, accumulate=True)

    def most(self, count: int) -> Tensor:
        """Scalar: the most that a score of any of ``count`` queries changes by."""
        sizes = self.values.detach().abs()
        return sizes.new_zeros(max(count, 1)).index_add_(0, self.rows, sizes).max()
