"""ItemKNN against a naive loop."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.helpers import sequences_of

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.models.itemknn import ItemKNN, ItemKNNConfig

NUM_ITEMS = 6
ITEMS = range(1, NUM_ITEMS + 1)
sequences = st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=7), min_size=1, max_size=8)
shrinks = st.sampled_from([0.0, 1.0, 7.5])
EACH = Histories.of(Packed.of([[item] for item in ITEMS]))


def fitted(rows: list[list[int]], **config: float) -> ItemKNN:
    model = ItemKNN(ItemKNNConfig.model_validate(config), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    return model


def similarities(model: ItemKNN) -> np.ndarray:
    """The stored similarities s(i, j), (V, V): the scores of one-item histories."""
    found = model.scores(EACH)[:, 1:].double().numpy()
    return np.where(np.abs(found) < 1e-20, 0, found)


def similarity(rows: list[list[int]], i: int, j: int, shrink: float) -> float:
    both = sum(i in row and j in row for row in rows)
    product = sum(i in row for row in rows) * sum(j in row for row in rows)
    return both / (sqrt(product) + shrink) if both and i != j else 0.0


@settings(max_examples=50, deadline=None)
@given(
    sequences,
    st.lists(st.integers(1, NUM_ITEMS), max_size=8),
    st.integers(1, NUM_ITEMS + 1),
    shrinks,
    st.booleans(),
)
def test_the_papers_loop(
    rows: list[list[int]], history: list[int], neighbours: int, shrink: float, repeats: bool
) -> None:
    expected = []
    for j in ITEMS:
        nearest = sorted(ITEMS, key=lambda i: (-similarity(rows, i, j, shrink), i))[:neighbours]
        voters = [i for i in (history if repeats else set(history)) if i in nearest]
        expected.append(sum(similarity(rows, i, j, shrink) for i in voters))
    model = fitted(rows, neighbours=neighbours, shrink=shrink, repeats=repeats)
    scores = model.scores(Histories.of(Packed.of([[2], history, []])))
    np.testing.assert_allclose(scores[1, 1:], expected, rtol=1e-6, atol=1e-20)


@settings(max_examples=30, deadline=None)
@given(sequences, shrinks)
def test_with_all_neighbours_similarity_is_symmetric(rows: list[list[int]], shrink: float) -> None:
    found = similarities(fitted(rows, neighbours=NUM_ITEMS, shrink=shrink))
    assert np.array_equal(found, found.T)
    assert found.max() <= 1


@settings(max_examples=30, deadline=None)
@given(sequences, st.integers(1, 3), st.randoms(use_true_random=False))
def test_neither_the_order_of_users_nor_that_of_items_counts(
    rows: list[list[int]], neighbours: int, random: object
) -> None:
    mixed = [random.sample(row + row[:1], len(row + row[:1])) for row in rows]  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    before, after = (similarities(fitted(some, neighbours=neighbours)) for some in (rows, mixed))
    assert np.array_equal(before, after)
    assert ((before > 0).sum(0) <= neighbours).all()


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = fitted([[1, 2, 3], [2, 3], [5, 6, 1]], neighbours=1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = ItemKNN(ItemKNNConfig(), NUM_ITEMS)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    assert torch.equal(loaded.scores(EACH), model.scores(EACH))
