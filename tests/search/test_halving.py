"""Successive halving: which candidates survive a rung, which one wins, and how many fit into the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.search.halving import (
    RECIPE,
    affordable,
    epochs_to_come,
    first_rung,
    going_on,
    smoothed,
    winner_of,
)

VALUES = st.dictionaries(st.integers(2, 9), st.floats(0, 1), max_size=7)


@given(VALUES, st.floats(0, 1))
def test_the_recipe_and_the_better_half_go_on(others: dict[int, float], own: float) -> None:
    kept = going_on({RECIPE: own, **others}, RECIPE)
    assert kept[0] == RECIPE
    assert len(kept) - 1 == -(-len(others) // 2)
    left = others.keys() - set(kept)
    assert all(others[one] >= others[other] for one in kept[1:] for other in left)


@given(VALUES, st.floats(0, 1))
def test_what_wins_is_the_best_by_more_than_chance_or_the_recipe(
    others: dict[int, float], own: float
) -> None:
    values = {RECIPE: own, **others}
    winner = winner_of(values, RECIPE)
    if winner == RECIPE:
        assert max(values.values()) <= 1.005 * own
    else:
        assert values[winner] == max(values.values())
        assert values[winner] > 1.005 * own


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 80))
def test_a_smoothed_value_is_one_that_the_curve_keeps_up(curve: list[float], epochs: int) -> None:
    value = smoothed(curve, epochs)
    assert min(curve) - 1e-12 <= value <= max(curve[:epochs]) + 1e-12
    assert value == smoothed(curve[:epochs], epochs)


def test_one_lucky_epoch_does_not_win() -> None:
    steady, lucky = [0.10] * 10, [0.05] * 5 + [0.2] + [0.05] * 4
    assert smoothed(steady, 10) > smoothed(lucky, 10)
    falling = [0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05]
    assert smoothed(falling, 10) == pytest.approx(0.1)  # training keeps its best epochs


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=8),
    st.floats(0, 1e4),
    st.integers(1, 20),
    st.integers(0, 60),
)
def test_more_time_allows_no_fewer_candidates(
    seconds: list[float], left: float, rung: int, further: int
) -> None:
    count = affordable(seconds, left, rung, further)
    assert 1 <= count <= len(seconds)
    assert affordable(seconds, left * 2, rung, further) >= count
    assert affordable(seconds, 0, rung, further) == 1


def test_the_cost_of_a_search() -> None:
    # One second per epoch: three others to epoch 5, the recipe and two others to 10, the recipe and one to 20, 20 more.
    assert affordable([1, 1, 1, 1], 3 * 5 + 3 * 5 + 2 * 10 + 20, 5, 35) == 4
    assert affordable([1, 1, 1, 1], 3 * 5 + 3 * 5 + 2 * 10 + 19, 5, 35) < 4
    # If the first is already fully trained, only the others cost anything.
    assert affordable([0, 1, 1, 1], 3 * 5 + 2 * 5 + 1 * 10 + 20, 5, 35) == 4
    assert affordable([0, 1, 1, 1], 3 * 5 + 2 * 5 + 1 * 10 + 19, 5, 35) < 4


def test_rungs_count_in_patience() -> None:
    assert (first_rung(7, 200), first_rung(7, 4), first_rung(7, 1)) == (7, 2, 1)
    assert (epochs_to_come(7, 7, 200), epochs_to_come(7, 7, 10), epochs_to_come(90, 7, 200)) == (35, 3, 0)
