from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.cloze import append_mask, cloze
from mclrec.data.packed import Packed

MASK = 10
HISTORIES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=6)


@given(
    rows=HISTORIES,
    ratio=st.sampled_from([0.01, 0.2, 0.9]),
    last_always=st.booleans(),
    seed=st.integers(0, 99),
)
def test_hidden_items_are_the_targets(
    rows: list[list[int]], ratio: float, last_always: bool, seed: int
) -> None:
    histories = Packed.of(rows)
    masked, hidden = cloze(histories, ratio, MASK, np.random.default_rng(seed), last_always=last_always)
    assert masked.offsets.tolist() == histories.offsets.tolist()
    assert np.where(hidden > 0, hidden, masked.items).tolist() == histories.items.tolist()
    assert ((masked.items == MASK) == (hidden > 0)).all()
    for start, stop in zip(masked.offsets[:-1], masked.offsets[1:], strict=True):
        assert (hidden[start:stop] > 0).any()
        assert not last_always or hidden[stop - 1] > 0


@given(rows=HISTORIES)
def test_nothing_but_the_last(rows: list[list[int]]) -> None:
    chosen = np.arange(len(rows)) % 2 == 0
    masked, _ = cloze(Packed.of(rows), 0.9, MASK, np.random.default_rng(0), last_only=chosen)
    for row, history in enumerate(masked.tolist()):
        if chosen[row]:
            assert history == [*rows[row][:-1], MASK]


def test_the_ratio_is_kept() -> None:
    _, hidden = cloze(Packed.of([[1] * 20_000]), 0.2, MASK, np.random.default_rng(0))
    assert np.count_nonzero(hidden) / 20_000 == pytest.approx(0.2, abs=0.01)


def test_the_oldest_item_goes_only_from_a_full_history() -> None:
    appended = append_mask(Packed.of([[1], [1, 2, 3], [1, 2, 3, 4]]), MASK, 4)
    assert appended.tolist() == [[1, MASK], [1, 2, 3, MASK], [2, 3, 4, MASK]]
