"""Detection of a plateau in a validation curve."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mclrec.training.early_stopping import on_plateau


def test_a_dip_does_not_end_a_rise() -> None:
    # Yelp, SASRec with relative positions: the 14th of these epochs is the first best, and the curve rose later.
    curve = [126, 220, 294, 354, 398, 426, 445, 458, 461, 465, 471, 470, 475, 477, 474, 475, 476, 476, 477]
    assert not any(on_plateau(curve[:epoch], 7) for epoch in range(len(curve)))


def test_the_end_of_a_rise_and_a_decline() -> None:
    rise = [float(epoch) for epoch in range(1, 21)]
    level = [*rise, *[20.0] * 40]
    stopped = next(epoch for epoch in range(len(level) + 1) if on_plateau(level[:epoch], 7))
    assert 27 <= stopped <= 34
    assert on_plateau([*rise, *(20 - epoch for epoch in range(1, 15))], 7)


@given(st.lists(st.floats(0, 1), max_size=13))
def test_two_means_are_needed(values: list[float]) -> None:
    assert not on_plateau(values, 7)


@given(st.integers(1, 9), st.floats(0.001, 1))
def test_a_level_curve_is_one(patience: int, value: float) -> None:
    assert on_plateau([value] * (2 * patience), patience)
