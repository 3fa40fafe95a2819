"""What repetition adds to scores, against a loop over its definition."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mclrec.nn.repeats import RepeatBias

LONGEST, ITEMS = 5, 9


@given(st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LONGEST), min_size=1, max_size=6))
@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("outputs", ["last", "all"])
def test_every_item_gains_the_numbers_of_its_places(
    outputs: Literal["last", "all"], step: int, lists: list[list[int]]
) -> None:
    module = RepeatBias(LONGEST)
    torch.nn.init.normal_(module.by_distance)
    torch.nn.init.normal_(module.common)
    items = torch.tensor([item for history in lists for item in history])
    offsets = torch.from_numpy(np.cumsum([0, *map(len, lists)]))
    seen = lists if outputs == "last" else [row[: place + 1] for row in lists for place in range(len(row))]
    seen = seen[::step]
    wanted = torch.zeros(len(seen), ITEMS + 1)
    for row, history in enumerate(seen):
        for distance, item in enumerate(reversed(history)):
            wanted[row, item] += module.values()[distance].detach()
    found = module(items, offsets, outputs, step)
    assert torch.equal(found.rows, found.rows.sort().values)
    torch.testing.assert_close(found.add_to(torch.zeros_like(wanted)).detach(), wanted)


@given(
    st.floats(-20, 20),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
def test_calibration_ends_at_the_best_that_it_measured(peak: float, learned: list[float]) -> None:
    module = RepeatBias(3)
    with torch.no_grad():
        module.by_distance.copy_(torch.tensor(learned))
    before, tried = module.values().detach(), dict[float, float]()

    def measure() -> float:
        by = float((module.values().detach() - before).mean())
        tried[round(by)] = -abs(by - peak)
        return tried[round(by)]

    shift = module.calibrate(measure)
    assert shift == max(tried, key=lambda by: tried[by])
    assert abs(shift) <= 12
    if abs(peak) <= 12:
        assert abs(shift - peak) <= 0.51
    torch.testing.assert_close(module.values().detach(), before + shift)


def test_calibration_leaves_what_nothing_is_better_than() -> None:
    module = RepeatBias(3)
    before = module.values().detach().clone()
    assert module.calibrate(lambda: 0.5) == 0
    assert torch.equal(module.values(), before)
