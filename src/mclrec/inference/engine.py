"""Engines: dense ids and dense users in, dense ids and scores out, many queries at once. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from mclrec.data.packed import IntArray, Packed
from mclrec.errors import EvaluationError
from mclrec.inference.top_k import FloatArray, merge, top_k

__all__ = [
    "DenseQuery",
    "Encoder",
    "Engine",
    "ExactRanker",
    "Ranked",
    "Ranker",
    "Scorer",
    "ScoringEngine",
    "VectorEngine",
]

_ENCODED = 1024
"""Histories encoded at once, at most: what bounds the memory of encoders."""

_SCORES = 3 * 2**18
"""fp32 scores that are held at once: they stay in a processor's cache while the best are looked for."""

_FEWEST_ROWS = 32
"""Histories scored at once where the catalogue is large: with fewer, its vectors are read too often."""

_FEWEST_ITEMS = 4096
"""Items scored at once where there are many histories: with fewer, calls cost more than products."""

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class DenseQuery:
    """A query in the model's own ids.

    Attributes:
        history: (n,) dense ids of known items, oldest first; may be empty. All of it is given: an engine reads the
            newest items that its model can take.
        k: how many items are wanted, at least 1.
        user: dense id, 0 for an unknown user or none.
        excluded: dense ids that may not be answered, in any order.
        allowed: the only dense ids that may be answered; all of them if None.
        include_seen: whether items of the history may be answered.
    """

    history: IntArray
    k: int
    user: int = 0
    excluded: IntArray = field(default_factory=lambda: _NONE)
    allowed: IntArray | None = None
    include_seen: bool = False

    @property
    def left_out(self) -> IntArray:
        """Dense ids that may not be answered: excluded ones, and seen ones unless they are included."""
        if self.include_seen:
            return self.excluded
        return np.concatenate([self.excluded, self.history]) if len(self.excluded) else self.history


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The best items for a query, by the rule of `mclrec.inference.top_k`.

    Attributes:
        items: (m,) dense ids, m <= k: fewer where no more are left.
        scores: (m,) comparable within one list; training counts where ``popular``.
        popular: whether the history was empty, so that popular items were given.
    """

    items: IntArray
    scores: FloatArray
    popular: bool = False


class Engine(Protocol):
    """A model that answers. Nothing in it changes after loading, so threads may share it."""

    @property
    def num_items(self) -> int:
        """V."""

    @property
    def max_length(self) -> int:
        """n, the newest items of a history that the model reads."""

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """One list a query, in their order, whatever mix of lengths, k and constraints they are."""

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Items by the cosine of their vectors with that of ``item``, which is not among them.

        Args:
            item: dense id.
            query: how many, and among which.

        Raises:
            EvaluationError: the model has no item vectors.
        """

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:
        """(B, d) query vectors of histories of at least one known item, and of dense users (B,).

        Raises:
            EvaluationError: the model has no vectors.
        """

    def item_vectors(self) -> FloatArray:
        """(V + 1, d) vectors by dense id; row 0 means nothing.

        Raises:
            EvaluationError: the model has no vectors.
        """


Encoder = Callable[[Packed, IntArray], FloatArray]
"""Histories of 1..n known items, and dense users (B,) -> (B, d) query vectors."""

Scorer = Callable[[Packed, IntArray], FloatArray]
"""Histories of 1..n known items, and dense users (B,) -> (B, V + 1) scores."""


class Ranker(Protocol):
    """Finds the best items for query vectors."""

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """One list for each query vector (B, d), by what its query allows."""


