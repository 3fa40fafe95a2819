"""Item similarity from co-occurrence in histories or from learned vectors (CoSeRec, Liu et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, Packed, ranges

__all__ = ["Nearest", "by_users", "by_vectors", "either"]

_PAIRS = 1 << 22  # pairs of items of the same user that are processed at a time


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The most similar other item of each item.

    Attributes:
        items: (V + 1,) dense ids; an item that is similar to no other has its own id.
        scores: (V + 1,) similarity to that item, min-max scaled to 0..1.
    """

    items: IntArray
    scores: npt.NDArray[np.float64]


def by_users(histories: Packed, num_items: int) -> Nearest:
    """Most similar items by item-based collaborative filtering with inverse user frequency.

    ``sim(i, j) = sum over users with both of 1 / log(1 + items of the user) / sqrt(users of i * users of j)``.

    Args:
        histories: one per user; repeated items count once.
        num_items: V.
    """
    users, items = _distinct(histories, num_items)
    lengths = np.bincount(users, minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    weights = 1 / np.log1p(np.maximum(lengths, 1))
    holders = np.maximum(np.bincount(items, minlength=num_items + 1), 1)
    keys, sums = np.empty(0, dtype=np.int64), np.empty(0)
    portions = np.cumsum(lengths**2) // _PAIRS
    for chosen in np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(portions)) + 1):
        tokens = ranges(offsets[chosen], lengths[chosen])
        per_token = np.repeat(lengths[chosen], lengths[chosen])
        left = np.repeat(items[tokens], per_token)
        right = items[ranges(np.repeat(offsets[chosen], lengths[chosen]), per_token)]
        weight = np.repeat(np.repeat(weights[chosen], lengths[chosen]), per_token)
        apart = left != right
        keys, sums = _add_up(
            np.concatenate([keys, left[apart] * (num_items + 1) + right[apart]]),
            np.concatenate([sums, weight[apart]]),
        )
    left, right = np.divmod(keys, num_items + 1)
    return _best(left, right, sums / np.sqrt(holders[left] * holders[right]), num_items)


def by_vectors(vectors: npt.NDArray[np.float32], chunk: int = 1024) -> Nearest:
    """Most similar items by inner products of item vectors.

    Args:
        vectors: (V + 1, d); row 0 is padding.
        chunk: rows compared at a time.
    """
    best = np.arange(len(vectors))
    scores = np.zeros(len(vectors))
    for start in range(1, len(vectors), chunk):
        rows = np.arange(start, min(start + chunk, len(vectors)))
        products = vectors[rows] @ vectors.T
        products[:, 0] = -np.inf
        products[np.arange(len(rows)), rows] = -np.inf
        best[rows] = products.argmax(1)
        scores[rows] = products.max(1)
    if len(vectors) == 2:
        return Nearest(np.array([0, 1]), np.zeros(2))
    scores[1:] = _scale(scores[1:])
    return Nearest(best, scores)


def either(one: Nearest, other: Nearest) -> Nearest:
    """The more similar of two candidates for each item."""
    first = one.scores >= other.scores
    return Nearest(np.where(first, one.items, other.items), np.where(first, one.scores, other.scores))


def _distinct(histories: Packed, num_items: int) -> tuple[IntArray, IntArray]:
    """Users and items of all distinct pairs, sorted by user."""
    pairs = np.unique(histories.rows * (num_items + 1) + histories.items)
    users, items = np.divmod(pairs, num_items + 1)
    return users, items


def _add_up(keys: IntArray, values: npt.NDArray[np.float64]) -> tuple[IntArray, npt.NDArray[np.float64]]:
    """Distinct keys, and the sum of the values of each."""
    found, places = np.unique(keys, return_inverse=True)
    sums: npt.NDArray[np.float64] = np.bincount(places, values, len(found)).astype(np.float64)
    return found, sums


def _best(left: IntArray, right: IntArray, scores: npt.NDArray[np.float64], num_items: int) -> Nearest:
    """For each left item, the right item with the highest score; ties go to the lower id."""
    order = np.lexsort((right, -scores, left))
    first = np.unique(left[order], return_index=True)[1]
    items, best = np.arange(num_items + 1), np.zeros(num_items + 1)
    chosen = order[first]
    items[left[chosen]] = right[chosen]
    best[left[chosen]] = _scale(scores[chosen])
    return Nearest(items, best)


def _scale(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not len(scores):
        return scores
    lowest, highest = scores.min(), scores.max()
    scaled: npt.NDArray[np.float64] = (scores - lowest) / max(highest - lowest, 1e-12)
    return scaled
