"""Metrics beyond accuracy: coverage, Gini, novelty, popularity lift, diversity, calibration, repeats, unbiased recall.

Everywhere ``lists`` are (M, k) dense item ids, a list a row, best first; 0 is an empty place of a list that ran out of
items. ``histories`` are the M histories that the lists follow, whole, and ``popularity`` (V + 1,) the interactions of
each item in the training data. A value that nothing can be computed from is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.errors import EvaluationError
from mclrec.evaluation.metrics import FloatArray

__all__ = [
    "ALPHA",
    "calibration",
    "category_diversity",
    "coverage",
    "effective_targets",
    "gini",
    "in_history",
    "novelty",
    "popularity_lift",
    "repeat_share",
    "unbiased_recall",
    "vector_diversity",
]

ALPHA = 0.01
"""Weight of the history's distribution in `calibration`, so that no logarithm is infinite; as in the paper."""

_CELLS = 2**21
"""Values that a chunk of lists holds at once: 16 MiB."""

BoolArray = npt.NDArray[np.bool_]


def coverage(lists: IntArray, num_items: int) -> float:
    """Catalogue coverage: share of the V items that stand in at least one list, 0..1.

    Ge, Delgado-Battenfeld and Jannach, RecSys 2010. The same k items for everybody give k / V.

    Raises:
        EvaluationError: there are no lists.
    """
    return float(np.count_nonzero(_exposure(lists, num_items)) / num_items)


def gini(lists: IntArray, num_items: int) -> float:
    """Gini index of how often each of the V items is recommended, 0 (all alike) up to 1 - 1 / V (one item alone).

    Fleder and Hosanagar, Management Science 2009. With counts x_1 <= ... <= x_V it is the sum of (2 i - V - 1) x_i over
    V times the sum of x; items that no list holds count as 0.

    Raises:
        EvaluationError: there are no lists.
    """
    counts = np.sort(_exposure(lists, num_items)).astype(np.float64)
    total = counts.sum()
    weights = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float(weights @ counts / (num_items * total)) if total else math.nan


def novelty(lists: IntArray, popularity: IntArray) -> float:
    """Novelty: mean self-information -log2 p(i) of the listed items, in bits; p(i) is i's share of the training rows.

    Zhou et al., PNAS 2010. One bit more means half as popular. An item that training never shows counts as one that it
    shows once.

    Raises:
        EvaluationError: there are no lists.
    """
    counts = _positive(popularity)[_listed(lists)]
    total = max(1, int(popularity.sum()))
    return float(np.mean(np.log2(total) - np.log2(counts))) if len(counts) else math.nan


def popularity_lift(lists: IntArray, histories: Packed, popularity: IntArray) -> float:
    """Popularity lift: how much more popular lists are than the histories before them, relative: .5 is half more.

    Abdollahpouri et al., RecSys 2020: (g(lists) - g(histories)) / g(histories), where g is the mean over users of the
    mean popularity of a user's items. 0 means as popular, -1 that training shows none of the listed items.

    Raises:
        EvaluationError: there are no lists, or not a history for each.
    """
    _check(lists, histories)
    before = _mean_popularity(histories, popularity)
    return (_mean_popularity(_packed(lists), popularity) - before) / before if before else math.nan


def vector_diversity(lists: IntArray, vectors: npt.NDArray[np.floating[Any]]) -> float:
    """Intra-list diversity: 1 - mean cosine of the pairs of items of a list, averaged over lists.

    Smyth and McClave, ICCBR 2001; Ziegler et al., WWW 2005. 0: all items of a list point the same way; 1: they have
    nothing in common; it exceeds 1 only where vectors point against each other. Items whose vector is zero are
    left out, and so are lists with fewer than two others.

    Args:
        lists: (M, k).
        vectors: (V + 1, d) one vector an item.

    Raises:
        EvaluationError: there are no lists.
    """
    _check(lists)
    values = []
    for part in _chunks(len(lists), lists.shape[1] * vectors.shape[1]):
        rows = vectors[lists[part]].astype(np.float64)  # (B, k, d)
        norms = np.linalg.norm(rows, axis=2)
        used = (norms > 0) & (lists[part] > 0)
        units = np.where(used[:, :, None], rows / np.where(used, norms, 1)[:, :, None], 0)
        values.append(_diversities(units.sum(axis=1), used.sum(axis=1)))
    return _mean(np.concatenate(values))