class ExactRanker:
    """Compares query vectors with all items: the score is query . item + bias.

    Args:
        vectors: (V + 1, d) fp32, row i for item i; row 0 is never listed. May be memory-mapped.
        biases: (V + 1,) fp32, or None for none.
    """

    def __init__(self, vectors: FloatArray, biases: FloatArray | None = None) -> None:
        self.vectors, self.biases = vectors, biases
        self.num_items = len(vectors) - 1

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Find the best items, some queries and some of the catalogue at a time; implements `Ranker.rank`."""
        lists: dict[int, Ranked] = {}
        for rows, candidates in _by_candidates(queries, self.num_items):
            group = [queries[row] for row in rows]
            chunks = self._products(vectors[rows], candidates)
            lists.update(zip(rows, _select(chunks, group, candidates), strict=True))
        return [lists[row] for row in range(len(queries))]

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Rank by cosine; implements `Engine.similar`."""
        with np.errstate(invalid="ignore", divide="ignore"):  # a vector of zeros is like none, and not listed
            scores = (self.vectors @ self.vectors[item]) / (self._lengths * self._lengths[item])
        scores[item] = -np.inf
        return _rank_scores(scores[None], [query])[0]

    @cached_property
    def _lengths(self) -> FloatArray:
        """(V + 1,) Euclidean lengths of the vectors."""
        lengths: FloatArray = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
        return lengths

    def _products(self, vectors: FloatArray, candidates: IntArray | None) -> Iterator[FloatArray]:
        """Scores (B, some) of one part of the candidates after the other."""
        count = self.num_items if candidates is None else len(candidates)
        size = max(_FEWEST_ITEMS, _SCORES // max(len(vectors), 1))
        for start in range(0, count, size):
            stop = min(start + size, count)
            # A slice where it can be: taking rows by their numbers copies them.
            ids = slice(start + 1, stop + 1) if candidates is None else candidates[start:stop]
            scores = vectors @ self.vectors[ids].T
            if self.biases is not None:
                scores += self.biases[ids]
            yield scores


class VectorEngine:
    """An `Engine` whose scores are query . item + bias.

    Args:
        encoder: makes query vectors.
        exact: compares queries with all items.
        counts: (V + 1,) training counts.
        max_length: n.
        ranker: finds the best items; ``exact`` if None.
    """

    def __init__(
        self,
        encoder: Encoder,
        exact: ExactRanker,
        counts: IntArray,
        max_length: int,
        ranker: Ranker | None = None,
    ) -> None:
        self._encoder, self._exact, self._ranker = encoder, exact, ranker or exact
        self._counts, self._max_length = counts.astype(np.float32), max_length

    @property
    def num_items(self) -> int:
        """V."""
        return self._exact.num_items

    @property
    def max_length(self) -> int:
        """n, the newest items of a history that the model reads."""
        return self._max_length

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Encode the histories and rank the items; implements `Engine.answer`."""

        def known(histories: Packed, users: IntArray, some: Sequence[DenseQuery]) -> list[Ranked]:
            return self._ranker.rank(self._encoder(histories, users), some)

        return _answers(queries, self._counts, self._max_length, known)

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Rank by the cosine of vectors; implements `Engine.similar`."""
        return self._exact.similar(item, query)

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:
        """Encode histories, some at a time; implements `Engine.query_vectors`."""
        rows = [
            np.arange(start, min(start + _ENCODED, len(users))) for start in range(0, len(users), _ENCODED)
        ]
        parts = [self._encoder(histories.take(some, self._max_length), users[some]) for some in rows]
        return np.concatenate(parts) if parts else np.empty((0, self._exact.vectors.shape[1]), np.float32)

    def item_vectors(self) -> FloatArray:
        """The catalogue's vectors; implements `Engine.item_vectors`."""
        return self._exact.vectors


class ScoringEngine:
    """An `Engine` over a model that scores all items and has no vectors.

    Args:
        scorer: makes the scores.
        counts: (V + 1,) training counts.
        max_length: n.
        name: of the model, for messages.
    """

    def __init__(self, scorer: Scorer, counts: IntArray, max_length: int, name: str) -> None:
        self._scorer, self._max_length, self._name = scorer, max_length, name
        self._counts = counts.astype(np.float32)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self._counts) - 1

    @property
    def max_length(self) -> int:
        """n, the newest items of a history that the model reads."""
        return self._max_length

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Score all items and list the best; implements `Engine.answer`."""

        def known(histories: Packed, users: IntArray, some: Sequence[DenseQuery]) -> list[Ranked]:
            lists, size = [], _rows_at_once(self.num_items)
            for start in range(0, len(some), size):
                rows = np.arange(start, min(start + size, len(some)))
                scores = self._scorer(histories.take(rows), users[rows])
                lists += _rank_scores(scores, some[start : start + size])
            return lists

        return _answers(queries, self._counts, self._max_length, known)

    def similar(self, item: int, query: DenseQuery) -> Ranked:  # noqa: ARG002 - the interface of an engine
        """Unsupported: the model has no item vectors.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self._name} has no item vectors, so that no items are similar")

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:  # noqa: ARG002 - as above
        """Unsupported: the model has no query vectors.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self._name} has no vectors")

    def item_vectors(self) -> FloatArray:
        """Unsupported: the model has no item vectors.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self._name} has no vectors")


def _answers(
    queries: Sequence[DenseQuery],
    counts: FloatArray,
    max_length: int,
    known: Callable[[Packed, IntArray, Sequence[DenseQuery]], list[Ranked]],
) -> list[Ranked]:
    """Popular items for empty histories; ``known`` answers the others, some at a time."""
    lists = _popular(queries, counts)
    lengths = np.array([len(query.history) for query in queries])
    # Histories of like length together: encoders that pad have little to pad.
    order = np.argsort(np.minimum(lengths, max_length), kind="stable")[len(lists) :].tolist()
    for start in range(0, len(order), _ENCODED):
        rows = order[start : start + _ENCODED]
        some = [queries[row] for row in rows]
        histories = Packed.of([query.history[-max_length:] for query in some])
        users = np.array([query.user for query in some], dtype=np.int64)
        lists.update(zip(rows, known(histories, users, some), strict=True))
    return [lists[row] for row in range(len(queries))]


