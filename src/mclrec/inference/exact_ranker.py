"""Exact ranking in NumPy: scores the whole catalogue or an allow-list, and leaves out a query's excluded items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.errors import EvaluationError
from mclrec.inference.history_gains import Gains, HistoryGains
from mclrec.inference.queries import NO_ITEMS, Boosts, DenseQuery, Ranked
from mclrec.inference.top_k import FloatArray, merge, top_k

__all__ = ["ExactRanker", "rank_scores", "rows_at_once"]

_SCORES = 3 * 2**18
"""fp32 scores that are held at once: few enough to stay in the CPU cache during the top-k selection."""

_FEWEST_ROWS, _MOST_ROWS = 32, 1024
"""Bounds of the number of histories scored at once: with fewer, the vectors of a large catalogue are read too often."""

_FEWEST_ITEMS = 4096
"""Minimum number of items scored at once: with fewer, calls cost more than products."""


class ExactRanker:
    """Compares query vectors with all items: the score is query . item + bias, plus additions due to the history.

    Args:
        vectors: (V + 1, d) fp32, row i for item i; row 0 is never listed. May be memory-mapped.
        biases: (V + 1,) fp32, or None for none.
        gains: additions due to the history; none by default.
    """

    def __init__(
        self, vectors: FloatArray, biases: FloatArray | None = None, gains: HistoryGains | None = None
    ) -> None:
        self.vectors, self.biases, self.gains = vectors, biases, gains or HistoryGains()
        self.num_items = len(vectors) - 1

    def alone(self, query: DenseQuery) -> bool:
        """Whether only this ranker can answer a query: it has an allow-list or rules, or its history changes scores."""
        return query.allowed is not None or query.rules is not None or self.gains.change(query)

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Find the best items, in blocks of queries and of the catalogue; implements `Ranker.rank`."""
        lists: dict[int, Ranked] = {}
        for rows, candidates in _by_candidates(queries, self.num_items):
            group = [queries[row] for row in rows]
            boosts = None if group[0].rules is None else group[0].rules.boosts
            logits, weights = (boosts, None) if boosts is None or self._has_vectors else (None, boosts)
            chunks = self._score_chunks(vectors[rows], candidates, logits)
            found = _select(chunks, group, candidates, self.gains.of(group), weights)
            lists.update(zip(rows, found, strict=True))
        return [lists[row] for row in range(len(queries))]

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Rank by cosine similarity; implements `Engine.similar`.

        Raises:
            EvaluationError: all vectors are zero, as in a model whose scores are only additions.
        """
        if not self._has_vectors:
            raise EvaluationError(
                "the model has no item vectors except zeros, so it cannot find similar items"
            )
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # a zero vector has cosine NaN, and is not listed
            scores = (self.vectors @ self.vectors[item]) / (self._lengths * self._lengths[item])
        scores[item] = -np.inf
        return rank_scores(scores[None], [query])[0]

    @cached_property
    def _lengths(self) -> FloatArray:
        """(V + 1,) Euclidean lengths of the vectors."""
        lengths: FloatArray = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
        return lengths

    @cached_property
    def _has_vectors(self) -> bool:
        """Whether a vector is not zero; otherwise scores are no logits, but sums of weights from counting."""
        return bool(self._lengths[1:].any())

    def _score_chunks(
        self, vectors: FloatArray, candidates: IntArray | None, boosts: Boosts | None
    ) -> Iterator[FloatArray]:
        """Yield scores (B, some) of the candidates, chunk by chunk."""
        count = self.num_items if candidates is None else len(candidates)
        size = max(_FEWEST_ITEMS, _SCORES // max(len(vectors), 1))
        for start in range(0, count, size):
            stop = min(start + size, count)
            # A slice where possible: indexing rows by number copies them.
            ids = slice(start + 1, stop + 1) if candidates is None else candidates[start:stop]
            scores = vectors @ self.vectors[ids].T
            if self.biases is not None:
                scores += self.biases[ids]
            if boosts is not None:
                scores += boosts.logits[ids]
            yield scores


def rank_scores(scores: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
    """The best items by scores (B, V + 1) of the whole catalogue, which are not modified.

    Boosts treat these scores as counts or sums of weights.
    """
    lists: dict[int, Ranked] = {}
    for rows, candidates in _by_candidates(queries, scores.shape[1] - 1):
        ids = slice(1, None) if candidates is None else candidates
        group = [queries[row] for row in rows]
        own = scores[rows][:, ids]
        if group[0].rules is not None and group[0].rules.boosts is not None:
            own = group[0].rules.boosts.weigh(own, ids)
        lists.update(zip(rows, _select([own], group, candidates), strict=True))
    return [lists[row] for row in range(len(queries))]


def rows_at_once(items: int) -> int:
    """How many histories are scored at once against a number of items."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _SCORES // max(items, 1)))


