from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.augment import Crop, Mask, Reorder, TwoViews, TwoViewsByLength, apply_chosen
from mclrec.data.packed import Packed
from mclrec.errors import ConfigError


@dataclass(frozen=True)
class Append:
    """Appends marks to a sequence, which identify the operator and change the length."""

    marks: tuple[int, ...]

    def __call__(self, batch: Packed, rng: np.random.Generator, /) -> Packed:
        return Packed.of([np.append(row, self.marks).astype(np.int64) for row in batch.tolist()])


MARKS = [(101,), (102, 102), (103, 103, 103)]
batches = st.lists(st.lists(st.integers(1, 50), max_size=6), max_size=12)


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_each_sequence_gets_its_own_operator(rows: list[list[int]], data: st.DataObject) -> None:
    choice = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    result = apply_chosen(
        [Append(marks) for marks in MARKS],
        np.array(choice, dtype=np.int64),
        Packed.of(rows),
        np.random.default_rng(0),
    )
    assert result.tolist() == [[*row, *MARKS[chosen]] for row, chosen in zip(rows, choice, strict=True)]
    assert result.items.dtype == result.offsets.dtype == np.int64


@settings(max_examples=60, deadline=None)
@given(batches, st.integers(0, 2**32 - 1))
def test_two_views_use_two_operators_and_keep_the_order(rows: list[list[int]], seed: int) -> None:
    views = TwoViews([Append(marks) for marks in MARKS])(Packed.of(rows), np.random.default_rng(seed))
    assert all(len(view) == len(rows) and view.offsets[0] == 0 for view in views)
    for row, first, second in zip(rows, *(view.tolist() for view in views), strict=True):
        assert first[: len(row)] == second[: len(row)] == row
        tails = tuple(first[len(row) :]), tuple(second[len(row) :])
        assert set(tails) <= set(MARKS)
        assert tails[0] != tails[1]


def test_ordered_pairs_of_operators_are_uniform() -> None:
    batch = Packed.of([[]] * 6000)
    views = TwoViews([Append(marks) for marks in MARKS])(batch, np.random.default_rng(2))
    counts = Counter(zip(*(map(tuple, view.tolist()) for view in views), strict=True))
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 36


def test_views_of_mclrec() -> None:
    rng = np.random.default_rng(3)
    rows = [[7], []] + [rng.integers(1, 500, size).tolist() for size in rng.integers(2, 50, 60)]
    batch = Packed.of(rows)
    draw = TwoViews((Crop(0.5), Mask(0.5), Reorder(0.8)))
    first, second = draw(batch, np.random.default_rng(4))
    again = draw(batch, np.random.default_rng(4))
    other, _ = draw(batch, np.random.default_rng(5))
    assert (first.tolist(), second.tolist()) == tuple(view.tolist() for view in again)
    assert other.tolist() != first.tolist()
    assert batch.tolist() == rows
    for view in (first, second):
        assert view.tolist()[:2] == rows[:2]
    for row, one, two in zip(rows[2:], first.tolist()[2:], second.tolist()[2:], strict=True):
        assert {kind(row, one), kind(row, two)} <= {"crop", "mask", "reorder"}
        assert kind(row, one) != kind(row, two)


def kind(row: list[int], view: list[int]) -> str:
    if len(view) == len(row) // 2:
        return "crop"
    return "mask" if view.count(0) == len(row) // 2 else "reorder" if sorted(view) == sorted(row) else "?"


def test_two_views_need_two_operators() -> None:
    with pytest.raises(ConfigError, match="1 given"):
        TwoViews([Crop(0.5)])


def test_views_by_length_draw_from_the_first_operators_for_short_sequences() -> None:
    marks = [Mask(1.0, token) for token in (101, 102, 103, 104)]
    batch = Packed.of([[1, 2], [1, 2, 3]] * 2000)
    first, second = TwoViewsByLength(marks, 2, 2)(batch, np.random.default_rng(0))
    for row, tokens in enumerate(([101, 102], [101, 102, 103, 104])):
        for view in (first, second):
            drawn = Counter(history[0] for history in view.tolist()[row::2])
            assert sorted(drawn) == tokens
            assert min(drawn.values()) > 0.8 * 2000 / len(tokens)
        same = [one[0] == other[0] for one, other in zip(first.tolist(), second.tolist(), strict=True)]
        assert sum(same[row::2]) / 2000 == pytest.approx(1 / len(tokens), abs=0.05)
