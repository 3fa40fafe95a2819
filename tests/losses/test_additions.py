"""Additions to some scores, against loops over their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mclrec.losses.additions import Additions
from mclrec.losses.softmax import chunked_linear_cross_entropy

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


@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(1, 9), st.sampled_from([0.1, 3.0, 100.0]))
def test_the_loss_and_its_gradients_are_those_of_the_dense_matrix(
    seed: int, count: int, chunk: int, scale: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    queries = torch.randn(QUERIES, SIZE, generator=rng, dtype=torch.float64).requires_grad_()
    weight = torch.randn(CLASSES, SIZE, generator=rng, dtype=torch.float64).requires_grad_()
    bias = torch.randn(CLASSES, generator=rng, dtype=torch.float64).requires_grad_()
    targets = torch.randint(CLASSES, (QUERIES,), generator=rng)
    additions = drawn(seed, count, scale)
    inputs = [queries, weight, bias, additions.values]
    wanted = F.cross_entropy(F.linear(queries, weight, bias) + dense(additions), targets, reduction="sum")
    found = chunked_linear_cross_entropy(queries, weight, bias, targets, chunk=chunk, additions=additions)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs), torch.autograd.grad(wanted, inputs, materialize_grads=True)
    )


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_parts_are_those_of_their_rows(size: int) -> None:
    additions = drawn(3, 25)
    matrix = dense(additions)
    for start, part in zip(range(0, QUERIES, size), additions.split(size), strict=True):
        rows = min(size, QUERIES - start)
        added = part.add_to(torch.zeros(rows, CLASSES, dtype=torch.float64))
        torch.testing.assert_close(added, matrix[start : start + rows])
        torch.testing.assert_close(additions.values[part.places], part.values)


@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from([(), (1,), (5,)]))
def test_pairs_and_columns_are_those_of_the_dense_matrix(
    seed: int, count: int, trailing: tuple[int, ...]
) -> None:
    additions, rng = drawn(seed, count), torch.Generator().manual_seed(seed)
    matrix = dense(additions)
    ids = torch.randint(CLASSES, (QUERIES, *trailing), generator=rng)
    wanted = matrix.gather(1, ids.view(QUERIES, -1)).view(ids.shape)
    torch.testing.assert_close(additions.to_pairs(ids), wanted)
    columns = torch.randint(CLASSES, (int(torch.randint(9, (), generator=rng)),), generator=rng)
    found = additions.to_columns(columns)
    torch.testing.assert_close(found, matrix[:, columns])
    torch.testing.assert_close(
        torch.autograd.grad((found.sin().sum() + additions.to_pairs(ids).cos().sum()), additions.values),
        torch.autograd.grad(matrix[:, columns].sin().sum() + wanted.cos().sum(), additions.values),
    )


def test_no_score_changes_by_more_than_the_most() -> None:
    additions = drawn(5, 40)
    assert additions.most() >= dense(additions).abs().max()
    assert drawn(5, 0).most() == 0