def category_diversity(lists: IntArray, categories: Packed) -> float:
    """Intra-list diversity by categories: `vector_diversity` of vectors that mark an item's categories.

    With one category an item it is the share of the pairs of a list whose categories differ. Items without category
    are left out, and so are lists with fewer than two others.

    Args:
        lists: (M, k).
        categories: V + 1 lists of different categories, from 0; empty for an item without.

    Raises:
        EvaluationError: there are no lists.
    """
    _check(lists)
    items, kinds = _packed(lists), _kinds(categories)
    known = categories.lengths[items.items] > 0
    used = np.bincount(items.rows[known], minlength=len(lists))
    values = [
        _diversities(_category_sums(items.take(rows), categories, kinds, 0.5), used[rows])
        for rows in _row_chunks(len(lists), kinds)
    ]
    return _mean(np.concatenate(values))


def calibration(lists: IntArray, histories: Packed, categories: Packed, alpha: float = ALPHA) -> float:
    """Miscalibration: KL divergence between the categories of a history and of its list, in nats, averaged over users.

    Steck, RecSys 2018: the sum over categories g of p(g) ln(p(g) / q'(g)), where p is the history's distribution, q the
    list's, and q' = (1 - alpha) q + alpha p. Every item weighs the same, and is spread evenly over its categories. 0:
    lists have the history's mixture; the most is -ln(alpha), 4.6 for .01: none of the history's categories is listed.
    Users whose history has no item with a category are left out.

    Args:
        lists: (M, k).
        histories: M histories.
        categories: V + 1 lists of different categories, from 0; empty for an item without.
        alpha: smoothing, within 0..1.

    Raises:
        EvaluationError: there are no lists, or not a history for each, or alpha is not between 0 and 1.
    """
    _check(lists, histories)
    if not 0 < alpha < 1:
        raise EvaluationError(f"alpha = {alpha}: must be between 0 and 1")
    items, kinds, values = _packed(lists), _kinds(categories), []
    for rows in _row_chunks(len(lists), kinds):
        p = _shares(_category_sums(histories.take(rows), categories, kinds, 1))
        q = (1 - alpha) * _shares(_category_sums(items.take(rows), categories, kinds, 1)) + alpha * p
        terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1)), 0)
        values.append(np.maximum(terms.sum(axis=1), 0)[p.sum(axis=1) > 0])
    return _mean(np.concatenate(values))


def in_history(lists: IntArray, histories: Packed) -> BoolArray:
    """(M, k) whether each listed item is in the history that its list follows; False for an empty place.

    Raises:
        EvaluationError: there are no lists, or not a history for each.
    """
    _check(lists, histories)
    base = int(max(lists.max(), histories.items.max(initial=0))) + 1
    found = np.zeros(lists.shape, dtype=np.bool_)
    for rows in _row_chunks(len(lists), lists.shape[1] + int(histories.lengths.mean())):
        some = histories.take(rows)
        keys = np.arange(len(rows))[:, None] * base + lists[rows]
        found[rows] = np.isin(keys, some.rows * base + some.items) & (lists[rows] > 0)
    return found


def repeat_share(lists: IntArray, histories: Packed) -> float:
    """Share of the listed items that are in the user's history, 0..1; the others are discoveries.

    Li et al., A Next Basket Recommendation Reality Check, TOIS 2023. Of hits alone, with all other places empty, it is
    the share of hits that are repeats.

    Raises:
        EvaluationError: there are no lists, or not a history for each.
    """
    repeated, places = in_history(lists, histories), np.count_nonzero(lists)
    return float(np.count_nonzero(repeated) / places) if places else math.nan


def unbiased_recall(hits: BoolArray, items: IntArray, popularity: IntArray, gamma: float = 1.0) -> float:
    """Recall as if people had met all items alike: hits weighted by inverse propensity, self-normalised, 0..1.

    Yang et al., RecSys 2018. What is popular is also what was shown most, so that targets are logged with a probability
    that rises with popularity. The propensity of an item is taken as its popularity to the power gamma; the estimate is
    the sum over hits of 1 / propensity, over that sum over all targets. gamma = 0 is plain recall, that is HR; 1 weighs
    all items about alike. An item that training never shows counts as one that it shows once.

    Args:
        hits: (M,) whether a list holds its target.
        items: (M,) the targets.
        popularity: (V + 1,).
        gamma: at least 0; it is an assumption, so it has to be stated beside the number.

    Raises:
        EvaluationError: there are no targets, or gamma is below 0 or not finite.
    """
    weights = _inverse_propensity(items, popularity, gamma)
    return float(min(1.0, weights[hits].sum() / weights.sum()))


