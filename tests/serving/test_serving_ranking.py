"""The best items in NumPy are those that the evaluation lists, ties and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.packed import IntArray, Packed
from mclrec.evaluation.ranking import top_items
from mclrec.serving import ranking
from mclrec.serving.engine import Question
from mclrec.serving.ranking import ExactRanker, best_places, rank_scores

NOTHING = np.empty(0, dtype=np.int64)


def naive(scores: npt.NDArray[Any], k: int) -> list[int]:
    pairs = [(-float(score), place) for place, score in enumerate(scores) if score > -np.inf]
    return [place for _, place in sorted(pairs)[:k]]


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 900), st.integers(1, 20), st.sampled_from([2, 30, 10**6]))
def test_best_places(seed: int, size: int, k: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-kinds, kinds, size).astype(np.float32)
    odd = rng.random(size)
    scores[odd < 0.05] = -np.inf
    scores[(odd > 0.9) & (rng.random() < 0.5)] = np.nan
    assert best_places(scores, k).tolist() == naive(scores, k)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 700), st.integers(1, 6), st.booleans())
def test_equals_the_evaluation(seed: int, num_items: int, rows: int, biased: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (num_items + 1, 3)).astype(
        np.float32
    )  # whole numbers: exact, with many ties
    biases = rng.integers(-2, 3, num_items + 1).astype(np.float32) if biased else None
    queries = rng.integers(-2, 3, (rows, 3)).astype(np.float32)
    k = int(rng.integers(1, min(num_items, 30) + 1))
    excluded = [rng.integers(1, num_items + 1, rng.integers(0, 9)) for _ in range(rows)]
    scores = queries @ vectors.T + (0 if biases is None else biases)
    ids, values = top_items(torch.from_numpy(scores.astype(np.float32)), k, Packed.of(excluded))
    questions = [Question(NOTHING, k, bar) for bar in excluded]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_SMALLEST_CHUNK", 50)
        patch.setattr(ranking, "_CHUNK_BYTES", 1)
        chunked = ExactRanker(vectors, biases).rank(queries, questions)
    whole = ExactRanker(vectors, biases).rank(queries, questions)
    for row in range(rows):
        wanted = ids[row][ids[row] > 0].tolist()
        for answer in (chunked[row], whole[row], rank_scores(scores[row].astype(np.float32), questions[row])):
            assert answer.items.tolist() == wanted
            assert answer.scores.tolist() == values[row][: len(wanted)].tolist()


def test_each_question_has_its_own_lists_and_length() -> None:
    vectors = np.arange(11, dtype=np.float32)[:, None]
    ask = [
        Question(NOTHING, 2),
        Question(NOTHING, 3, excluded=np.array([10, 8])),
        Question(NOTHING, 5, excluded=np.array([2]), allowed=np.array([4, 2, 9, 4])),
        Question(NOTHING, 99),
        Question(NOTHING, 1, allowed=NOTHING),
    ]
    found = ExactRanker(vectors).rank(np.ones((5, 1), dtype=np.float32), ask)
    assert [answer.items.tolist() for answer in found] == [
        [10, 9],
        [9, 7, 6],
        [9, 4],
        list(range(10, 0, -1)),
        [],
    ]
    assert ExactRanker(vectors).rank(np.ones((0, 1), dtype=np.float32), []) == []


def test_similar_items_by_cosine() -> None:
    vectors = np.array([[9, 9], [1, 0], [2, 0], [1, 1], [-1, 0], [0, 0]], dtype=np.float32)
    found = ExactRanker(vectors).similar(1, 9)
    assert found.items.tolist() == [2, 3, 4]  # a vector of zeros has no direction
    assert found.scores == pytest.approx([1, 0.5**0.5, -1])


def test_the_scores_of_a_model_are_not_changed() -> None:
    scores = np.arange(5, dtype=np.float32)
    excluded: IntArray = np.array([4])
    assert rank_scores(scores, Question(NOTHING, 2, excluded)).items.tolist() == [3, 2]
    assert scores.tolist() == [0, 1, 2, 3, 4]
