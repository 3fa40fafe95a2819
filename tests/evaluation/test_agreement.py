"""Agreement of measurements on the order of systems: Kendall's tau and discordant pairs."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.errors import EvaluationError
from mclrec.evaluation.agreement import changed_places, kendall_tau

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9)


@given(pairs)
def test_tau_by_the_sizes_of_ties(values: list[tuple[int, int]]) -> None:
    """Tau-b is (C - D) / sqrt((n0 - n1) (n0 - n2)), with n1 and n2 the numbers of pairs within groups of ties."""
    one, other = ([float(pair[place]) for pair in values] for place in (0, 1))
    size = len(values)
    products = [(one[a] - one[b]) * (other[a] - other[b]) for a in range(size) for b in range(a)]
    whole = size * (size - 1) / 2
    free = [whole - sum(n * (n - 1) / 2 for n in Counter(row).values()) for row in (one, other)]
    found = kendall_tau(one, other)
    if not all(free):
        assert found is None
    else:
        concordant, discordant = (sum(product * sign > 0 for product in products) for sign in (1, -1))
        assert found == pytest.approx((concordant - discordant) / math.sqrt(free[0] * free[1]))


def test_tau_of_orders() -> None:
    assert kendall_tau([1, 2, 3], [4, 5, 6]) == 1
    assert kendall_tau([1, 2, 3], [6, 5, 4]) == -1
    assert kendall_tau([1, 1], [1, 2]) is None
    assert kendall_tau([1], [1]) is None
    with pytest.raises(EvaluationError, match="order of 1 systems with that of 2"):
        kendall_tau([1], [1, 2])


@given(pairs)
def test_pairs_that_change_places_are_the_discordant_ones(values: list[tuple[int, int]]) -> None:
    one, other = ([float(pair[place]) for pair in values] for place in (0, 1))
    names = [str(number) for number in range(len(values))]
    found = changed_places(names, one, other)
    for first, second in found:
        assert one[int(first)] > one[int(second)]
        assert other[int(first)] < other[int(second)]
    size = len(values)
    count = sum((one[a] - one[b]) * (other[a] - other[b]) < 0 for a in range(size) for b in range(a))
    assert len(found) == count
