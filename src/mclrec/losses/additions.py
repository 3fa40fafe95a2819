"""Additions to the scores of a few items of each query, on top of query . item + bias."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Additions"]


@dataclass(frozen=True, slots=True, eq=False)
class Additions:
    """Sparse additions to a (B, V + 1) matrix of scores; several may go to the same score.

    Attributes:
        offsets: (B + 1,) int64, always on the host: where the additions of each query begin and end.
        rows: (P,) int64 number of each addition's query, ascending.
        items: (P,) int64 ids.
        values: (P,) numbers that are added; they may require a gradient.
        places: positions of these additions among those that they were selected from.
    """

    offsets: Tensor
    rows: Tensor
    items: Tensor
    values: Tensor
    places: slice | Tensor = field(default_factory=lambda: slice(None))

    @classmethod
    def together(cls, first: Additions, second: Additions) -> Additions:
        """Merge two sets of additions to the scores of the same queries; within a query, ``first`` comes first."""
        # Each addition moves back by the number of the other's before it. Sorting the rows takes seven times as long.
        before, after = _moved(first, second._bounds()[:-1]), _moved(second, first._bounds()[1:])

        def merged(one: Tensor, other: Tensor) -> Tensor:
            both = one.new_empty(len(one) + len(other))
            return both.index_copy_(0, before, one).index_copy_(0, after, other)

        return cls(
            first.offsets + second.offsets,
            merged(first.rows, second.rows),
            merged(first.items, second.items),
            merged(first.values, second.values),
        )

    def _bounds(self) -> Tensor:
        """Offsets on the device of ``rows``, computed there: copying them would wait for the device."""
        return torch.searchsorted(self.rows, torch.arange(len(self.offsets), device=self.rows.device))

    def split(self, size: int) -> list[Additions]:
        """Split into parts of ``size`` queries; each part numbers its queries from 0."""
        count, parts = len(self.offsets) - 1, []
        for start in range(0, count, size):
            bounds = self.offsets[start : start + size + 1]
            here = slice(int(bounds[0]), int(bounds[-1]))
            part = (self.rows[here] - start, self.items[here], self.values[here])
            parts.append(Additions(bounds - bounds[0], *part, here))
        return parts

    def of_items(self, first: int, stop: int) -> Additions:
        """Additions to the ids from ``first`` up to ``stop``, with ids counted from ``first``."""
        places = ((self.items >= first) & (self.items < stop)).nonzero().squeeze(1)
        rows = self.rows[places]
        bounds = torch.searchsorted(rows.cpu(), torch.arange(len(self.offsets)))
        return Additions(bounds, rows, self.items[places] - first, self.values[places], places)

    def add_to(self, scores: Tensor, factor: float = 1.0) -> Tensor:
        """Add ``factor`` times the additions to (B, V + 1) scores, which are overwritten and returned."""
        added = (self.values * factor).to(scores.dtype)
        # With flat indices instead of rows and columns: on the CPU this adds in order, and is twice as fast.
        scores.view(-1).index_add_(0, self.rows * scores.shape[1] + self.items, added)
        return scores

    def most(self) -> Tensor:
        """Scalar: upper bound on how much a score changes, the largest sum of absolute values of a query."""
        sizes = self.values.detach().abs()
        return sizes.new_zeros(max(len(self.offsets) - 1, 1)).index_add_(0, self.rows, sizes).max()


def _moved(additions: Additions, earlier: Tensor) -> Tensor:
    """(P,) places after merging, where ``earlier`` (B,) counts the others that come before those of each query."""
    rows = additions.rows
    return earlier.index_select(0, rows) + torch.arange(len(rows), device=rows.device)
