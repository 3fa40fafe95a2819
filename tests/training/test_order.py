import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.training.order import Order


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
    """Where a number goes says nothing about it, nor about its neighbour."""
    count, sides = 1 << 18, 32
    numbers = computed(count - 77, seed).part(0, count)
    cells = (np.arange(len(numbers)) * sides // count) * sides + numbers * sides // count
    steps = np.diff(numbers) % count * sides**2 // count
    for kinds in (cells, steps):
        seen = np.bincount(kinds, minlength=sides**2)
        chi_squared = ((seen - len(kinds) / sides**2) ** 2).sum() / (len(kinds) / sides**2)
        assert abs(chi_squared - sides**2) < 6 * np.sqrt(2 * sides**2)
