"""Additions to some scores, against loops over their definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mclrec.losses.additions import Additions

QUERIES, CLASSES, SIZE = 7, 11, 4


def drawn(seed: int, count: int, scale: float = 1.0) -> Additions:
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randint(QUERIES, (count,), generator=rng).sort().values
    items = torch.randint(CLASSES, (count,), generator=rng)
    values = scale * torch.randn(count, generator=rng, dtype=torch.float64)
    bounds = torch.searchsorted(rows, torch.arange(QUERIES + 1))
    return Additions(bounds, rows, items, values.requires_grad_())


def dense(additions: Additions) -> Tensor:
    """The additions as a matrix, by a loop."""
    matrix = torch.zeros(QUERIES, CLASSES, dtype=torch.float64) + 0 * additions.values.sum()
    for row, item, value in zip(additions.rows, additions.items, additions.values, strict=True):
        matrix[row, item] = matrix[row, item] + value
    return matrix


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_parts_are_those_of_their_rows(size: int) -> None:
    additions = drawn(3, 25)
    matrix = dense(additions)
    for start, part in zip(range(0, QUERIES, size), additions.split(size), strict=True):
        rows = min(size, QUERIES - start)
        added = part.add_to(torch.zeros(rows, CLASSES, dtype=torch.float64))
        torch.testing.assert_close(added, matrix[start : start + rows])
        torch.testing.assert_close(additions.values[part.places], part.values)


def test_those_of_some_items_are_counted_from_the_first() -> None:
    additions = drawn(7, 30)
    part = additions.of_items(3, 8)
    torch.testing.assert_close(
        part.add_to(torch.zeros(QUERIES, 5, dtype=torch.float64)), dense(additions)[:, 3:8]
    )
    torch.testing.assert_close(additions.values[part.places], part.values)
    assert [len(one.rows) for one in part.split(1)] == torch.bincount(part.rows, minlength=QUERIES).tolist()


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 99))
def test_together_they_are_in_the_order_of_a_stable_sort(count: int, more: int, seed: int) -> None:
    first, second = drawn(seed, count), drawn(seed + 100, more)
    both = Additions.together(first, second)
    rows = torch.cat([first.rows, second.rows])
    order = rows.argsort(stable=True)
    assert torch.equal(both.rows, rows[order])
    assert torch.equal(both.items, torch.cat([first.items, second.items])[order])
    assert torch.equal(both.values, torch.cat([first.values, second.values])[order])
    assert both.values.requires_grad
    assert torch.equal(both.offsets.diff(), torch.bincount(both.rows, minlength=QUERIES))


def test_no_score_changes_by_more_than_the_most() -> None:
    additions = drawn(5, 40)
    assert additions.most() >= dense(additions).abs().max()
    assert drawn(5, 0).most() == 0
