from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import plain_losses
from torch import Tensor
from torch.nn import functional

from mclrec.losses.contrastive import (
    ViewPairs,
    info_nce,
    info_nce_of,
    regularizer_official,
    regularizer_paper,
)

PAIRS = ((0, 1), (0, 3), (1, 2), (2, 3))


def make_views(batch: int, seed: int = 0, scale: float = 1.0, count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (scale * torch.randn(batch, 5, dtype=torch.float64, generator=generator)).requires_grad_()
        for _ in range(count)
    ]


def assert_same(views: list[Tensor], actual: Tensor, expected: Tensor) -> None:
    """Equal values, and equal gradients of a weighted sum of them."""
    torch.testing.assert_close(actual, expected)
    weights = torch.arange(1.0, actual.numel() + 1, dtype=torch.float64).reshape(actual.shape)
    gradients = [
        torch.autograd.grad((loss * weights).sum(), views, materialize_grads=True)
        for loss in (actual, expected)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert any(gradient.abs().max() > 1e-6 for gradient in gradients[0])


@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_info_nce_equals_the_double_loop(batch: int, temperature: float) -> None:
    views = make_views(batch, count=2)
    x1, x2 = views
    assert_same(views, info_nce(x1, x2, temperature), plain_losses.info_nce(x1, x2, temperature))


@pytest.mark.parametrize(
    ("together", "naive"),
    [
        (info_nce_of, plain_losses.info_nce),
        (regularizer_official, plain_losses.official_r),
        (regularizer_paper, plain_losses.paper_r),
    ],
)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [2, 6])
def test_pairs_share_blocks_and_change_nothing(
    together: Callable[[ViewPairs], Tensor], naive: Callable[[Tensor, Tensor], Tensor], seed: int, batch: int
) -> None:
    views = make_views(batch, seed)
    expected = torch.stack([naive(views[one], views[other]) for one, other in PAIRS])
    assert_same(views, together(ViewPairs.of(views, PAIRS)), expected)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=4).map(lambda later: sorted([6, *later], reverse=True)),
    st.integers(0, 99),
    st.sampled_from([1.0, 0.3]),
)
def test_parts_are_views_with_zeros(rows: list[int], seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.randn(4, count, 3, dtype=torch.float64, generator=generator).requires_grad_() for count in rows
    ]
    for loss in (info_nce_of, regularizer_official, regularizer_paper):
        whole = torch.cat([functional.pad(part, (0, 0, 0, 6 - part.shape[1])) for part in parts], 2)
        expected = loss(ViewPairs.of(list(whole), PAIRS, temperature))
        assert_same(parts, loss(ViewPairs.of_parts(parts, PAIRS, temperature)), expected)


@pytest.mark.parametrize("regularizer", [regularizer_official, regularizer_paper])
def test_r_of_separated_views_is_the_width_of_the_gap(regularizer: Callable[[ViewPairs], Tensor]) -> None:
    # Orthogonal sequences: all positives are 1 and all negatives 0, a gap of 1 and a distance of means of 1.
    views = torch.eye(4, dtype=torch.float64)
    assert regularizer(ViewPairs.of((views, views), ((0, 1),))).tolist() == [2.0]


def test_equal_views_cannot_be_told_apart() -> None:
    same = torch.ones(8, 3, dtype=torch.float64)
    assert info_nce(same, same).item() == pytest.approx(math.log(15))
    assert regularizer_official(ViewPairs.of((same, same), ((0, 1),))).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [info_nce_of, regularizer_official, regularizer_paper])
def test_a_batch_of_one_has_no_contrast(loss: Callable[[ViewPairs], Tensor]) -> None:
    views = make_views(1)
    value = loss(ViewPairs.of(views, PAIRS))
    assert value.tolist() == [0, 0, 0, 0]
    for gradient in torch.autograd.grad(value.sum(), views):
        assert not gradient.any()


@pytest.mark.parametrize("loss", [info_nce_of, regularizer_official, regularizer_paper])
def test_large_products_stay_finite(loss: Callable[[ViewPairs], Tensor]) -> None:
    views = [view.detach().float().requires_grad_() for view in make_views(5, scale=100.0)]
    value = loss(ViewPairs.of(views, PAIRS))
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value.sum(), views))


def test_the_precision_of_the_mean_does_not_suffer_from_its_shortcut() -> None:
    views = [view.detach() for view in make_views(256, scale=8.0)]
    exact = regularizer_official(ViewPairs.of(views, PAIRS))
    single = regularizer_official(ViewPairs.of([view.float() for view in views], PAIRS))
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


def test_autocast_does_not_round_inner_products() -> None:
    views = [view.detach().float() for view in make_views(4, scale=4.0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = info_nce_of(ViewPairs.of(views, PAIRS))
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, info_nce_of(ViewPairs.of(views, PAIRS)))
    halves = ViewPairs.of([view.bfloat16() for view in views], PAIRS)
    assert halves.log_sums.dtype == torch.float32


def test_views_without_gradient_get_none() -> None:
    h1, h2, z1, z2 = make_views(4)
    loss = info_nce_of(ViewPairs.of((h1.detach(), h2.detach(), z1, z2), PAIRS)).sum()
    loss.backward()
    assert h1.grad is None
    assert z1.grad is not None
    assert z1.grad.abs().sum() > 0
