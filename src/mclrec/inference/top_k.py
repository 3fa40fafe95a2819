"""Top-k selection in NumPy, and the one rule for the order of ranked items.

The higher score comes first; among equal scores, the lower dense id. NaN and minus infinity are never listed. Every
list of this package is ordered by this rule, whatever computed its scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["FloatArray", "best_first", "merge", "top_k"]

FloatArray = npt.NDArray[np.float32]

_LARGEST_BLOCK, _SMALLEST_BLOCK = 64, 4
"""Scores per block, of which only the maximum is compared first; with fewer, comparing all scores is as fast."""

_BLOCKS = 8
"""Minimum number of blocks per place of a list: with fewer, their maxima exclude little."""

_FEW = 4096
"""Scores or comparisons up to which the direct method is used: for so few, further calls cost more than they save."""

_Indices = npt.NDArray[np.intp]


def top_k(scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Columns and values of the k best scores of each row, best first.

    Args:
        scores: (B, m); not changed.
        k: at least 1.

    Returns:
        Columns (B, min(k, m)) and scores (B, min(k, m)), filled with minus infinity where a row has fewer to list.
    """
    count, columns = scores.shape
    k = min(k, columns)
    if k == 0:
        return np.empty((count, 0), dtype=np.int64), np.empty((count, 0), dtype=np.float32)
    found = _find(scores, k)
    if found is None:
        found = _find(np.where(np.isnan(scores), np.float32(-np.inf), scores), k)
    assert found is not None
    rows, places, values = found
    order = np.lexsort((places, -values, rows))
    if count == 1 and len(rows) >= k:
        return places[None, order[:k]], values[None, order[:k]]
    held = np.bincount(rows, minlength=count)
    index = (np.cumsum(held) - held)[:, None] + np.arange(k)
    there = np.arange(k) < held[:, None]
    if len(rows) == 0:
        return np.zeros((count, k), dtype=np.int64), np.full((count, k), -np.inf, dtype=np.float32)
    best = order[np.minimum(index, len(rows) - 1)]
    return places[best], np.where(there, values[best], np.float32(-np.inf))


def merge(parts: Sequence[tuple[IntArray, FloatArray]], k: int) -> tuple[IntArray, FloatArray]:
    """Merge results of `top_k` on consecutive parts of the catalogue, whose ids increase from part to part.

    Args:
        parts: ids (B, any) and scores (B, any) of each part.
        k: at least 1.
    """
    if len(parts) == 1:
        return parts[0]
    ids, scores = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def best_first(ids: IntArray, scores: FloatArray, excluded: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k best of some candidates given in any order.

    Args:
        ids: (m,) distinct dense ids; 0 stands for no candidate.
        scores: (m,).
        excluded: dense ids that are left out.
        k: at least 1.
    """
    kept = (ids > 0) & (scores > -np.inf) & _absent(ids, excluded)
    ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def _absent(ids: IntArray, others: IntArray) -> npt.NDArray[np.bool_]:
    """Mask of the ids that are not in ``others``: compared pairwise where that is faster than NumPy's sort."""
    if len(ids) * len(others) > _FEW:
        return np.isin(ids, others, invert=True)
    return np.asarray((ids != others[:, None]).all(0))


def _find(scores: FloatArray, k: int) -> tuple[_Indices, _Indices, FloatArray] | None:
    """Rows, columns and scores of a superset of the best k of each row; None if NaNs prevent the selection."""
    size = min(scores.shape[1] // (_BLOCKS * k), _LARGEST_BLOCK)
    if size < _SMALLEST_BLOCK or scores.size < _FEW:
        return _by_partition(scores, k)
    return _by_blocks(scores, k, size)


def _by_blocks(scores: FloatArray, k: int, size: int) -> tuple[_Indices, _Indices, FloatArray] | None:
    """`_find` using the maxima of blocks of ``size`` scores.

    The k-th highest block maximum is at most the k-th highest score, so one comparison can rule out a whole block.
    A block consists of every n-th column: its maximum is then an elementwise maximum of whole arrays, which is fast.
    """
    count, columns = scores.shape
    blocks = columns // size
    whole = scores[:, : blocks * size].reshape(count, size, blocks)
    maxima = whole.max(1)  # (B, blocks)
    bounds = np.partition(maxima, blocks - k, axis=1)[:, blocks - k]
    if np.isnan(bounds).any() or np.isnan(maxima).any():
        return None
    rows, numbers = np.nonzero(maxima >= bounds[:, None])
    parts = whole[rows, :, numbers]  # (n, size)
    above = (parts >= bounds[rows, None]) & (parts > -np.inf)
    which, offsets = np.nonzero(above)
    rows, places, values = rows[which], offsets * blocks + numbers[which], parts[which, offsets]
    rest = scores[:, blocks * size :]
    rest_rows, offsets = np.nonzero((rest >= bounds[:, None]) & (rest > -np.inf))
    return (
        np.concatenate([rows, rest_rows]),
        np.concatenate([places, offsets + blocks * size]),
        np.concatenate([values, rest[rest_rows, offsets]]),
    )


def _by_partition(scores: FloatArray, k: int) -> tuple[_Indices, _Indices, FloatArray] | None:
    """`_find` using the k-th highest score itself, for lists that are long relative to the catalogue."""
    columns = scores.shape[1]
    kept = scores > -np.inf
    if k < columns:
        bounds = np.partition(scores, columns - k, axis=1)[:, columns - k]
        if np.isnan(scores).any():
            return None
        kept &= scores >= bounds[:, None]
    rows, places = np.nonzero(kept)
    return rows, places, scores[rows, places]