def _popular(queries: Sequence[DenseQuery], counts: FloatArray) -> dict[int, Ranked]:
    """Lists by training counts for the queries without a history; like ones are made once."""
    lists: dict[int, Ranked] = {}
    made: dict[tuple[int, int, int], Ranked] = {}
    for row, query in enumerate(queries):
        if not len(query.history):
            key = (query.k, id(query.excluded), id(query.allowed))
            if key not in made:
                found = _rank_scores(counts[None], [query])[0]
                made[key] = Ranked(found.items, found.scores, popular=True)
            lists[row] = made[key]
    return lists


def _rank_scores(scores: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
    """The best items of scores (B, V + 1) of the whole catalogue, which are not changed."""
    lists: dict[int, Ranked] = {}
    for rows, candidates in _by_candidates(queries, scores.shape[1] - 1):
        ids = slice(1, None) if candidates is None else candidates
        group = [queries[row] for row in rows]
        lists.update(zip(rows, _select([scores[rows][:, ids]], group, candidates), strict=True))
    return [lists[row] for row in range(len(queries))]


def _rows_at_once(items: int) -> int:
    """How many histories are scored at once against so many items."""
    return max(_FEWEST_ROWS, min(_ENCODED, _SCORES // max(items, 1)))


def _by_candidates(
    queries: Sequence[DenseQuery], num_items: int
) -> Iterator[tuple[list[int], IntArray | None]]:
    """Rows that share their candidates, a bounded number at a time; the candidates are distinct and in order."""
    groups: dict[int, list[int]] = {}
    for row, query in enumerate(queries):
        groups.setdefault(id(query.allowed), []).append(row)  # None is one object, too
    for rows in groups.values():
        allowed = queries[rows[0]].allowed
        candidates = None if allowed is None else np.unique(allowed)
        size = _rows_at_once(num_items if candidates is None else len(candidates))
        for start in range(0, len(rows), size):
            yield rows[start : start + size], candidates


def _select(
    chunks: Iterable[FloatArray], queries: Sequence[DenseQuery], candidates: IntArray | None
) -> list[Ranked]:
    """The best items by scores of the candidates, which come in chunks (B, some) and may be overwritten.

    Args:
        chunks: scores of one part of the candidates after the other.
        queries: B.
        candidates: dense ids in order; None for 1..V.
    """
    k = max(query.k for query in queries)
    everywhere, rows, columns = _left_out(queries, candidates)
    parts, start = [], 0
    for scores in chunks:
        stop = start + scores.shape[1]
        here = (columns >= start) & (columns < stop)
        scores[rows[here], columns[here] - start] = -np.inf
        scores[:, everywhere[(everywhere >= start) & (everywhere < stop)] - start] = -np.inf
        places, values = top_k(scores, k)
        parts.append((places + start, values))
        start = stop
    if not parts:
        return [Ranked(_NONE, np.empty(0, np.float32)) for _ in queries]
    places, scores = merge(parts, k)
    items = places + 1 if candidates is None else candidates[places]
    counts = (scores > -np.inf).sum(1).tolist()
    return [
        Ranked(items[row, : min(query.k, count)], scores[row, : min(query.k, count)])
        for row, (query, count) in enumerate(zip(queries, counts, strict=True))
    ]


def _left_out(
    queries: Sequence[DenseQuery], candidates: IntArray | None
) -> tuple[IntArray, IntArray, IntArray]:
    """Columns of the scores that no row may list, and rows and columns of further scores that may not be listed."""
    common, everywhere = queries[0].excluded, _NONE
    if len(common) and all(query.excluded is common for query in queries):  # long, as a rule: looked up once
        everywhere = _columns(common, candidates)[1]
        seen = Packed.of([_NONE if query.include_seen else query.history for query in queries])
    else:
        seen = Packed.of([query.left_out for query in queries])
    which, columns = _columns(seen.items, candidates)
    return everywhere, seen.rows[which], columns


def _columns(items: IntArray, candidates: IntArray | None) -> tuple[IntArray, IntArray]:
    """Which of some dense ids are candidates, as places in ``items``, and where these are among the candidates."""
    if candidates is None:
        return np.arange(len(items)), items - 1
    if not len(candidates):
        return _NONE, _NONE
    columns = np.minimum(np.searchsorted(candidates, items), len(candidates) - 1)
    which = np.flatnonzero(candidates[columns] == items)
    return which, columns[which]
