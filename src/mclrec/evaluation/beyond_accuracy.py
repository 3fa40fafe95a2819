"""Metrics beyond accuracy: coverage, Gini, novelty, popularity lift, diversity, calibration, repeats, unbiased recall.

In all functions, ``lists`` are (M, k) dense item ids, one list per row, best first; 0 is an empty place of a list that
ran out of items. ``histories`` are the M complete histories that the lists were made for, and ``popularity`` is the
(V + 1,) number of interactions of each item in the training data. An undefined value is NaN.
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
"""Smoothing weight of the history's distribution in `calibration`, which keeps logarithms finite; as in the paper."""

_CELLS = 2**21
"""Values held at once for a chunk of lists: 16 MiB."""

BoolArray = npt.NDArray[np.bool_]


def coverage(lists: IntArray, num_items: int) -> float:
    """Catalogue coverage: share of the V items that are in at least one list, 0..1.

    Ge, Delgado-Battenfeld and Jannach, RecSys 2010. It is k / V if all users get the same k items.

    Raises:
        EvaluationError: there are no lists.
    """
    return float(np.count_nonzero(_exposure(lists, num_items)) / num_items)


def gini(lists: IntArray, num_items: int) -> float:
    """Gini index of how often each of the V items is recommended, from 0 (all equally) to 1 - 1 / V (one item only).

    Fleder and Hosanagar, Management Science 2009. With counts x_1 <= ... <= x_V it is the sum of (2 i - V - 1) x_i,
    divided by V times the sum of x; items that are in no list have a count of 0.

    Raises:
        EvaluationError: there are no lists.
    """
    counts = np.sort(_exposure(lists, num_items)).astype(np.float64)
    total = counts.sum()
    weights = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float(weights @ counts / (num_items * total)) if total else math.nan


def novelty(lists: IntArray, popularity: IntArray) -> float:
    """Novelty: mean self-information -log2 p(i) of the listed items, in bits; p(i) is i's share of the training rows.

    Zhou et al., PNAS 2010. One bit more means half as popular. An item that does not occur in training is counted as if
    it occurred once.

    Raises:
        EvaluationError: there are no lists.
    """
    counts = _at_least_one(popularity)[_listed(lists)]
    total = max(1, int(popularity.sum()))
    return float(np.mean(np.log2(total) - np.log2(counts))) if len(counts) else math.nan


def popularity_lift(lists: IntArray, histories: Packed, popularity: IntArray) -> float:
    """Popularity lift: relative increase in popularity from the histories to the lists; .5 is 50 % more popular.

    Abdollahpouri et al., RecSys 2020: (g(lists) - g(histories)) / g(histories), where g is the mean over users of the
    mean popularity of a user's items. 0 means as popular, -1 that none of the listed items occurs in training.

    Raises:
        EvaluationError: there are no lists, or their number differs from that of the histories.
    """
    _check(lists, histories)
    before = _mean_popularity(histories, popularity)
    return (_mean_popularity(_packed(lists), popularity) - before) / before if before else math.nan


