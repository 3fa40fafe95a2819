"""What co-occurrence adds to scores, in torch and in NumPy, against a loop over its definition."""

from __future__ import annotations

import math
from random import Random

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
from mclrec.nn.co_occurrence import CoOccurrence, Nearness

ITEMS, LONGEST, WEIGHT = 15, 5, 3.0
DATA = tiny_data(items=ITEMS)
NEAR = near_items(DATA)
Histories = list[list[int]]

HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LONGEST), min_size=1, max_size=6)


def made(decay: float = 0.8) -> CoOccurrence:
    counted = CoOccurrence(ITEMS, LONGEST, WEIGHT)
    counted.choose(Nearness(WEIGHT, decay))
    counted.count(DATA)
    return counted


def by_loop(lists: Histories, decay: float = 0.8) -> np.ndarray:
    gains = np.zeros((len(lists), ITEMS + 1))
    for row, history in enumerate(lists):
        for distance, item in enumerate(reversed(history)):
            for other, similar in zip(NEAR.items[item], NEAR.similarities[item], strict=True):
                if other and other not in history:
                    gains[row, other] += WEIGHT * decay**distance * similar
    return gains


DECAYS = st.sampled_from([0.7, 0.8, 0.9, 1.0])


@given(HISTORIES, st.sampled_from([1, 40, 1 << 24]), DECAYS)
def test_items_near_those_of_the_history_gain(lists: Histories, marks: int, decay: float) -> None:
    items = torch.tensor([item for history in lists for item in history])
    offsets = torch.from_numpy(np.cumsum([0, *map(len, lists)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MARKS", marks)  # some histories at a time
        found = made(decay)(items, offsets)
    assert torch.equal(found.rows, found.rows.sort().values)
    assert found.offsets.tolist() == np.searchsorted(found.rows.numpy(), np.arange(len(lists) + 1)).tolist()
    wanted = by_loop(lists, decay)
    assert wanted.any()
    np.testing.assert_allclose(
        found.add_to(torch.zeros(len(lists), ITEMS + 1)).numpy(), wanted, rtol=1e-5, atol=1e-7
    )


@given(HISTORIES, st.booleans())
def test_numpy_adds_the_same(lists: Histories, longer: bool) -> None:
    counted = made()
    if longer:  # items older than the longest history that a model reads do not count
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


def test_calibration_ends_at_the_best_that_it_measured() -> None:
    counted, tried = made(), list[Nearness]()
    best = Nearness(4 * WEIGHT, 0.9)

    def measure() -> np.ndarray:
        tried.append(counted.chosen)
        assert tuple(counted.calibrated.tolist()) == counted.chosen
        at = -abs(math.log(counted.chosen.weight / best.weight)) - abs(counted.chosen.decay - best.decay)
        return np.full(50, at)

    assert counted.calibrate(measure) == counted.chosen == best
    assert tried[0] == Nearness(WEIGHT, 0.8)
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("higher", [[], [1, -1], [1, 1, -1]])
def test_what_may_be_chance_changes_nothing(higher: list[float]) -> None:
    counted = made()

    def measure() -> np.ndarray:
        values = np.zeros(20)
        values[: len(higher)] = 0 if counted.chosen == (WEIGHT, 0.8) else higher
        return values

    assert counted.calibrate(measure) == (WEIGHT, 0.8)
    assert counted.calibrated.tolist() == [WEIGHT, 0.8]


@given(st.floats(0.01, 1e6), st.randoms(use_true_random=False))
def test_calibration_never_goes_out_of_its_bounds(weight: float, random: Random) -> None:
    counted = CoOccurrence(ITEMS, LONGEST, weight)
    found = counted.calibrate(lambda: np.array([random.random()] * 3))
    assert weight / 16 <= found.weight <= weight * 16
    assert found.decay in (0.7, 0.8, 0.9, 1.0)


def test_models_of_earlier_versions_load() -> None:
    counted = made()
    counted.choose(Nearness(8.0, 0.9))
    saved = counted.state_dict()
    other = made()
    other.load_state_dict(saved)
    assert other.chosen == (8, 0.9)
    del saved["calibrated"]
    other = made()
    other.load_state_dict(saved)
    assert other.chosen == (WEIGHT, 0.8)
    with pytest.raises(RuntimeError, match="size mismatch for calibrated"):
        other.load_state_dict(saved | {"calibrated": torch.zeros(3)})
