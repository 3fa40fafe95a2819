"""Base of the models whose score is a sum of item-item weights over the items of the history (EASE, ItemKNN)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Histories, to_device
from mclrec.data.packed import IntArray, Packed, distinct_counts, ranges
from mclrec.models.base import ModelConfig
from mclrec.models.counting import Counting, cells_of_rows

__all__ = ["Cells", "ItemItem", "ItemItemConfig", "common_users"]

_PAIRS = 1 << 21  # pairs of items of the same user that are processed at a time
_CELLS = 1 << 21  # weights that are added up at a time
_FAINT = 1e-30  # below any weight, and far above the smallest number of fp32


class ItemItemConfig(ModelConfig):
    """Settings that all item-item models have."""

    max_length: int = Field(
        default=100_000,
        ge=1,
        le=100_000,
        description="newest items of the history that are read; by default all of it",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Some cells of a matrix of items by items.

    Attributes:
        targets: (C,) item j, whose score a cell adds to.
        sources: (C,) item i of the history.
        values: (C,) value of the cell (i, j).
    """

    targets: IntArray
    sources: IntArray
    values: npt.NDArray[np.float64]


class ItemItem(Counting):
    """Base of linear item-item models: score of item j = sum of w(i, j) over the items i of the history.

    The weights are stored by rows: item i adds ``weights`` to ``targets[offsets[i]:offsets[i + 1]]``. They are added up
    in fp64 and rounded once, so that neither the order of the history nor the device affects the result.

    Items whose sum is zero, because no item of the history has a weight for them, would all tie. They are ordered by
    popularity: their scores, of up to 1e-30, are below any positive sum of weights.
    """

    sized_by_data = ("targets", "weights")
    offsets: Tensor
    targets: Tensor
    weights: Tensor

    def __init__(self, config: ItemItemConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.register_buffer("offsets", torch.zeros(num_items + 2, dtype=torch.int64))
        self.register_buffer("targets", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("weights", torch.zeros(0))

    def keep(self, parts: Iterable[Cells]) -> None:
        """Store the cells, none of which may occur twice, in place of earlier ones."""
        found = list(parts)
        targets, sources = (
            np.concatenate([getattr(part, name) for part in found]) for name in ("targets", "sources")
        )
        order = np.lexsort((targets, sources))
        counts = np.bincount(sources, minlength=self.num_items + 1)
        values = np.concatenate([part.values for part in found])[order]
        self.offsets.copy_(torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])))
        self.targets = torch.from_numpy(targets[order].astype(np.int32)).to(self.offsets.device)
        self.weights = torch.from_numpy(values.astype(np.float32)).to(self.offsets.device)

    def scores(self, histories: Histories) -> Tensor:
        """Scores of all items; implements `Recommender.scores`."""
        sums = self.sums(*self.voters(histories), histories)
        return torch.where(sums == 0, _FAINT * self.tie_breaks(), sums)

    def voters(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """(T,) row and item of each item whose weights are added, sorted by row and item; item 0 for repeated ones.

        A history is treated as a set: an item that occurs twice counts once.
        """
        rows, items = self.ordered(histories)
        again = torch.zeros_like(items, dtype=torch.bool)
        again[1:] = (rows[1:] == rows[:-1]) & (items[1:] == items[:-1])
        return rows, items.masked_fill(again, 0)

    def ordered(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """(T,) row and item of each item of the histories, sorted by row and item."""
        base = self.num_items + 1
        rows = torch.repeat_interleave(torch.arange(len(histories)), histories.lengths)
        keys = (to_device(rows, histories.device) * base + histories.items).sort().values
        return keys // base, keys % base

    def sums(self, rows: Tensor, items: Tensor, histories: Histories) -> Tensor:
        """(B, V + 1) fp32 sums of the weights of the items of each row."""
        base = self.num_items + 1
        sums = torch.zeros(len(histories) * base, dtype=torch.float64, device=rows.device)
        for part in self._parts(items):
            places, cells = cells_of_rows(self.offsets, items[part])
            where = rows[part][places] * base + self.targets[cells]
            sums.index_add_(0, where, self.weights[cells].double())
        return sums.float().view(len(histories), base)

    def _parts(self, items: Tensor) -> Iterator[slice]:
        """Split items into parts with about `_CELLS` cells each: all at once, long histories would take gigabytes."""
        ends = (self.offsets[items + 1] - self.offsets[items]).cumsum(0)
        bounds = torch.tensor(range(_CELLS, int(ends[-1:].sum()), _CELLS), dtype=torch.int64)
        cuts = [0, *torch.searchsorted(ends, to_device(bounds, ends.device)).tolist(), len(items)]
        yield from (slice(first, last) for first, last in pairwise(cuts))


def common_users(users: Packed, num_items: int, pairs: int = _PAIRS) -> Iterator[Cells]:
    """Count the common users of any two items, and the users of each item: the nonzero cells of X'X.

    Args:
        users: distinct items of each user.
        num_items: V.
        pairs: pairs of items of the same user that are processed at a time, but at least those of one item.

    Yields:
        All cells of the columns of a range of items, range by range.
    """
    base, lengths = num_items + 1, users.lengths
    by_item = np.argsort(users.items, kind="stable")
    starts = np.searchsorted(users.items[by_item], np.arange(base + 1))
    work = np.bincount(users.items, weights=lengths[users.rows], minlength=base)
    portions = np.cumsum(work) // pairs
    rows = users.rows
    for chosen in np.split(np.arange(base), np.flatnonzero(np.diff(portions)) + 1):
        first, last = int(chosen[0]), int(chosen[-1])
        holders = by_item[starts[first] : starts[last + 1]]
        longest = lengths[rows[holders]]
        left = np.repeat(users.items[holders] - first, longest)
        right = users.items[ranges(users.offsets[rows[holders]], longest)]
        found, counts = distinct_counts(left * base + right, len(chosen) * base)
        yield Cells(found // base + first, found % base, counts.astype(np.float64))
