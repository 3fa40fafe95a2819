"""Top-k selection in NumPy agrees with sorting and with torch on a device, ties included."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.near_items import NearItems
from mclrec.data.packed import IntArray
from mclrec.errors import EvaluationError
from mclrec.inference import exact_ranker
from mclrec.inference.engine import ScoringEngine
from mclrec.inference.exact_ranker import ExactRanker, rank_scores
from mclrec.inference.history_gains import HistoryGains, NearGains
from mclrec.inference.queries import Boosts, DenseQuery, DenseRules
from mclrec.inference.top_k import best_first, top_k
from mclrec.inference.torch_engine import DeviceRanker
from mclrec.models.item_table import ItemTable

NOTHING = np.empty(0, dtype=np.int64)


def naive(scores: npt.NDArray[Any], k: int) -> list[int]:
    pairs = [(-float(score), place) for place, score in enumerate(scores) if score > -np.inf]
    return [place for _, place in sorted(pairs)[:k]]


@settings(max_examples=150)
@given(
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.integers(1, 900),
    st.integers(1, 20),
    st.sampled_from([2, 30, 10**6]),
)
def test_top_k(seed: int, rows: int, size: int, k: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-kinds, kinds, (rows, size)).astype(np.float32)
    odd = rng.random((rows, size))
    scores[odd < 0.05] = -np.inf
    scores[(odd > 0.9) & (rng.random() < 0.5)] = np.nan
    scores[rng.random(rows) < 0.1] = rng.choice([-np.inf, np.nan, 0.0])
    before = scores.copy()
    places, values = top_k(scores, k)
    assert places.shape == values.shape == (rows, min(k, size))
    for row in range(rows):
        wanted = naive(scores[row], k)
        assert places[row, : len(wanted)].tolist() == wanted
        assert values[row, : len(wanted)].tolist() == scores[row, wanted].tolist()
        assert (values[row, len(wanted) :] == -np.inf).all()
    assert np.array_equal(scores, before, equal_nan=True)


def test_no_rows_and_no_columns() -> None:
    for shape in ((0, 5), (3, 0), (0, 0)):
        places, values = top_k(np.empty(shape, np.float32), 2)
        assert places.shape == values.shape == (shape[0], min(2, shape[1]))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 700), st.integers(1, 6), st.booleans(), st.booleans())
def test_every_ranker_lists_the_same(
    seed: int, num_items: int, rows: int, biased: bool, shared: bool
) -> None:
    rng = np.random.default_rng(seed)

    def whole(*shape: int) -> npt.NDArray[np.float32]:  # integers: exact arithmetic, with many ties
        return rng.integers(-2, 3, shape).astype(np.float32)

    vectors, queries = whole(num_items + 1, 3), whole(rows, 3)
    biases = whole(num_items + 1) if biased else None
    ids = rng.integers(1, num_items + 1, (rows + 1, 9))
    asked = [
        DenseQuery(
            ids[row, : rng.integers(0, 9)],
            int(rng.integers(1, min(num_items, 30) + 1)),
            excluded=ids[-1] if shared else ids[row, 5:],
            allowed=ids[row, 2:] if rng.random() < 0.3 else None,
            include_seen=bool(rng.random() < 0.3),
        )
        for row in range(rows)
    ]
    scores = queries @ vectors.T + (0 if biases is None else biases)
    scores = scores.astype(np.float32)
    exact = ExactRanker(vectors, biases)
    table = ItemTable(
        torch.from_numpy(vectors), num_items, None if biases is None else torch.from_numpy(biases)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_ranker, "_FEWEST_ITEMS", 50)
        patch.setattr(exact_ranker, "_SCORES", 1)
        patch.setattr(exact_ranker, "_FEWEST_ROWS", 2)
        chunked = exact.rank(queries, asked)
    found = [chunked, exact.rank(queries, asked), DeviceRanker(table, exact).rank(queries, asked)]
    found.append(rank_scores(scores, asked))
    for row, query in enumerate(asked):
        open_ = np.isin(np.arange(num_items + 1), query.excluded, invert=True)
        open_[0] = False
        if not query.include_seen:
            open_[query.history] = False
        if query.allowed is not None:
            open_ &= np.isin(np.arange(num_items + 1), query.allowed)
        wanted = naive(np.where(open_, scores[row], -np.inf), query.k)
        for answers in found:
            assert answers[row].items.tolist() == wanted
            assert answers[row].scores.tolist() == scores[row, wanted].tolist()


def test_each_query_has_its_own_lists_and_length() -> None:
    vectors = np.arange(11, dtype=np.float32)[:, None]
    asked = [
        DenseQuery(NOTHING, 2),
        DenseQuery(np.array([10]), 3, excluded=np.array([8])),
        DenseQuery(NOTHING, 5, excluded=np.array([2]), allowed=np.array([4, 2, 9, 4])),
        DenseQuery(NOTHING, 99),
        DenseQuery(NOTHING, 1, allowed=NOTHING),
        DenseQuery(np.array([10]), 1, include_seen=True),
    ]
    found = ExactRanker(vectors).rank(np.ones((6, 1), dtype=np.float32), asked)
    assert [ranked.items.tolist() for ranked in found] == [
        [10, 9],
        [9, 7, 6],
        [9, 4],
        list(range(10, 0, -1)),
        [],
        [10],
    ]
    assert ExactRanker(vectors).rank(np.ones((0, 1), dtype=np.float32), []) == []


def test_candidates_of_an_index() -> None:
    ids, scores = np.array([7, 0, 2, 9, 4]), np.array([1, 9, 1, -np.inf, 3], dtype=np.float32)
    items, values = best_first(ids, scores, np.array([4]), 5)
    assert (items.tolist(), values.tolist()) == ([2, 7], [1, 1])


@pytest.mark.parametrize(("many", "left_out"), [(1, 0), (15, 5), (64, 64), (65, 64), (500, 300)])
def test_candidates_leave_out_few_and_many_alike(many: int, left_out: int) -> None:
    rng = np.random.default_rng(many)
    for _ in range(20):
        ids = rng.permutation(2 * many)[:many]
        scores = rng.integers(0, 5, size=many).astype(np.float32)
        excluded = rng.integers(0, 2 * many, size=left_out)
        items, values = best_first(ids, scores, excluded, 10)
        pairs = zip(ids.tolist(), scores.tolist(), strict=True)
        kept = sorted((-score, item) for item, score in pairs if item and item not in set(excluded.tolist()))
        assert [(-value, item) for item, value in zip(items, values, strict=True)] == kept[:10]


def test_similar_items_by_cosine() -> None:
    vectors = np.array([[9, 9], [1, 0], [2, 0], [1, 1], [-1, 0], [0, 0]], dtype=np.float32)
    exact = ExactRanker(vectors)
    found = exact.similar(1, DenseQuery(NOTHING, 5))
    assert found.items.tolist() == [2, 3, 4]  # the zero vector has no direction
    assert found.scores == pytest.approx([1, 0.5**0.5, -1])
    assert exact.similar(1, DenseQuery(NOTHING, 5, excluded=np.array([2]))).items.tolist() == [3, 4]
    assert exact.similar(1, DenseQuery(NOTHING, 5, allowed=np.array([1, 4]))).items.tolist() == [4]


def test_without_vectors_nothing_is_similar() -> None:
    with pytest.raises(EvaluationError, match="has no item vectors except zeros"):
        ExactRanker(np.zeros((5, 2), np.float32)).similar(1, DenseQuery(NOTHING, 5))


@pytest.mark.parametrize("allowed", [None, np.array([2, 3, 4])])
def test_boosts_multiply_scores_that_are_only_counted(allowed: IntArray | None) -> None:
    """As in co-occurrence: vectors of zeros, popularity as biases, and additions by near items."""
    near = NearItems(np.array([[0], [3], [0], [0], [0]]), np.array([[0], [0.5], [0], [0], [0]], np.float32))
    gains = HistoryGains(near=NearGains(near, np.ones(1, np.float32)))
    biases = np.array([0, 0.1, 0.2, 0.3, 0.4], np.float32)
    boosts = Boosts.of(np.array([1, 1, 4, 2, 1.0]), np.array([0, 0, 0, 0, 0.05]))
    query = DenseQuery(np.array([1]), 4, allowed=allowed, rules=DenseRules(boosts))
    [found] = ExactRanker(np.zeros((5, 1), np.float32), biases, gains).rank(
        np.zeros((1, 1), np.float32), [query]
    )
    assert found.items.tolist() == [3, 2, 4]
    assert found.scores == pytest.approx([1.6, 0.8, 0.45])


def test_the_scores_of_a_model_are_not_changed() -> None:
    scores = np.arange(5, dtype=np.float32)[None]
    model = ScoringEngine(lambda histories, users: scores, np.zeros(5, np.int64), 3, "fixed")
    excluded: IntArray = np.array([4])
    [found] = model.answer([DenseQuery(np.array([1]), 2, excluded=excluded, include_seen=True)])
    assert found.items.tolist() == [3, 2]
    assert scores.tolist() == [[0, 1, 2, 3, 4]]


def test_popular_items_keep_the_constraints() -> None:
    counts = np.array([0, 3, 9, 9, 1])
    model = ScoringEngine(lambda histories, users: np.empty((0, 5), np.float32), counts, 3, "none")
    asked = [
        DenseQuery(NOTHING, 2),
        DenseQuery(NOTHING, 2, excluded=np.array([2])),
        DenseQuery(NOTHING, 3, allowed=np.array([4, 3])),
    ]
    found = model.answer([*asked, *asked])
    assert [ranked.items.tolist() for ranked in found] == [[2, 3], [3, 1], [3, 4]] * 2
    assert all(ranked.popular for ranked in found)
