"""Engines without torch of their own: what encodes histories, or scores them, is given to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mclrec.data.packed import IntArray, Packed
from mclrec.errors import EvaluationError
from mclrec.serving.engine import Answer, FloatArray, Question
from mclrec.serving.ranking import ExactRanker, rank_scores

__all__ = ["Encoder", "Ranker", "Scorer", "ScoringEngine", "VectorEngine"]

_ROWS = 256
"""Histories encoded or scored at once, at most: what bounds memory."""

Encoder = Callable[[Packed], FloatArray]
"""Histories of 1..n known items -> (B, d) query vectors."""

Scorer = Callable[[Packed], FloatArray]
"""Histories of 1..n known items -> (B, V + 1) scores."""


class Ranker(Protocol):
    """Finds the best items for query vectors."""

    def rank(self, queries: FloatArray, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each query (B, d), by what its question allows."""


class VectorEngine:
    """An `Engine` whose scores are query . item + bias.

    Args:
        encoder: makes query vectors.
        exact: compares queries with all items.
        counts: (V + 1,) training counts.
        max_length: n.
        ranker: finds the best items where it need not be exact; ``exact`` if None.
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

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Engine.answer`."""

        def known(histories: Packed, asked: Sequence[Question]) -> list[Answer]:
            return self._ranker.rank(self._encoder(histories), asked)

        return _answers(questions, self._counts, self._max_length, known)

    def similar(self, item: int, k: int) -> Answer:
        """See `Engine.similar`."""
        return self._exact.similar(item, k)


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

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Engine.answer`."""

        def known(histories: Packed, asked: Sequence[Question]) -> list[Answer]:
            rows = zip(self._scorer(histories), asked, strict=True)
            return [rank_scores(scores, question) for scores, question in rows]

        return _answers(questions, self._counts, self._max_length, known)

    def similar(self, item: int, k: int) -> Answer:  # noqa: ARG002 - the interface of an engine
        """Not to be had.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self._name} has no item vectors, so that no items are similar")


def _answers(
    questions: Sequence[Question],
    counts: FloatArray,
    max_length: int,
    known: Callable[[Packed, Sequence[Question]], list[Answer]],
) -> list[Answer]:
    """Popular items for empty histories; ``known`` answers the others, some at a time."""
    answers: dict[int, Answer] = {}
    rows = []
    for row, question in enumerate(questions):
        if len(question.history):
            rows.append(row)
        else:
            popular = rank_scores(counts, question)
            answers[row] = Answer(popular.items, popular.scores, popular=True)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        histories = Packed.of([questions[row].history[-max_length:] for row in some])
        answers.update(zip(some, known(histories, [questions[row] for row in some]), strict=True))
    return [answers[row] for row in range(len(questions))]