def effective_targets(items: IntArray, popularity: IntArray, gamma: float = 1.0) -> float:
    """Effective sample size of `unbiased_recall`: how many targets of equal weight would be as sure, 1..M.

    Kish 1965: the squared sum of the weights over the sum of their squares.

    Raises:
        EvaluationError: as `unbiased_recall`.
    """
    weights = _inverse_propensity(items, popularity, gamma)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def _inverse_propensity(items: IntArray, popularity: IntArray, gamma: float) -> FloatArray:
    """(M,) weights up to a factor, of which the largest is 1 so that none overflows."""
    if not (math.isfinite(gamma) and gamma >= 0):
        raise EvaluationError(f"gamma = {gamma}: must be a number of at least 0")
    if not len(items):
        raise EvaluationError("there are no targets to average over")
    logs = gamma * np.log(_positive(popularity)[items])
    weights: FloatArray = np.exp(logs.min() - logs)
    return weights


def _positive(popularity: IntArray) -> FloatArray:
    return np.maximum(popularity, 1).astype(np.float64)


def _check(lists: IntArray, histories: Packed | None = None) -> None:
    if lists.ndim != 2 or not lists.size:
        raise EvaluationError(f"expected (M, k) lists of items, got shape {lists.shape}")
    if histories is not None and len(histories) != len(lists):
        raise EvaluationError(f"{len(lists):,} lists go with as many histories, not {len(histories):,}")


def _listed(lists: IntArray) -> IntArray:
    """All listed items, without empty places."""
    _check(lists)
    return lists[lists > 0]


def _packed(lists: IntArray) -> Packed:
    """The lists without their empty places."""
    offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(lists, axis=1))])
    return Packed(_listed(lists), offsets)


def _exposure(lists: IntArray, num_items: int) -> IntArray:
    """(V,) number of places that each item has in the lists.

    Raises:
        EvaluationError: there are no lists, or one holds an item that is not in 1..V.
    """
    counts = np.bincount(_listed(lists), minlength=num_items + 1)
    if len(counts) > num_items + 1:
        raise EvaluationError(f"a list holds item {len(counts) - 1}, and there are {num_items}")
    return counts[1:]


def _mean_popularity(items: Packed, popularity: IntArray) -> float:
    """Mean over the sequences that are not empty of the mean popularity of their items."""
    sums = np.bincount(items.rows, weights=popularity[items.items], minlength=len(items))
    filled = items.lengths > 0
    return _mean(sums[filled] / items.lengths[filled])


def _diversities(sums: FloatArray, counts: IntArray) -> FloatArray:
    """1 - mean cosine of the pairs of each list with at least two items.

    The square of a sum of n unit vectors is n and twice the cosines of all pairs, so that no pair need be formed.

    Args:
        sums: (B, d) sum of the unit vectors of a list.
        counts: (B,) how many there are.
    """
    pairs = counts > 1
    cosines = np.square(sums[pairs]).sum(axis=1) - counts[pairs]
    values: FloatArray = np.maximum(1 - cosines / (counts[pairs] * (counts[pairs] - 1)), 0)
    return values


def _kinds(categories: Packed) -> int:
    return int(categories.items.max(initial=0)) + 1


def _category_sums(items: Packed, categories: Packed, kinds: int, power: float) -> FloatArray:
    """(B, kinds) sum over the items of each sequence of their category vectors.

    An item with n categories has 1 / n ** power at each: by 1 they sum to 1, by 1/2 the vector has the length 1.
    """
    lengths = categories.lengths[items.items]
    places = ranges(categories.offsets[:-1][items.items], lengths)
    cells = np.repeat(items.rows, lengths) * kinds + categories.items[places]
    weights = np.repeat(np.maximum(lengths, 1).astype(np.float64) ** -power, lengths)
    sums: FloatArray = np.bincount(cells, weights=weights, minlength=len(items) * kinds).astype(np.float64)
    return sums.reshape(len(items), kinds)


def _shares(sums: FloatArray) -> FloatArray:
    """Rows divided by their sums; rows of zeros stay."""
    totals = sums.sum(axis=1, keepdims=True)
    shares: FloatArray = sums / np.where(totals > 0, totals, 1)
    return shares


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _chunks(count: int, width: int) -> Iterator[slice]:
    """Slices of 0..count whose rows of ``width`` values are held at once."""
    rows = max(1, _CELLS // max(1, width))
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _row_chunks(count: int, width: int) -> Iterator[IntArray]:
    return (np.arange(part.start, part.stop) for part in _chunks(count, width))
