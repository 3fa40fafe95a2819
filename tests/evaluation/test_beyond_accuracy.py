"""Metrics beyond accuracy: each against a naive loop written from its definition, with bounds and invariances."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.packed import Packed
from mclrec.errors import EvaluationError
from mclrec.evaluation import beyond_accuracy
from mclrec.evaluation.beyond_accuracy import (
    ALPHA,
    calibration,
    category_diversity,
    coverage,
    effective_targets,
    gini,
    in_history,
    novelty,
    popularity_lift,
    repeat_share,
    unbiased_recall,
    vector_diversity,
)


class Case:
    """Random lists, some with empty places at the end, with histories, counts, vectors and categories."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.num_items = V = int(rng.integers(2, 12))
        self.k = k = int(rng.integers(1, V + 1))
        self.users = M = int(rng.integers(1, 9))
        self.lists = np.array([rng.permutation(V)[:k] + 1 for _ in range(M)])
        for row in self.lists[1:]:
            row[k - int(rng.integers(0, k + 1)) :] = 0
        self.histories = Packed.of([rng.integers(1, V + 1, size=rng.integers(1, 7)) for _ in range(M)])
        self.popularity = np.concatenate([[0], rng.integers(0, 30, size=V)])
        self.vectors = rng.normal(size=(V + 1, 3)) * (rng.random((V + 1, 1)) < 0.9)
        self.categories = Packed.of(
            [[], *(rng.permutation(4)[: rng.integers(0, 3)].tolist() for _ in range(V))]
        )
        self.targets = rng.integers(1, V + 1, size=M)
        self.hits = rng.random(M) < 0.5

    def values(self, rows: Any = slice(None)) -> list[float]:
        """All metrics of the given users, in the given order."""
        lists, targets, hits = self.lists[rows], self.targets[rows], self.hits[rows]
        histories = self.histories.take(np.arange(self.users)[rows])
        return [
            coverage(lists, self.num_items),
            gini(lists, self.num_items),
            novelty(lists, self.popularity),
            popularity_lift(lists, histories, self.popularity),
            vector_diversity(lists, self.vectors),
            category_diversity(lists, self.categories),
            calibration(lists, histories, self.categories),
            repeat_share(lists, histories),
            unbiased_recall(hits, targets, self.popularity, 0.7),
            effective_targets(targets, self.popularity, 0.7),
        ]