def vector_diversity(lists: IntArray, vectors: npt.NDArray[np.floating[Any]]) -> float:
    """Intra-list diversity: 1 - mean cosine of the pairs of items of a list, averaged over lists.

    Smyth and McClave, ICCBR 2001; Ziegler et al., WWW 2005. 0: all vectors of a list have the same direction; 1: they
    are orthogonal on average; it exceeds 1 only if cosines are negative on average. Items whose vector is zero are
    left out, and so are lists with fewer than two other items.

    Args:
        lists: (M, k).
        vectors: (V + 1, d), one vector per item.

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
    """Intra-list diversity by category: `vector_diversity` of multi-hot vectors of the items' categories.

    If each item has one category, it is the share of the pairs of a list whose categories differ. Items without a
    category are left out, and so are lists with fewer than two other items.

    Args:
        lists: (M, k).
        categories: V + 1 lists of distinct categories, numbered from 0; empty for an item without a category.

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
    """Miscalibration: KL divergence between the category distributions of history and list, in nats; mean over users.

    Steck, RecSys 2018: the sum over categories g of p(g) ln(p(g) / q'(g)), where p is the history's distribution, q the
    list's, and q' = (1 - alpha) q + alpha p. Every item has the same weight, divided evenly among its categories. It is
    0 if the distributions are equal, and at most -ln(alpha), 4.6 for .01, if none of the history's categories is
    listed. Users whose history has no item with a category are left out.

    Args:
        lists: (M, k).
        histories: M histories.
        categories: V + 1 lists of distinct categories, numbered from 0; empty for an item without a category.
        alpha: smoothing weight, between 0 and 1.

    Raises:
        EvaluationError: there are no lists, their number differs from that of the histories, or alpha is not between 0
            and 1.
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
    """(M, k) mask of the listed items that are in the user's history; False for an empty place.

    Raises:
        EvaluationError: there are no lists, or their number differs from that of the histories.
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

    Li et al., A Next Basket Recommendation Reality Check, TOIS 2023. For lists that contain only the hits, with all
    other places empty, it is the share of hits that are repeats.

    Raises:
        EvaluationError: there are no lists, or their number differs from that of the histories.
    """
    repeated, places = in_history(lists, histories), np.count_nonzero(lists)
    return float(np.count_nonzero(repeated) / places) if places else math.nan


def unbiased_recall(hits: BoolArray, items: IntArray, popularity: IntArray, gamma: float = 1.0) -> float:
    """Recall corrected for exposure: hits weighted by inverse propensity, self-normalised, 0..1.

    Yang et al., RecSys 2018. Popular items are also those that were shown most, so that the probability of a target
    being logged rises with popularity. The propensity of an item is taken to be its popularity to the power gamma; the
    estimate is the sum of 1 / propensity over hits, divided by the same sum over all targets. gamma = 0 is plain
    recall, i.e. HR; 1 gives all items about the same total weight. An item that does not occur in training is counted
    as if it occurred once.

    Args:
        hits: (M,) whether the list contains the target.
        items: (M,) the targets.
        popularity: (V + 1,).
        gamma: at least 0; it is an assumption, so it has to be reported with the value.

    Raises:
        EvaluationError: there are no targets, or gamma is below 0 or not finite.
    """
    weights = _inverse_propensity(items, popularity, gamma)
    return float(min(1.0, weights[hits].sum() / weights.sum()))


def effective_targets(items: IntArray, popularity: IntArray, gamma: float = 1.0) -> float:
    """Effective sample size of `unbiased_recall`: number of equally weighted targets of the same precision, 1..M.

    Kish 1965: the squared sum of the weights, divided by the sum of their squares.

    Raises:
        EvaluationError: as `unbiased_recall`.
    """
    weights = _inverse_propensity(items, popularity, gamma)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def _inverse_propensity(items: IntArray, popularity: IntArray, gamma: float) -> FloatArray:
    """(M,) inverse propensities, scaled so that the largest is 1 and none overflows."""
    if not (math.isfinite(gamma) and gamma >= 0):
        raise EvaluationError(f"gamma = {gamma}: must be a number of at least 0")
    if not len(items):
        raise EvaluationError("there are no targets to average over")
    logs = gamma * np.log(_at_least_one(popularity)[items])
    weights: FloatArray = np.exp(logs.min() - logs)
    return weights


def _at_least_one(popularity: IntArray) -> FloatArray:
    return np.maximum(popularity, 1).astype(np.float64)


def _check(lists: IntArray, histories: Packed | None = None) -> None:
    if lists.ndim != 2 or not lists.size:
        raise EvaluationError(f"expected (M, k) lists of items, got shape {lists.shape}")
    if histories is not None and len(histories) != len(lists):
        raise EvaluationError(f"{len(lists):,} lists need as many histories, not {len(histories):,}")


def _listed(lists: IntArray) -> IntArray:
    """All listed items in one array, without empty places."""
    _check(lists)
    return lists[lists > 0]


def _packed(lists: IntArray) -> Packed:
    """The lists without their empty places."""
    offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(lists, axis=1))])
    return Packed(_listed(lists), offsets)


def _exposure(lists: IntArray, num_items: int) -> IntArray:
    """(V,) number of times that each item is listed.

    Raises:
        EvaluationError: there are no lists, or one contains an item that is not in 1..V.
    """
    counts = np.bincount(_listed(lists), minlength=num_items + 1)
    if len(counts) > num_items + 1:
        raise EvaluationError(f"a list contains item {len(counts) - 1}, but there are only {num_items}")
    return counts[1:]


def _mean_popularity(items: Packed, popularity: IntArray) -> float:
    """Mean popularity of the items of each sequence, averaged over the nonempty sequences."""
    sums = np.bincount(items.rows, weights=popularity[items.items], minlength=len(items))
    filled = items.lengths > 0
    return _mean(sums[filled] / items.lengths[filled])


def _diversities(sums: FloatArray, counts: IntArray) -> FloatArray:
    """1 - mean cosine of the pairs of each list with at least two items.

    The squared norm of a sum of n unit vectors is n plus twice the sum of the cosines of all pairs, so pairs need not
    be enumerated.

    Args:
        sums: (B, d) sums of the unit vectors of each list.
        counts: (B,) numbers of unit vectors.
    """
    pairs = counts > 1
    cosines = np.square(sums[pairs]).sum(axis=1) - counts[pairs]
    values: FloatArray = np.maximum(1 - cosines / (counts[pairs] * (counts[pairs] - 1)), 0)
    return values


def _kinds(categories: Packed) -> int:
    return int(categories.items.max(initial=0)) + 1


def _category_sums(items: Packed, categories: Packed, kinds: int, power: float) -> FloatArray:
    """(B, kinds) sums of the category vectors of the items of each sequence.

    An item with n categories has the value 1 / n ** power in each: a power of 1 gives a sum of 1, 1/2 a norm of 1.
    """
    lengths = categories.lengths[items.items]
    places = ranges(categories.offsets[:-1][items.items], lengths)
    cells = np.repeat(items.rows, lengths) * kinds + categories.items[places]
    weights = np.repeat(np.maximum(lengths, 1).astype(np.float64) ** -power, lengths)
    sums: FloatArray = np.bincount(cells, weights=weights, minlength=len(items) * kinds).astype(np.float64)
    return sums.reshape(len(items), kinds)


def _shares(sums: FloatArray) -> FloatArray:
    """Normalise rows to a sum of 1; rows of zeros are unchanged."""
    totals = sums.sum(axis=1, keepdims=True)
    shares: FloatArray = sums / np.where(totals > 0, totals, 1)
    return shares


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _chunks(count: int, width: int) -> Iterator[slice]:
    """Slices that divide ``count`` rows of ``width`` values into chunks of at most `_CELLS` values."""
    rows = max(1, _CELLS // max(1, width))
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _row_chunks(count: int, width: int) -> Iterator[IntArray]:
    return (np.arange(part.start, part.stop) for part in _chunks(count, width))