def _by_candidates(
    queries: Sequence[DenseQuery], num_items: int
) -> Iterator[tuple[list[int], IntArray | None]]:
    """Group rows that share candidates and rules, in blocks of bounded size; candidates are distinct and sorted."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, query in enumerate(queries):
        groups.setdefault((id(query.allowed), id(query.rules)), []).append(row)  # None is one object, too
    for rows in groups.values():
        allowed = queries[rows[0]].allowed
        candidates = None if allowed is None else np.unique(allowed)
        size = rows_at_once(num_items if candidates is None else len(candidates))
        for start in range(0, len(rows), size):
            yield rows[start : start + size], candidates


def _select(
    chunks: Iterable[FloatArray],
    queries: Sequence[DenseQuery],
    candidates: IntArray | None,
    gains: Gains | None = None,
    boosts: Boosts | None = None,
) -> list[Ranked]:
    """The best items by scores of the candidates, which come in chunks (B, some) and are overwritten.

    Args:
        chunks: scores of consecutive parts of the candidates.
        queries: B queries.
        candidates: sorted dense ids; None for 1..V.
        gains: additions to scores; None for nothing.
        boosts: changes to scores that are weights, after the additions; None for none.
    """
    k = max(query.k for query in queries)
    added = None if gains is None else _candidate_gains(gains, candidates)
    everywhere, rows, columns = _left_out(queries, candidates)
    parts, start = [], 0
    for scores in chunks:
        stop = start + scores.shape[1]
        if added is not None:
            some = (added[1] >= start) & (added[1] < stop)
            np.add.at(scores, (added[0][some], added[1][some] - start), added[2][some])
        if boosts is not None:
            ids = slice(start + 1, stop + 1) if candidates is None else candidates[start:stop]
            scores = boosts.weigh(scores, ids)
        here = (columns >= start) & (columns < stop)
        scores[rows[here], columns[here] - start] = -np.inf
        if len(everywhere):
            scores[:, everywhere[(everywhere >= start) & (everywhere < stop)] - start] = -np.inf
        places, values = top_k(scores, k)
        parts.append((places + start, values))
        start = stop
    if not parts:
        return [Ranked(NO_ITEMS, np.empty(0, np.float32)) for _ in queries]
    places, scores = merge(parts, k)
    items = places + 1 if candidates is None else candidates[places]
    counts = (scores > -np.inf).sum(1).tolist()
    return [
        Ranked(items[row, : min(query.k, count)], scores[row, : min(query.k, count)])
        for row, (query, count) in enumerate(zip(queries, counts, strict=True))
    ]


def _candidate_gains(gains: Gains, candidates: IntArray | None) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, columns and values of the additions to the scores of candidates."""
    which, columns = _columns(gains.items, candidates)
    return gains.rows[which], columns, gains.values[which]


def _left_out(
    queries: Sequence[DenseQuery], candidates: IntArray | None
) -> tuple[IntArray, IntArray, IntArray]:
    """Columns of the scores that no row may list, then rows and columns of further scores that may not be listed."""
    common, everywhere = queries[0].excluded, NO_ITEMS
    if len(common) and all(query.excluded is common for query in queries):  # usually long: looked up once
        everywhere = _columns(common, candidates)[1]
        lists = [NO_ITEMS if query.include_seen else query.history for query in queries]
    else:
        lists = [query.left_out for query in queries]
    rows = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    items = lists[0] if len(lists) == 1 else np.concatenate(lists)
    if candidates is None:
        return everywhere, rows, items - 1
    which, columns = _columns(items, candidates)
    return everywhere, rows[which], columns


def _columns(items: IntArray, candidates: IntArray | None) -> tuple[IntArray, IntArray]:
    """Indices into ``items`` of the dense ids that are candidates, and the columns of these candidates."""
    if candidates is None:
        return np.arange(len(items)), items - 1
    if not len(candidates):
        return NO_ITEMS, NO_ITEMS
    columns = np.minimum(np.searchsorted(candidates, items), len(candidates) - 1)
    which = np.flatnonzero(candidates[columns] == items)
    return which, columns[which]
