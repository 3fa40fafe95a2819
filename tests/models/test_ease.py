"""EASE against the paper's equations."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tests.helpers import sequences_of

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.errors import ResourceError, TrainingError
from mclrec.models import sizes
from mclrec.models.ease import EASE, EASEConfig

NUM_ITEMS = 6
sequences = st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=7), min_size=1, max_size=8)
penalties = st.sampled_from([0.5, 3.0, 100.0])
EACH = Histories.of(Packed.of([[item] for item in range(1, NUM_ITEMS + 1)]))


def fitted(rows: list[list[int]], **config: float | None) -> EASE:
    model = EASE(EASEConfig.model_validate(config), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    return model


def weights(model: EASE) -> np.ndarray:
    """B (V, V): the scores of one-item histories, without the tiny values that order items without weights."""
    found = model.scores(EACH)[:, 1:].double().numpy()
    return np.where(np.abs(found) < 1e-20, 0, found)


def gram(rows: list[list[int]]) -> np.ndarray:
    found = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for row, i, j in product(rows, range(NUM_ITEMS), range(NUM_ITEMS)):
        found[i, j] += i + 1 in row and j + 1 in row
    return found


@settings(max_examples=50, deadline=None)
@given(sequences, penalties, st.lists(st.integers(1, NUM_ITEMS), max_size=6))
def test_the_papers_equation(rows: list[list[int]], penalty: float, history: list[int]) -> None:
    inverse = np.linalg.inv(gram(rows) + penalty * np.eye(NUM_ITEMS))
    expected = np.zeros(NUM_ITEMS)
    for i, j in product({item - 1 for item in history}, range(NUM_ITEMS)):
        expected[j] += 0.0 if i == j else -inverse[i, j] / inverse[j, j]
    scores = fitted(rows, **{"lambda": penalty}).scores(Histories.of(Packed.of([[2], history, []])))
    np.testing.assert_allclose(scores[1, 1:], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(sequences, penalties)
def test_the_solution_satisfies_the_constrained_normal_equations(
    rows: list[list[int]], penalty: float
) -> None:
    """(X'X + lambda I) B = X'X - diag(gamma), where diag(B) = 0: the gradient is zero off the diagonal."""
    found, counts = weights(fitted(rows, **{"lambda": penalty})), gram(rows)
    assert not found.diagonal().any()
    rest = (counts + penalty * np.eye(NUM_ITEMS)) @ found - counts
    np.testing.assert_allclose(rest - np.diag(rest.diagonal()), 0, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(sequences, st.integers(1, NUM_ITEMS + 2))
def test_neighbours_keep_the_largest_weights_of_each_column(rows: list[list[int]], neighbours: int) -> None:
    whole, part = weights(fitted(rows)), weights(fitted(rows, neighbours=neighbours))
    assert ((part == 0) | np.isclose(part, whole, rtol=1e-5)).all()
    kept = np.sort(np.abs(part), axis=0)[::-1]
    largest = np.sort(np.abs(whole), axis=0)[::-1]
    largest[neighbours:] = 0
    np.testing.assert_allclose(kept, largest, rtol=1e-5, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(sequences, st.randoms(use_true_random=False))
def test_neither_the_order_of_users_nor_that_of_items_counts(rows: list[list[int]], random: object) -> None:
    mixed = [random.sample(row + row[:1], len(row + row[:1])) for row in rows]  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert np.array_equal(weights(fitted(rows)), weights(fitted(mixed)))


@pytest.mark.parametrize("neighbours", [None, 2])
def test_saved_and_loaded(tmp_path: Path, neighbours: int | None) -> None:
    model = fitted([[1, 2, 3], [2, 3], [5, 6, 1]], neighbours=neighbours)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = EASE(model.config, NUM_ITEMS)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    assert torch.equal(loaded.scores(EACH), model.scores(EACH))


def test_a_matrix_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_memory", lambda: 16 * NUM_ITEMS**2 - 1)
    with pytest.raises(
        ResourceError, match="EASE inverts a matrix whose rows and columns are 6 items, which takes"
    ):
        fitted([[1, 2]], neighbours=2)


@pytest.mark.parametrize("penalty", [1e-320, 1e-310, 1e-300, 1e-20])
def test_a_penalty_that_is_lost_in_rounding_is_refused(penalty: float) -> None:
    rows = [[1, 2, 3], [1, 2], [1, 2, 3, 4]]  # 1 and 2 have the same users; 5 and 6 have none
    with pytest.raises(TrainingError, match=r"^lambda = \S+: too small for EASE to invert"):
        fitted(rows, **{"lambda": penalty})


@given(sequences, st.floats(5e-324, 1e-3))
def test_whatever_the_penalty_weights_are_numbers_or_it_is_refused(
    rows: list[list[int]], penalty: float
) -> None:
    with suppress(TrainingError):
        assert np.isfinite(weights(fitted(rows, **{"lambda": penalty}))).all()


def test_settings_are_checked() -> None:
    for wrong in ({"lambda": 0.0}, {"neighbours": 0}, {"max_length": 0}):
        with pytest.raises(ValidationError):
            EASEConfig.model_validate(wrong)
