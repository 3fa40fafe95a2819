"""What is added to the scores of a few items of each query, beside query . item + bias."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Additions"]

_ROW = 1 << 32
"""Rows are so far apart where a row and an id are one number."""


@dataclass(frozen=True, slots=True, eq=False)
class Additions:
    """Numbers that are added to some scores of a (B, V + 1) matrix; a score may have several.

    Attributes:
        offsets: (B + 1,) int64, always on the host: where those of each query begin and end.
        rows: (P,) int64 number of the query of each.
        items: (P,) int64 ids.
        values: (P,) what is added; may have a gradient.
        places: where they stand among those that they were taken from.
    """

    offsets: Tensor
    rows: Tensor
    items: Tensor
    values: Tensor
    places: slice | Tensor = field(default_factory=lambda: slice(None))

    def split(self, size: int) -> list[Additions]:
        """Those of each ``size`` queries, counted from the first of these."""
        count, parts = len(self.offsets) - 1, []
        for start in range(0, count, size):
            bounds = self.offsets[start : start + size + 1]
            here = slice(int(bounds[0]), int(bounds[-1]))
            part = (self.rows[here] - start, self.items[here], self.values[here])
            parts.append(Additions(bounds - bounds[0], *part, here))
        return parts

    def of_items(self, first: int, stop: int) -> Additions:
        """Those of the ids from ``first`` up to ``stop``, counted from there."""
        places = ((self.items >= first) & (self.items < stop)).nonzero().squeeze(1)
        rows = self.rows[places]
        bounds = torch.searchsorted(rows.cpu(), torch.arange(len(self.offsets)))
        return Additions(bounds, rows, self.items[places] - first, self.values[places], places)

    def to_pairs(self, ids: Tensor) -> Tensor:
        """What is added to the scores of each query with ids of its own row, ids (B, ...): shape (B, ...)."""
        keys, order = (self.rows * _ROW + self.items).sort()
        # Sums of all values up to a place, whose differences are what one score gains: exact enough in fp64 alone.
        sums = F.pad(self.values[order].double().cumsum(0), (1, 0))
        rows = torch.arange(len(ids), device=ids.device).view(-1, *[1] * (ids.dim() - 1))
        first, last = (torch.searchsorted(keys, rows * _ROW + ids, right=right) for right in (False, True))
        return (sums[last] - sums[first]).to(self.values.dtype)

    def to_columns(self, ids: Tensor) -> Tensor:
        """What is added to the scores of every query with the same ids (N,), which may be equal: (B, N)."""
        known, count = ids.sort().values, len(self.offsets) - 1
        columns = torch.searchsorted(known, self.items).clamp(max=max(len(ids) - 1, 0))
        if not len(ids):
            return self.values.new_zeros(count, 0)
        # An id that is not asked for adds 0 to its neighbour. No shape depends on how many are: nobody waits for it.
        values = self.values * (known[columns] == self.items)
        found = values.new_zeros(count, len(ids)).index_put((self.rows, columns), values, accumulate=True)
        return found.index_select(1, torch.searchsorted(known, ids))

    def add_to(self, scores: Tensor, factor: float = 1.0) -> Tensor:
        """Add ``factor`` times the additions to (B, V + 1) scores, which are overwritten and returned."""
        added = (self.values * factor).to(scores.dtype)
        return scores.index_put_((self.rows, self.items), added, accumulate=True)

    def most(self) -> Tensor:
        """Scalar: the most that a score changes by."""
        sizes = self.values.detach().abs()
        return sizes.new_zeros(max(len(self.offsets) - 1, 1)).index_add_(0, self.rows, sizes).max()
