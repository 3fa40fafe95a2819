"""What repetition adds to scores, against a loop over its definition."""

from __future__ import annotations

import math
from random import Random
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mclrec.inference.history_gains import HistoryGains
from mclrec.inference.queries import DenseQuery
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


HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), max_size=12), min_size=1, max_size=6)


@given(HISTORIES, st.floats(-5, 5), st.floats(0, 5))
def test_items_of_the_whole_history_gain_by_their_count(
    lists: list[list[int]], shift: float, weight: float
) -> None:
    module = RepeatBias(LONGEST)
    module.choose(shift, weight)
    wanted = torch.zeros(len(lists), ITEMS + 1)
    for row, history in enumerate(lists):
        for item in set(history):
            wanted[row, item] = shift + weight * math.log(history.count(item))
    items = torch.tensor([item for history in lists for item in history], dtype=torch.int64)
    found = module.of_whole(items, torch.from_numpy(np.cumsum([0, *map(len, lists)])))
    assert torch.equal(found.rows, found.rows.sort().values)
    torch.testing.assert_close(found.add_to(torch.zeros_like(wanted)), wanted)
    queries = [DenseQuery(np.array(history, dtype=np.int64), 5, include_seen=True) for history in lists]
    gains = HistoryGains(whole=module.calibrated.numpy()).of(queries)
    assert gains is not None
    again = np.zeros_like(wanted.numpy())
    np.add.at(again, (gains.rows, gains.items), gains.values)
    np.testing.assert_allclose(again, wanted, rtol=1e-5, atol=1e-5)


@given(st.integers(-12, 12), st.sampled_from([0.0, 1.0, 2.0, 4.0]))
def test_calibration_ends_at_the_best_that_it_measured(shift: int, weight: float) -> None:
    module, tried = RepeatBias(LONGEST), dict[tuple[float, float], float]()

    def measure() -> float:
        at = module.chosen
        tried[at] = -abs(at[0] - shift) - abs(at[1] - weight)
        return tried[at]

    found = module.calibrate(measure)
    assert found == module.chosen == tuple(module.calibrated.tolist()) == (shift, weight)
    assert tried[found] == max(tried.values())


def test_calibration_leaves_what_nothing_is_better_than() -> None:
    module = RepeatBias(LONGEST)
    assert module.calibrate(lambda: 0.5) == (0, 0)


@given(
    start=st.tuples(st.integers(-12, 12), st.sampled_from([0.0, 1.0, 2.0, 4.0])),
    best=st.tuples(st.integers(-14, 14), st.sampled_from([0.0, 1.0, 2.0, 4.0])),
)
def test_recalibration_climbs_from_where_it_is(start: tuple[float, float], best: tuple[float, float]) -> None:
    module, asked = RepeatBias(LONGEST), list[tuple[float, float]]()

    def measure() -> float:
        asked.append(module.chosen)
        assert module.chosen == tuple(module.calibrated.tolist())
        return -abs(module.chosen[0] - best[0]) - abs(module.chosen[1] - best[1])

    module.choose(*start)
    module.recalibrate(measure)
    assert module.chosen == (min(max(best[0], -12), 12), best[1])
    assert len(asked) == len(set(asked))
    asked.clear()
    module.recalibrate(measure)  # at the top: itself and what is beside it
    assert len(asked) <= 5


@given(st.randoms())
def test_recalibration_never_ends_lower_than_it_began(random: Random) -> None:
    module, values = RepeatBias(LONGEST), dict[tuple[float, float], float]()

    def measure() -> float:
        return values.setdefault(module.chosen, random.random())

    module.choose(2, 1)
    module.recalibrate(measure)
    assert values[module.chosen] == max(values.values()) >= values[2, 1]


def test_models_that_were_saved_before_calibration_load() -> None:
    module = RepeatBias(LONGEST)
    module.choose(3, 1)
    saved = module.state_dict()
    other = RepeatBias(LONGEST)
    other.load_state_dict(saved)
    assert other.chosen == (3, 1)
    del saved["calibrated"]
    other.load_state_dict(saved)
    assert other.chosen == (0, 0)
    with pytest.raises(RuntimeError, match="size mismatch for calibrated"):
        other.load_state_dict(saved | {"calibrated": torch.zeros(3)})
