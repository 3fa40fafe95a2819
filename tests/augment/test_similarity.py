from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.augment import similarity
from mclrec.augment.similarity import Nearest, by_users, by_vectors, either
from mclrec.data.packed import Packed

ITEMS = 9
ROWS = st.lists(st.lists(st.integers(1, ITEMS), max_size=8), min_size=1, max_size=8)


def naive(rows: list[list[int]]) -> dict[int, dict[int, float]]:
    """Item-CF with inverse user frequency, pair by pair."""
    users = [set(row) for row in rows]
    found: dict[int, dict[int, float]] = {}
    for i in range(1, ITEMS + 1):
        for j in range(1, ITEMS + 1):
            both = [user for user in users if {i, j} <= user]
            if i != j and both:
                weight = sum(1 / math.log(1 + len(user)) for user in both)
                holders = math.prod(sum(item in user for user in users) for item in (i, j))
                found.setdefault(i, {})[j] = weight / math.sqrt(holders)
    return found


@settings(deadline=None)
@given(rows=ROWS)
def test_by_users_equals_naive_loops(rows: list[list[int]]) -> None:
    nearest, expected = by_users(Packed.of(rows), ITEMS), naive(rows)
    best = {item: max(others.values()) for item, others in expected.items()}
    for item in range(1, ITEMS + 1):
        if item not in expected:
            assert (nearest.items[item], nearest.scores[item]) == (item, 0)
            continue
        assert expected[item][int(nearest.items[item])] == pytest.approx(best[item])
        lowest, highest = min(best.values()), max(best.values())
        scaled = (best[item] - lowest) / max(highest - lowest, 1e-12)
        assert nearest.scores[item] == pytest.approx(scaled, abs=1e-6)


@given(rows=ROWS)
def test_little_memory_changes_nothing(rows: list[list[int]]) -> None:
    whole = by_users(Packed.of(rows), ITEMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_PAIRS", 5)
        parts = by_users(Packed.of(rows), ITEMS)
    assert parts.items.tolist() == whole.items.tolist()
    np.testing.assert_allclose(parts.scores, whole.scores)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_by_vectors_equals_naive_loops(chunk: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(ITEMS + 1, 4)).astype(np.float32)
    nearest = by_vectors(vectors, chunk)
    products = vectors @ vectors.T
    for item in range(1, ITEMS + 1):
        others = {j: products[item, j] for j in range(1, ITEMS + 1) if j != item}
        assert nearest.items[item] == max(others, key=lambda j: others[j])
    assert (nearest.scores[1:].min(), nearest.scores[1:].max()) == (0, 1)


def test_the_more_similar_proposal_wins() -> None:
    one = Nearest(np.array([0, 2, 3, 1]), np.array([0, 0.9, 0.1, 0.5]))
    other = Nearest(np.array([0, 3, 1, 2]), np.array([0, 0.8, 0.2, 0.5]))
    assert either(one, other).items.tolist() == [0, 2, 1, 1]
