"""The best k of many scores, in NumPy, and the one rule for their order.

The higher score comes first; of equal scores, the lower dense id. NaN and minus infinity are never listed. Every answer
of this package is ordered by this rule, whatever computed its scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["FloatArray", "best_first", "merge", "top_k"]

FloatArray = npt.NDArray[np.float32]

_LARGEST_BLOCK, _SMALLEST_BLOCK = 64, 4
"""Scores of which only the maximum is looked at first; with fewer, looking at all of them is as fast."""

_BLOCKS = 8
"""Blocks for each place of a list: with fewer, their maxima exclude little."""

_FEW = 4096
"""Scores, or comparisons, that are made all at once: for fewer, each further call costs more than it saves."""

_Indices = npt.NDArray[np.intp]


def top_k(scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Columns of the k best scores of each row, best first, and these scores.

    Args:
        scores: (B, m); not changed.
        k: at least 1.

    Returns:
        Columns (B, min(k, m)) and scores (B, min(k, m)); where a row has no more scores to list, minus infinity.
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
    """The k best of what `top_k` gave for parts of the catalogue, whose ids rise from part to part.

    Args:
        parts: ids (B, any) and scores (B, any).
        k: at least 1.
    """
    if len(parts) == 1:
        return parts[0]
    ids, scores = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def best_first(ids: IntArray, scores: FloatArray, excluded: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k best of candidates in any order.

    Args:
        ids: (m,) dense ids, each once; 0 stands for no candidate.
        scores: (m,).
        excluded: dense ids that are left out.
        k: at least 1.
    """
    kept = (ids > 0) & (scores > -np.inf) & _absent(ids, excluded)
    ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def _absent(ids: IntArray, others: IntArray) -> npt.NDArray[np.bool_]:
    """Which ids are not among others: each is compared with each while that is faster than NumPy's way to sort them."""
    if len(ids) * len(others) > _FEW:
        return np.isin(ids, others, invert=True)
    return np.asarray((ids != others[:, None]).all(0))


def _find(scores: FloatArray, k: int) -> tuple[_Indices, _Indices, FloatArray] | None:
    """Rows, columns and scores among which the best k of each row are; None where a NaN is in the way."""
    size = min(scores.shape[1] // (_BLOCKS * k), _LARGEST_BLOCK)
    if size < _SMALLEST_BLOCK or scores.size < _FEW:
        return _by_partition(scores, k)
    return _by_blocks(scores, k, size)


def _by_blocks(scores: FloatArray, k: int, size: int) -> tuple[_Indices, _Indices, FloatArray] | None:
    """`_find` by the maxima of blocks of ``size`` scores.

    The k-th highest of the blocks' maxima is not above the k-th highest score, so that whole blocks are done with
    after one comparison. A block is every n-th column: their maxima are those of whole arrays, which is fast.
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
    """`_find` by the k-th highest score itself, for lists that are long beside the catalogue."""
    columns = scores.shape[1]
    kept = scores > -np.inf
    if k < columns:
        bounds = np.partition(scores, columns - k, axis=1)[:, columns - k]
        if np.isnan(scores).any():
            return None
        kept &= scores >= bounds[:, None]
    rows, places = np.nonzero(kept)
    return rows, places, scores[rows, places]
