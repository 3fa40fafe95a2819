"""Item-to-item weights: how they are counted, stored and added up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from unittest.mock import patch

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import sequences_of

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import distinct_items
from mclrec.models import item_item
from mclrec.models.item_item import Cells, ItemItem, ItemItemConfig, common_users

NUM_ITEMS = 6
sequences = st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=7), min_size=1, max_size=8)
histories = st.lists(st.integers(1, NUM_ITEMS), max_size=9)


def scored(model: ItemItem, *rows: Sequence[int]) -> torch.Tensor:
    return model.scores(Histories.of(Packed.of(rows)))


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(1, 30))
def test_common_users(rows: list[list[int]], pairs: int) -> None:
    data = sequences_of(rows, NUM_ITEMS)
    found = {}
    for part in common_users(distinct_items(data), NUM_ITEMS, pairs):
        for target, source, value in zip(part.targets, part.sources, part.values, strict=True):
            assert (int(source), int(target)) not in found
            found[int(source), int(target)] = int(value)
    items = range(1, NUM_ITEMS + 1)
    both = {(i, j): sum(i in row and j in row for row in rows) for i, j in product(items, items)}
    assert found == {pair: count for pair, count in both.items() if count}


def one_of_each(weights: np.ndarray) -> ItemItem:
    """A model with the weights of a matrix, given in parts and out of order."""
    model = ItemItem(ItemItemConfig(), NUM_ITEMS)
    model.popularity.copy_(torch.tensor([0, 3, 1, 4, 1, 5, 9]))
    sources, targets = np.nonzero(weights)
    mixed = np.random.default_rng(3).permutation(len(sources))
    model.keep(
        Cells(targets[part], sources[part], weights[sources[part], targets[part]])
        for part in np.array_split(mixed, 3)
    )
    return model


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), histories)
def test_scores_are_sums_over_the_set_of_items(seed: int, filled: float, history: list[int]) -> None:
    rng = np.random.default_rng(seed)
    weights = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1), dtype=np.float32)
    weights[1:, 1:] = rng.normal(size=(NUM_ITEMS, NUM_ITEMS)) * (rng.random((NUM_ITEMS, NUM_ITEMS)) < filled)
    model = one_of_each(weights)
    expected = weights[list(set(history))].sum(0)
    scores = scored(model, [3], history, [])  # other rows must not leak into this one
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores[1, 1:], expected[1:], rtol=1e-5, atol=1e-6)
    shuffled = [*rng.permutation(history).tolist(), *history[:2]]
    assert torch.equal(scored(model, shuffled)[0, 1:], scores[1, 1:])  # exactly, in any order


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(histories, max_size=4), st.integers(1, 20))
def test_many_weights_are_added_up_in_parts(seed: int, rows: list[list[int]], cells: int) -> None:
    weights = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1), dtype=np.float32)
    weights[1:, 1:] = np.random.default_rng(seed).normal(size=(NUM_ITEMS, NUM_ITEMS))
    model = one_of_each(weights)
    expected = scored(model, *rows)
    with patch.object(item_item, "_CELLS", cells):
        assert torch.equal(scored(model, *rows)[:, 1:], expected[:, 1:])


def test_items_without_a_say_are_ordered_by_popularity_between_the_weights() -> None:
    weights = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1), dtype=np.float32)
    weights[1, 2], weights[1, 5] = 1e-6, -1e-6
    model = one_of_each(weights)
    assert scored(model, [1])[0, 1:].argsort(descending=True).add(1).tolist() == [2, 6, 3, 1, 4, 5]
    by_popularity = [6, 5, 3, 1, 2, 4]
    for history in ([], [4]):
        order = scored(model, history)[0, 1:].sort(descending=True, stable=True).indices
        assert order.add(1).tolist() == by_popularity
