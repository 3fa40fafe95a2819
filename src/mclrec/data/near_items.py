"""Nearest items of each item, counted from co-occurrence in histories without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, distinct_counts, highest_of_each
from mclrec.data.sequences import SequenceData

__all__ = ["KEPT", "NearItems", "near_items"]

KEPT = 100
"""Default number of nearest items kept for each item."""

_WINDOW = 10
"""Largest distance, in places, at which two interactions of a user count as near each other."""

_SHRINK = 5.0
"""Added to the denominator of a similarity, because counts of few interactions are mostly chance."""

_PAIRS = 1 << 21
"""Approximate number of pairs of interactions that are processed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class NearItems:
    """The nearest items of each item, nearest first.

    Attributes:
        items: (V + 1, K) int32 dense ids; 0 where an item has fewer, and for item 0.
        similarities: (V + 1, K) fp32, 0 where there is no item.
    """

    items: npt.NDArray[np.int32]
    similarities: npt.NDArray[np.float32]


def near_items(data: SequenceData, kept: int = KEPT) -> NearItems:
    """Count how often items are within 10 places of each other, and keep the most similar ones of each item.

    The similarity has the form of ItemKNN's (`mclrec.models.itemknn`), with near interactions instead of common users:

        s(i, j) = n(i, j) / (sqrt(n(i) n(j)) + 5),

    where n(i) is the number of interactions with item i. Each pair of a user's interactions with i and j that are
    d <= 10 places apart adds (11 - d) / 10 to n(i, j) if j comes after i, and half of that if j comes before i. So
    n(i, j) differs from n(j, i).

    Args:
        data: the histories that are counted.
        kept: K, the number of nearest items kept for each item.
    """
    base = data.num_items + 1
    counts = np.bincount(data.items, minlength=base).astype(np.float64)
    near = np.zeros((base, kept), dtype=np.int32)
    similarities = np.zeros((base, kept), dtype=np.float32)
    for sources, targets, times in _pairs(data, base):
        similar = times / (2 * _WINDOW) / (np.sqrt(counts[sources] * counts[targets]) + _SHRINK)
        chosen = highest_of_each(sources, similar, kept)  # ties go to the lower id
        rows = sources[chosen]
        columns = np.arange(len(rows)) - np.searchsorted(rows, rows)
        near[rows, columns], similarities[rows, columns] = targets[chosen], similar[chosen]
    return NearItems(near, similarities)


def _pairs(data: SequenceData, base: int) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Yield ascending items i, items j near them, and the integers 20 n(i, j), for a portion of the i at a time."""
    items, offsets = data.items, data.offsets
    by_item = np.argsort(items, kind="stable")
    starts = np.searchsorted(items[by_item], np.arange(base + 1))
    portions = starts[1:] * (2 * _WINDOW) // _PAIRS
    for chosen in np.split(np.arange(base), np.flatnonzero(np.diff(portions)) + 1):
        first, last = int(chosen[0]), int(chosen[-1])
        places = by_item[starts[first] : starts[last + 1]]
        rows = np.searchsorted(offsets, places, side="right")
        lowest, end = offsets[rows - 1], offsets[rows]
        own = (items[places].astype(np.int64) - first) * base
        keys, weights = [], []
        for step in (*range(-_WINDOW, 0), *range(1, _WINDOW + 1)):
            others = places + step
            there = np.flatnonzero((others >= lowest) & (others < end))
            keys.append(own[there] + items[others[there]])
            weights.append(np.full(len(there), (_WINDOW + 1 - abs(step)) * (2 if step > 0 else 1)))
        found, times = distinct_counts(np.concatenate(keys), len(chosen) * base, np.concatenate(weights))
        sources, targets = found // base + first, found % base
        apart = sources != targets
        yield sources[apart], targets[apart], times[apart]
