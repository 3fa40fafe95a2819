"""What co-occurrence adds to scores, in torch and in NumPy, against a loop over its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data

from mclrec.data.near_items import NearItems, near_items
from mclrec.inference.history_gains import NearGains
from mclrec.inference.queries import DenseQuery
from mclrec.nn import co_occurrence as module
from mclrec.nn.co_occurrence import CoOccurrence

ITEMS, LONGEST, WEIGHT = 15, 5, 3.0
DATA = tiny_data(items=ITEMS)
NEAR = near_items(DATA)
Histories = list[list[int]]

HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LONGEST), min_size=1, max_size=6)


def made() -> CoOccurrence:
    counted = CoOccurrence(ITEMS, LONGEST, WEIGHT)
    counted.count(DATA)
    return counted


def by_loop(lists: Histories) -> np.ndarray:
    gains = np.zeros((len(lists), ITEMS + 1))
    for row, history in enumerate(lists):
        for distance, item in enumerate(reversed(history)):
            for other, similar in zip(NEAR.items[item], NEAR.similarities[item], strict=True):
                if other and other not in history:
                    gains[row, other] += WEIGHT * 0.8**distance * similar
    return gains


@given(HISTORIES, st.sampled_from([1, 40, 1 << 24]))
def test_items_near_those_of_the_history_gain(lists: Histories, marks: int) -> None:
    items = torch.tensor([item for history in lists for item in history])
    offsets = torch.from_numpy(np.cumsum([0, *map(len, lists)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MARKS", marks)  # some histories at a time
        found = made()(items, offsets)
    assert torch.equal(found.rows, found.rows.sort().values)
    assert found.offsets.tolist() == np.searchsorted(found.rows.numpy(), np.arange(len(lists) + 1)).tolist()
    wanted = by_loop(lists)
    assert wanted.any()
    np.testing.assert_allclose(
        found.add_to(torch.zeros(len(lists), ITEMS + 1)).numpy(), wanted, rtol=1e-5, atol=1e-7
    )


@given(HISTORIES, st.booleans())
def test_numpy_adds_the_same(lists: Histories, longer: bool) -> None:
    counted = made()
    if longer:  # what is older than the longest history that a model reads has no say
        lists = [(history * LONGEST)[:LONGEST] for history in lists]
    items = torch.tensor([item for history in lists for item in history])
    wanted = counted(items, torch.from_numpy(np.cumsum([0, *map(len, lists)])))
    gains = NearGains(NearItems(NEAR.items, NEAR.similarities), counted.by_distance().numpy())
    found = gains.of([DenseQuery(np.array([ITEMS, 1] * longer + history), 3) for history in lists])
    scores = np.zeros((len(lists), ITEMS + 1), dtype=np.float32)
    scores[found.rows, found.items] = found.values
    torch.testing.assert_close(
        torch.from_numpy(scores), wanted.add_to(torch.zeros(scores.shape)), rtol=1e-6, atol=1e-7
    )


def test_no_history() -> None:
    found = made()(torch.zeros(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    assert len(found.rows) == len(found.items) == len(found.values) == 0
    assert found.offsets.tolist() == [0]
