"""The nearest items of each item, against a loop over the definition."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import sequences_of

from mclrec.data import near_items as module
from mclrec.data.near_items import near_items

ITEMS = 6
Rows = list[list[int]]

ROWS = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=25), min_size=1, max_size=6)


def by_loop(rows: Rows) -> dict[int, list[tuple[float, int]]]:
    """Negated similarity and id of the items near each item, nearest first."""
    counts = {item: sum(row.count(item) for row in rows) for item in range(1, ITEMS + 1)}
    near: dict[tuple[int, int], int] = {}
    for row in rows:
        for place, item in enumerate(row):
            for other_place, other in enumerate(row):
                apart = abs(place - other_place)
                if item != other and apart <= 10:
                    twentieths = (11 - apart) * (2 if other_place > place else 1)
                    near[item, other] = near.get((item, other), 0) + twentieths
    found: dict[int, list[tuple[float, int]]] = {item: [] for item in counts}
    for (item, other), twentieths in near.items():
        found[item].append((-twentieths / 20 / (sqrt(counts[item] * counts[other]) + 5), other))
    return {item: sorted(others) for item, others in found.items()}


@given(ROWS, st.sampled_from([1, 2, 100]), st.sampled_from([20, 1 << 21]))
def test_nearest_items(rows: Rows, kept: int, pairs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAIRS", pairs)  # a few items at a time
        found = near_items(sequences_of(rows, ITEMS), kept)
    assert found.items.shape == found.similarities.shape == (ITEMS + 1, kept)
    for item, others in by_loop(rows).items():
        wanted = others[:kept]
        assert found.items[item, : len(wanted)].tolist() == [other for _, other in wanted]
        np.testing.assert_allclose(
            found.similarities[item, : len(wanted)], [-similar for similar, _ in wanted], rtol=1e-6
        )
        assert not found.items[item, len(wanted) :].any()
        assert not found.similarities[item, len(wanted) :].any()
    assert not found.items[0].any()
