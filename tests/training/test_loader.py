"""The batches of an epoch: each example once, the same batches from any start, and errors of the thread raised."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import tiny_data
from torch import Tensor

from mclrec.augment.operators import Crop, Reorder
from mclrec.augment.views import TwoViews
from mclrec.data.batches import Batch
from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray
from mclrec.models.phases import NextItem, Phase, next_item_examples
from mclrec.training.loader import EpochBatches, Order

CPU = torch.device("cpu")
USUAL = Phase((), next_item_examples("prefixes", 8), NextItem(TwoViews((Crop(0.5), Reorder(0.8)))))
EXAMPLES = USUAL.examples(tiny_data())


@dataclass(frozen=True)
class Watched:
    """A collate function that records the rows of each batch and fails at batch ``bad``."""

    rows: tuple[list[int], ...]
    bad: int

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        if len(self.rows[0]) == self.bad:
            raise RuntimeError("the views are broken")
        self.rows[0].append(len(rows))
        self.rows[1].extend(rows.tolist())
        return USUAL.collate(examples, rows, rng)


def watched(bad: int = -1) -> tuple[Phase, Watched]:
    collate = Watched(([], []), bad)
    return replace(USUAL, collate=collate), collate


def epoch(phase: Phase = USUAL, size: int = 16, key: tuple[int, int, int] = (1, 0, 1)) -> EpochBatches:
    return EpochBatches(phase, EXAMPLES, size, key, CPU)


def content(batch: Batch) -> list[Tensor]:
    views = [tensor for view in batch.views for tensor in (view.items, view.offsets)]
    return [batch.histories.items, batch.histories.offsets, batch.histories.users, batch.targets, *views]


@given(st.integers(1, len(EXAMPLES) + 3))
@settings(max_examples=15)
def test_every_example_comes_once(size: int) -> None:
    phase, seen = watched()
    batches = epoch(phase, size)
    numbers = [number for number, _ in batches.starting_at(0)]
    assert numbers == list(range(len(batches)))
    assert sorted(seen.rows[1]) == list(range(len(EXAMPLES)))
    assert set(seen.rows[0][:-1]) <= {size}


@given(st.integers(0, 20))
@settings(max_examples=8)
def test_a_start_in_the_middle_gives_the_same_batches(start: int) -> None:
    whole = dict(epoch().starting_at(0))
    rest = dict(epoch().starting_at(start))
    assert rest.keys() == set(range(start, len(whole)))
    for number, batch in rest.items():
        assert all(map(torch.equal, content(batch), content(whole[number])))


@pytest.mark.parametrize("key", [(2, 0, 1), (1, 1, 1), (1, 0, 2)])
def test_seed_phase_and_epoch_change_order_and_views(key: tuple[int, int, int]) -> None:
    first, other = epoch(), epoch(key=key)
    assert first._order.part(0, 16).tolist() != other._order.part(0, 16).tolist()
    other._order = first._order  # same examples, so that only the views differ
    views, others = first.prepare(0).views[0].items, other.prepare(0).views[0].items
    assert not torch.equal(views, others)


def test_one_batch_is_prepared_ahead_in_a_thread() -> None:
    phase, seen = watched()
    batches = epoch(phase).starting_at(0)
    assert next(batches)[0] == 0
    assert threading.active_count() > 1
    batches.close()  # type: ignore[attr-defined]
    assert len(seen.rows[0]) <= 2  # nothing beyond it
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("bad", [0, 1, 5])
def test_an_error_of_the_thread_comes_out_at_its_batch(bad: int) -> None:
    batches = epoch(watched(bad)[0]).starting_at(0)
    assert [next(batches)[0] for _ in range(bad)] == list(range(bad))
    with pytest.raises(RuntimeError, match="the views are broken"):
        next(batches)


def test_targets_weigh_the_same_in_a_smaller_last_batch() -> None:
    phase = replace(USUAL, examples=next_item_examples("sequences", 8))
    examples = phase.examples(tiny_data())
    batches = [batch for _, batch in EpochBatches(phase, examples, 7, (1, 0, 1), CPU).starting_at(0)]
    assert sum(batch.count for batch in batches) == pytest.approx(examples.num_targets)
    share = batches[0].count / len(batches[0])
    assert [batch.count / len(batch) for batch in batches] == pytest.approx([share] * len(batches))
    assert len(batches[-1]) < len(batches[0])


def computed(count: int, seed: int = 0) -> Order:
    return Order(count, np.random.default_rng(seed), held=0)


@given(st.integers(1, 3000), st.integers(0, 9))
@settings(max_examples=40)
def test_computed_numbers_are_a_permutation(count: int, seed: int) -> None:
    order = computed(count, seed)
    assert len(order) == count
    assert np.array_equal(np.sort(order.part(0, count)), np.arange(count))


def test_parts_are_those_of_the_whole() -> None:
    order = computed(1000)
    whole = order.part(0, 1000)
    parts = [order.part(start, start + 64) for start in range(0, 1000, 64)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(computed(1000, 1).part(0, 1000), whole)


def test_few_are_permuted_as_numpy_does() -> None:
    order, expected = Order(50, np.random.default_rng(3)), np.random.default_rng(3).permutation(50)
    assert order.part(10, 99).tolist() == expected[10:].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_computed_numbers_look_random(seed: int) -> None:
    """The position of a number is independent of its value and of its neighbour, by chi-squared tests."""
    count, sides = 1 << 18, 32
    numbers = computed(count - 77, seed).part(0, count)
    cells = (np.arange(len(numbers)) * sides // count) * sides + numbers * sides // count
    steps = np.diff(numbers) % count * sides**2 // count
    for kinds in (cells, steps):
        seen = np.bincount(kinds, minlength=sides**2)
        chi_squared = ((seen - len(kinds) / sides**2) ** 2).sum() / (len(kinds) / sides**2)
        assert abs(chi_squared - sides**2) < 6 * np.sqrt(2 * sides**2)