cases = st.builds(Case, st.integers(0, 2**32 - 1))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def same(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(cases)
def test_coverage_and_gini_as_loops(case: Case) -> None:
    counts: Counter[int] = Counter(item for row in case.lists.tolist() for item in row if item)
    same(coverage(case.lists, case.num_items), len(counts) / case.num_items)
    exposure = [counts[item] for item in range(1, case.num_items + 1)]
    differences = sum(abs(a - b) for a in exposure for b in exposure)  # by mean absolute difference
    same(gini(case.lists, case.num_items), differences / (2 * case.num_items * sum(exposure)))


@given(cases)
def test_novelty_as_a_loop(case: Case) -> None:
    total = max(1, sum(case.popularity.tolist()))
    bits = [
        -math.log2(max(1, case.popularity[item]) / total)
        for row in case.lists.tolist()
        for item in row
        if item
    ]
    same(novelty(case.lists, case.popularity), mean(bits))


@given(cases)
def test_popularity_lift_as_a_loop(case: Case) -> None:
    def popular(rows: list[list[int]]) -> float:
        return mean([mean([float(case.popularity[item]) for item in row]) for row in rows if row])

    lists = [[item for item in row if item] for row in case.lists.tolist()]
    before = popular(case.histories.tolist())
    expected = (popular(lists) - before) / before if before else math.nan
    same(popularity_lift(case.lists, case.histories, case.popularity), expected)


def diversity_loop(case: Case, vectors: np.ndarray[Any, Any]) -> float:
    values = []
    for row in case.lists.tolist():
        known = [vectors[item] for item in row if item and vectors[item].any()]
        cosines = [float(a @ b / math.sqrt(float(a @ a) * float(b @ b))) for a, b in combinations(known, 2)]
        if cosines:
            values.append(1 - mean(cosines))
    return mean(values)


@given(cases)
def test_diversity_as_a_loop_over_pairs(case: Case) -> None:
    same(vector_diversity(case.lists, case.vectors), diversity_loop(case, case.vectors))
    marks = np.zeros((case.num_items + 1, 4))
    for item, kinds in enumerate(case.categories.tolist()):
        marks[item, kinds] = 1
    same(category_diversity(case.lists, case.categories), diversity_loop(case, marks))


@given(cases)
def test_calibration_as_a_loop(case: Case) -> None:
    def distribution(items: list[int]) -> dict[int, float]:
        found: Counter[int] = Counter()
        for item in items:
            kinds = case.categories[item].tolist() if item else []
            for kind in kinds:
                found[kind] += 1 / len(kinds)  # type: ignore[assignment]
        total = sum(found.values())
        return {kind: share / total for kind, share in found.items()}

    values = []
    for row, history in zip(case.lists.tolist(), case.histories.tolist(), strict=True):
        p, q = distribution(history), distribution(row)
        if p:
            values.append(
                sum(s * math.log(s / ((1 - ALPHA) * q.get(g, 0) + ALPHA * s)) for g, s in p.items())
            )
    same(calibration(case.lists, case.histories, case.categories), mean(values))


@given(cases)
def test_repeats_as_a_loop(case: Case) -> None:
    rows = zip(case.lists.tolist(), case.histories.tolist(), strict=True)
    expected = [[bool(item) and item in history for item in row] for row, history in rows]
    assert in_history(case.lists, case.histories).tolist() == expected
    places = int((case.lists > 0).sum())
    same(repeat_share(case.lists, case.histories), sum(map(sum, expected)) / places)


@given(cases, st.floats(0, 3))
def test_unbiased_recall_as_a_loop(case: Case, gamma: float) -> None:
    weights = [1 / max(1, case.popularity[item]) ** gamma for item in case.targets.tolist()]
    hit = sum(weight for weight, hit in zip(weights, case.hits, strict=True) if hit)
    same(unbiased_recall(case.hits, case.targets, case.popularity, gamma), hit / sum(weights))
    effective = sum(weights) ** 2 / sum(weight**2 for weight in weights)
    same(effective_targets(case.targets, case.popularity, gamma), effective)


@given(cases)
def test_bounds(case: Case) -> None:
    assert 0 < coverage(case.lists, case.num_items) <= 1
    assert -1e-12 <= gini(case.lists, case.num_items) <= 1 - 1 / case.num_items + 1e-12
    assert novelty(case.lists, case.popularity) >= 0
    bounds = [
        (popularity_lift(case.lists, case.histories, case.popularity), -1, math.inf),
        (vector_diversity(case.lists, case.vectors), 0, 2),
        (category_diversity(case.lists, case.categories), 0, 1),
        (calibration(case.lists, case.histories, case.categories), 0, -math.log(ALPHA)),
        (repeat_share(case.lists, case.histories), 0, 1),
        (unbiased_recall(case.hits, case.targets, case.popularity), 0, 1),
        (effective_targets(case.targets, case.popularity), 1, case.users),
    ]
    for value, low, high in bounds:
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9


@given(cases, st.randoms())
def test_the_order_of_users_changes_nothing(case: Case, rng: Any) -> None:
    rows = list(range(case.users))
    rng.shuffle(rows)
    assert case.values(np.array(rows)) == pytest.approx(case.values(), abs=1e-9, nan_ok=True)


@given(cases)
def test_identical_lists_cover_k_of_v(case: Case) -> None:
    lists = np.tile(case.lists[:1], (5, 1))
    assert coverage(lists, case.num_items) == case.k / case.num_items
    same(gini(lists, case.num_items), 1 - case.k / case.num_items)


@given(cases)
def test_the_history_as_list_is_calibrated_and_no_lift(case: Case) -> None:
    lists = np.array([history[:1] for history in case.histories.tolist()])
    histories = Packed.of(lists.tolist())
    same(popularity_lift(lists, histories, case.popularity), 0 if case.popularity[lists].any() else math.nan)
    assert repeat_share(lists, histories) == 1
    known = case.categories.lengths[lists].any()
    same(calibration(lists, histories, case.categories), 0 if known else math.nan)


@given(cases)
def test_gamma_zero_is_plain_recall(case: Case) -> None:
    same(unbiased_recall(case.hits, case.targets, case.popularity, 0), float(case.hits.mean()))


@given(cases)
def test_chunks_change_nothing(case: Case) -> None:
    whole = case.values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond_accuracy, "_CELLS", 5)
        assert case.values() == pytest.approx(whole, abs=1e-12, nan_ok=True)


def test_by_hand() -> None:
    lists, histories = np.array([[1, 2], [1, 3]]), Packed.of([[1], [4]])
    popularity = np.array([0, 8, 4, 2, 2])
    assert coverage(lists, 4) == 0.75
    assert gini(lists, 4) == pytest.approx(0.375)  # counts 0 1 1 2
    assert novelty(lists, popularity) == (1 + 2 + 1 + 3) / 4
    assert popularity_lift(lists, histories, popularity) == pytest.approx((5.5 - 5) / 5)
    assert repeat_share(lists, histories) == 0.25
    kinds = Packed.of([[], [0], [0], [1], [1]])
    assert category_diversity(lists, kinds) == 0.5
    expected = (0 + math.log(1 / (0.99 / 2 + 0.01))) / 2
    assert calibration(lists, histories, kinds) == pytest.approx(expected)
    hits, targets = np.array([True, False]), np.array([1, 3])
    assert unbiased_recall(hits, targets, popularity) == pytest.approx((1 / 8) / (1 / 8 + 1 / 2))


def test_what_cannot_be_measured_is_refused() -> None:
    lists, nobody = np.array([[1, 2]]), Packed.of([])
    popularity = np.array([0, 1, 1])
    with pytest.raises(EvaluationError, match=r"expected \(M, k\) lists of items, got shape \(0, 2\)"):
        coverage(lists[:0], 2)
    with pytest.raises(EvaluationError, match="a list contains item 2, but there are only 1"):
        gini(lists, 1)
    with pytest.raises(EvaluationError, match="1 lists need as many histories, not 0"):
        repeat_share(lists, nobody)
    with pytest.raises(EvaluationError, match="gamma = -1: must be a number of at least 0"):
        unbiased_recall(np.array([True]), np.array([1]), popularity, -1)
    with pytest.raises(EvaluationError, match="alpha = 0: must be between 0 and 1"):
        calibration(lists, Packed.of([[1]]), Packed.of([[], [0], [0]]), 0)
    assert math.isnan(repeat_share(np.array([[0, 0]]), Packed.of([[1]])))
