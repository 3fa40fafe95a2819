"""Engines: batches of queries in dense ids in, dense ids and scores out. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mclrec.data.packed import IntArray, Packed
from mclrec.errors import EvaluationError
from mclrec.inference.exact_ranker import ExactRanker, rank_scores, rows_at_once
from mclrec.inference.group_caps import with_caps
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.top_k import FloatArray

__all__ = [
    "Encoder",
    "Engine",
    "Ranker",
    "Scorer",
    "ScoringEngine",
    "VectorEngine",
]

_ENCODED = 1024
"""Maximum number of histories encoded at once, which bounds the memory of encoders."""


class Engine(Protocol):
    """A model that answers queries. It does not change after loading, so threads may share it."""

    @property
    def num_items(self) -> int:
        """Number of items, V."""

    @property
    def max_length(self) -> int:
        """Maximum length n: how many of the newest items of a history the model reads."""

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Answer queries in order, one list per query; lengths, k and constraints may differ between them."""

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Items by cosine similarity of their vectors to that of ``item``, which is not listed itself.

        Args:
            item: dense id.
            query: number of items to list, and which items may be listed.

        Raises:
            EvaluationError: the model has no item vectors.
        """

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:
        """(B, d) query vectors of histories with at least one known item each, and dense users (B,).

        Raises:
            EvaluationError: the model has no vectors.
        """

    def item_vectors(self) -> FloatArray:
        """(V + 1, d) vectors by dense id; row 0 is unused.

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
        """One list for each query vector (B, d), subject to the constraints of its query."""


class VectorEngine:
    """An `Engine` whose scores are query . item + bias.

    Args:
        encoder: computes query vectors.
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
        """Number of items, V."""
        return self._exact.num_items

    @property
    def max_length(self) -> int:
        """Maximum length n: how many of the newest items of a history the model reads."""
        return self._max_length

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Encode the histories and rank the items; implements `Engine.answer`."""

        def known(histories: Packed, users: IntArray, some: Sequence[DenseQuery]) -> list[Ranked]:
            return self._ranker.rank(self._encoder(histories, users), some)

        return _answers(queries, self._counts, self._max_length, known)

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        """Rank by cosine similarity of vectors; implements `Engine.similar`."""
        return self._exact.similar(item, query)

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:
        """Encode histories in batches; implements `Engine.query_vectors`."""
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
        scorer: computes the scores.
        counts: (V + 1,) training counts.
        max_length: n.
        name: of the model, for messages.
    """

    def __init__(self, scorer: Scorer, counts: IntArray, max_length: int, name: str) -> None:
        self._scorer, self._max_length, self._name = scorer, max_length, name
        self._counts = counts.astype(np.float32)

    @property
    def num_items(self) -> int:
        """Number of items, V."""
        return len(self._counts) - 1

    @property
    def max_length(self) -> int:
        """Maximum length n: how many of the newest items of a history the model reads."""
        return self._max_length

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Score all items and list the best; implements `Engine.answer`."""

        def known(histories: Packed, users: IntArray, some: Sequence[DenseQuery]) -> list[Ranked]:
            lists, size = [], rows_at_once(self.num_items)
            for start in range(0, len(some), size):
                rows = np.arange(start, min(start + size, len(some)))
                scores = self._scorer(histories.take(rows), users[rows])
                lists += rank_scores(scores, some[start : start + size])
            return lists

        return _answers(queries, self._counts, self._max_length, known)

    def similar(self, item: int, query: DenseQuery) -> Ranked:  # noqa: ARG002 - the interface of an engine
        """Unsupported: the model has no item vectors.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self._name} has no item vectors, so it cannot find similar items")

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
    """Answer queries: popular items for empty histories, ``known`` for the others in batches; apply group caps."""

    def listed(some: Sequence[DenseQuery]) -> list[Ranked]:
        return _listed(some, counts, max_length, known)

    return with_caps(queries, listed)


def _listed(
    queries: Sequence[DenseQuery],
    counts: FloatArray,
    max_length: int,
    known: Callable[[Packed, IntArray, Sequence[DenseQuery]], list[Ranked]],
) -> list[Ranked]:
    """`_answers` without group caps."""
    lists = _popular(queries, counts)
    left = [row for row in range(len(queries)) if row not in lists]
    for start in range(0, len(left), _ENCODED):
        rows = left[start : start + _ENCODED]
        some = [queries[row] for row in rows]
        histories = Packed.of([query.history[-max_length:] for query in some])
        users = np.array([query.user for query in some], dtype=np.int64)
        lists.update(zip(rows, known(histories, users, some), strict=True))
    return [lists[row] for row in range(len(queries))]


def _popular(queries: Sequence[DenseQuery], counts: FloatArray) -> dict[int, Ranked]:
    """Lists by training counts for the queries without a history; equal queries share a list."""
    lists: dict[int, Ranked] = {}
    made: dict[tuple[int, int, int, int], Ranked] = {}
    for row, query in enumerate(queries):
        if not len(query.history):
            key = (query.k, id(query.excluded), id(query.allowed), id(query.rules))
            if key not in made:
                found = rank_scores(counts[None], [query])[0]
                made[key] = Ranked(found.items, found.scores, popular=True)
            lists[row] = made[key]
    return lists
