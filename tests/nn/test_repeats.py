"""What repetition adds to scores, against a loop over its definition."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mclrec.inference.history_gains import HistoryGains
from mclrec.inference.queries import DenseQuery
from mclrec.nn.repeats import Chosen, RepeatBias

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


@given(HISTORIES, st.builds(Chosen, st.floats(-5, 5), st.floats(0, 5), st.floats(0, 5)))
def test_items_of_the_whole_history_gain_by_count_and_recency(lists: list[list[int]], chosen: Chosen) -> None:
    module = RepeatBias(LONGEST)
    module.choose(chosen)
    wanted = torch.zeros(len(lists), ITEMS + 1)
    for row, history in enumerate(lists):
        for item in set(history):
            newest = max(place for place, other in enumerate(history) if other == item)
            share = len(history) / (len(history) - newest)
            wanted[row, item] = (
                chosen.returns
                + chosen.frequency * math.log(history.count(item))
                + chosen.recency * math.log(share)
            )
    items = torch.tensor([item for history in lists for item in history], dtype=torch.int64)
    found = module.of_whole(items, torch.from_numpy(np.cumsum([0, *map(len, lists)])))
    assert torch.equal(found.rows, found.rows.sort().values)
    torch.testing.assert_close(found.add_to(torch.zeros_like(wanted)), wanted, rtol=1e-5, atol=1e-5)
    queries = [DenseQuery(np.array(history, dtype=np.int64), 5, include_seen=True) for history in lists]
    gains = HistoryGains(whole=module.calibrated.numpy()).of(queries)
    assert gains is not None
    again = np.zeros_like(wanted.numpy())
    np.add.at(again, (gains.rows, gains.items), gains.values)
    np.testing.assert_allclose(again, wanted, rtol=1e-5, atol=1e-5)


WEIGHTS = st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0])


def distance(one: Chosen, other: Chosen) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


@given(st.builds(Chosen, st.integers(-12, 12), WEIGHTS, WEIGHTS))
def test_calibration_ends_at_the_best_that_it_measured(best: Chosen) -> None:
    module, tried = RepeatBias(LONGEST), list[Chosen]()

    def measure() -> float:
        tried.append(module.chosen)
        return -distance(module.chosen, best)

    found = module.calibrate(measure)
    assert found == module.chosen == tuple(module.calibrated.tolist()) == best
    assert tried[0] == Chosen()  # which the run reports as the value before calibration
    assert len(tried) == len(set(tried))


def test_calibration_leaves_what_nothing_is_better_than() -> None:
    module = RepeatBias(LONGEST)
    assert module.calibrate(lambda: 0.5) == Chosen()


@given(
    start=st.builds(Chosen, st.integers(-12, 12), WEIGHTS, WEIGHTS),
    best=st.builds(Chosen, st.integers(-14, 14), WEIGHTS, WEIGHTS),
)
def test_recalibration_climbs_from_where_it_is(start: Chosen, best: Chosen) -> None:
    module, asked = RepeatBias(LONGEST), list[Chosen]()

    def measure() -> float:
        asked.append(module.chosen)
        assert module.chosen == tuple(module.calibrated.tolist())
        return -distance(module.chosen, best)

    module.choose(start)
    module.recalibrate(measure)
    assert module.chosen == best._replace(returns=min(max(best.returns, -12), 12))
    assert len(asked) == len(set(asked))
    asked.clear()
    module.recalibrate(measure)  # at the optimum: itself and its neighbours
    assert len(asked) <= 7


@given(st.randoms())
def test_recalibration_never_ends_lower_than_it_began(random: Random) -> None:
    module, values = RepeatBias(LONGEST), dict[Chosen, float]()

    def measure() -> float:
        return values.setdefault(module.chosen, random.random())

    start = Chosen(2, 1, 4)
    module.choose(start)
    module.recalibrate(measure)
    assert values[module.chosen] == max(values.values()) >= values[start]


def test_models_of_earlier_versions_load() -> None:
    module = RepeatBias(LONGEST)
    module.choose(Chosen(3, 1, 2))
    saved = module.state_dict()
    other = RepeatBias(LONGEST)
    other.load_state_dict(saved)
    assert other.chosen == (3, 1, 2)
    other.load_state_dict(saved | {"calibrated": torch.tensor([3.0, 1.0])})  # saved before recency existed
    assert other.chosen == (3, 1, 0)
    del saved["calibrated"]
    other.load_state_dict(saved)
    assert other.chosen == (0, 0, 0)
    with pytest.raises(RuntimeError, match="size mismatch for calibrated"):
        other.load_state_dict(saved | {"calibrated": torch.zeros(4)})


def test_exports_of_earlier_versions_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.array([1, 2], dtype=np.float32))
    whole = HistoryGains.read(tmp_path, ["whole.npy"]).whole
    assert whole is not None
    assert whole.tolist() == [1, 2, 0]
