"""The best items for query vectors, exactly, in NumPy: what engines share, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray
from mclrec.serving.engine import Answer, FloatArray, Question

__all__ = ["ExactRanker", "best_places", "chosen", "rank_scores"]

_CHUNK_BYTES = 3 * 2**20
"""Scores that are held at once: they stay in a processor's cache while the best are looked for."""

_SMALLEST_CHUNK = 4096
"""Items: with fewer, calls cost more than products."""

_BLOCK = 64
"""Scores of which only the highest is looked at first."""


class ExactRanker:
    """Scores are query . item + bias; the best of them, as `mclrec.evaluation.ranking.top_items` lists them.

    Args:
        vectors: (V + 1, d) fp32, row i for item i; row 0 is never listed. May be memory-mapped.
        biases: (V + 1,) fp32, or None for none.
    """

    def __init__(self, vectors: FloatArray, biases: FloatArray | None = None) -> None:
        self.vectors, self.biases = vectors, biases
        self.num_items = len(vectors) - 1

    def rank(self, queries: FloatArray, questions: Sequence[Question]) -> list[Answer]:
        """The best items for each query (B, d), by what its question allows. Memory is bounded."""
        answers: list[Answer | None] = [
            None if question.allowed is None else self._among(query, question)
            for query, question in zip(queries, questions, strict=True)
        ]
        rows = [row for row, answer in enumerate(answers) if answer is None]
        found = self._whole(queries[rows], [questions[row] for row in rows]) if rows else []
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
        return [answer for answer in answers if answer is not None]

    def similar(self, item: int, k: int) -> Answer:
        """The k items whose vectors have the highest cosine with that of ``item``, without itself."""
        vector = self.vectors[item]
        with np.errstate(invalid="ignore", divide="ignore"):  # a vector of zeros is like none, and not listed
            scores = (self.vectors @ vector) / (self._lengths * self._lengths[item])
        return rank_scores(scores, Question(np.empty(0, np.int64), k, excluded=np.array([item])))

    @cached_property
    def _lengths(self) -> FloatArray:
        """(V + 1,) of the vectors."""
        lengths: FloatArray = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
        return lengths

    def _whole(self, queries: FloatArray, questions: Sequence[Question]) -> list[Answer]:
        """Among the whole catalogue, one chunk of items after the other."""
        size = max(_SMALLEST_CHUNK, _CHUNK_BYTES // (4 * len(queries)))
        parts: list[list[tuple[IntArray, FloatArray]]] = [[] for _ in questions]
        excluded = [np.sort(question.excluded) for question in questions]
        for start in range(1, self.num_items + 1, size):
            stop = min(start + size, self.num_items + 1)
            scores = queries @ self.vectors[start:stop].T  # (B, chunk)
            if self.biases is not None:
                scores += self.biases[start:stop]
            for row, question in enumerate(questions):
                first, last = np.searchsorted(excluded[row], [start, stop])
                scores[row, excluded[row][first:last] - start] = -np.inf
                places = best_places(scores[row], question.k)
                parts[row].append((places + start, scores[row, places]))
        return [_merged(part, question.k) for part, question in zip(parts, questions, strict=True)]

    def _among(self, query: FloatArray, question: Question) -> Answer:
        """Among an allow-list, which alone is scored."""
        assert question.allowed is not None
        ids = np.setdiff1d(question.allowed, question.excluded)  # sorted, each once
        scores = self.vectors[ids] @ query
        if self.biases is not None:
            scores += self.biases[ids]
        places = best_places(scores, question.k)
        return Answer(ids[places], scores[places])


def rank_scores(scores: FloatArray, question: Question) -> Answer:
    """The best items by scores (V + 1,) of all of them, by what the question allows."""
    if question.allowed is not None:
        ids = np.setdiff1d(question.allowed, question.excluded)
        places = best_places(scores[ids], question.k)
        return Answer(ids[places], scores[ids][places])
    kept = scores[1:].copy()
    kept[question.excluded - 1] = -np.inf
    places = best_places(kept, question.k)
    return Answer(places + 1, kept[places])


def chosen(ids: IntArray, scores: FloatArray, question: Question) -> Answer:
    """Of candidates in any order, those that are not barred, in order; id 0 and -inf stand for none."""
    kept = (ids > 0) & (scores > -np.inf) & np.isin(ids, question.excluded, invert=True)
    ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[: question.k]
    return Answer(ids[order], scores[order])


def best_places(scores: FloatArray, k: int) -> IntArray:
    """Places of the k highest scores (m,), the highest first; of equal ones the lower place comes first.

    NaN and -inf are left out. The k-th highest among the maxima of blocks is no higher than the k-th highest of all,
    so that all but a few scores are done with after one comparison.
    """
    blocks = len(scores) // _BLOCK
    if blocks <= k:
        return _sorted_places(scores, np.flatnonzero(scores > -np.inf), k)
    highest = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(1)
    if np.isnan(highest).any():  # maxima say nothing then
        return _sorted_places(scores, np.flatnonzero(scores > -np.inf), k)
    bound = np.partition(highest, blocks - k)[blocks - k]
    near = scores >= bound if bound > -np.inf else scores > -np.inf
    return _sorted_places(scores, np.flatnonzero(near), k)


def _sorted_places(scores: FloatArray, places: npt.NDArray[np.intp], k: int) -> IntArray:
    """The best k of rising places; partition first, because a sort of many takes long."""
    values = scores[places]
    if len(places) > 4 * k:
        worst = np.partition(values, len(values) - k)[len(values) - k]
        kept = values >= worst
        places, values = places[kept], values[kept]
    best: IntArray = places[np.argsort(-values, kind="stable")[:k]]
    return best


def _merged(parts: Sequence[tuple[IntArray, FloatArray]], k: int) -> Answer:
    """The best of what chunks gave, in rising order of ids from chunk to chunk."""
    if len(parts) == 1:
        return Answer(*parts[0])
    ids, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((ids, -scores))[:k]
    return Answer(ids[order], scores[order])
