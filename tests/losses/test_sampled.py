from __future__ import annotations

import math

import pytest
import torch

from mclrec.losses.sampled import (
    binary_cross_entropy,
    bpr,
    bpr_max,
    generalised_cross_entropy,
    sampled_softmax,
    top1_max,
)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("drawn", [None, 3])
def test_equal_naive_loops(drawn: int | None) -> None:
    torch.manual_seed(0)
    positive = torch.randn(6, dtype=torch.float64)
    negative = torch.randn(6 if drawn is None else (6, drawn), dtype=torch.float64)
    cross_entropy = ranking = 0.0
    for target, others in zip(positive.tolist(), negative.reshape(6, -1).tolist(), strict=True):
        cross_entropy -= math.log(sigmoid(target))
        for other in others:
            cross_entropy -= math.log(1 - sigmoid(other))
            ranking -= math.log(sigmoid(target - other))
    assert binary_cross_entropy(positive, negative).item() == pytest.approx(cross_entropy)
    assert bpr(positive, negative).item() == pytest.approx(ranking)


def test_stay_finite_for_hopeless_scores() -> None:
    positive = torch.tensor([-1e4], requires_grad=True)
    negative = torch.tensor([1e4], requires_grad=True)
    assert binary_cross_entropy(positive, negative).item() == 2e4
    assert bpr(positive, negative).item() == 2e4
    total = binary_cross_entropy(positive, negative) + bpr(positive, negative)
    assert [gradient.item() for gradient in torch.autograd.grad(total, [positive, negative])] == [-2, 2]


def test_losses_by_the_hardest_negatives_equal_naive_loops() -> None:
    torch.manual_seed(0)
    positive, negative = torch.randn(6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    negative[0, 1] = -math.inf  # stands for no negative
    by_bpr = by_top1 = 0.0
    for target, others in zip(positive.tolist(), negative.tolist(), strict=True):
        total = sum(math.exp(other) for other in others)
        weights = [math.exp(other) / total for other in others]
        others = [other for other in others if other > -math.inf]
        weights = [weight for weight in weights if weight]
        pairs = list(zip(weights, others, strict=True))
        by_bpr -= math.log(sum(weight * sigmoid(target - other) for weight, other in pairs))
        by_bpr += 0.7 * sum(weight * other**2 for weight, other in pairs)
        by_top1 += sum(weight * (sigmoid(other - target) + sigmoid(other**2)) for weight, other in pairs)
    assert bpr_max(positive, negative, 0.7).item() == pytest.approx(by_bpr)
    assert top1_max(positive, negative).item() == pytest.approx(by_top1)


def test_a_negative_that_is_none_has_no_gradient() -> None:
    positive = torch.tensor([1e4, -1e4], requires_grad=True)
    scores = torch.tensor([[0.0, 1e4], [1e4, 1e4]], requires_grad=True)
    negative = scores.masked_fill(torch.tensor([[False, True], [False, False]]), -math.inf)
    for loss in (bpr_max(positive, negative, 0.0), top1_max(positive, negative)):
        of_positive, of_scores = torch.autograd.grad(loss, [positive, scores], retain_graph=True)
        assert of_positive.isfinite().all()
        assert of_scores.isfinite().all()
        assert of_scores[0, 1] == 0


@pytest.mark.parametrize("calibration", [0.0, 0.4, 1.0])
def test_gbce_equals_a_naive_loop(calibration: float) -> None:
    torch.manual_seed(0)
    positive, negative = torch.randn(6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    rate, expected = 0.25, 0.0
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    assert beta == pytest.approx({0.0: 1.0, 0.4: 0.7, 1.0: rate}[calibration])
    for target, others in zip(positive.tolist(), negative.tolist(), strict=True):
        likely = math.log(sigmoid(target) ** beta)
        expected -= (likely + sum(math.log(1 - sigmoid(other)) for other in others)) / 5
    assert generalised_cross_entropy(positive, negative, rate, calibration).item() == pytest.approx(expected)


def test_sampled_softmax_equals_a_naive_loop() -> None:
    torch.manual_seed(0)
    positive, negative = torch.randn(6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    counts, expected = [0.5, 2.0, 0.1, 1.0], 0.0
    negative[2, 1] = -math.inf  # the target itself
    for target, others in zip(positive.tolist(), negative.tolist(), strict=True):
        total = sum(math.exp(other) / count for other, count in zip(others, counts, strict=True))
        expected -= math.log(math.exp(target) / (math.exp(target) + total))
    log_counts = torch.tensor(counts, dtype=torch.float64).log()
    assert sampled_softmax(positive, negative, log_counts).item() == pytest.approx(expected)


def test_sampled_softmax_tends_to_the_softmax_over_everything() -> None:
    """The correction makes up for unequal drawing probabilities."""
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(30, generator=rng, dtype=torch.float64)
    chances = torch.rand(30, generator=rng, dtype=torch.float64) + 0.05
    chances /= chances.sum()
    drawn = torch.multinomial(chances, 200_000, replacement=True, generator=rng)
    negative = scores[drawn].masked_fill(drawn == 4, -math.inf)
    found = sampled_softmax(scores[4:5], negative.unsqueeze(0), (200_000 * chances[drawn]).log())
    assert found.item() == pytest.approx(-scores.log_softmax(0)[4].item(), rel=1e-2)


def test_a_target_with_nothing_to_compare_it_with_adds_nothing() -> None:
    """With few draws or a steep popularity, every item drawn for the batch may be the target itself."""
    torch.manual_seed(0)
    positive, negative = torch.randn(3), torch.randn(3, 2)
    targets = torch.tensor([[False], [True], [False]])
    for loss in (
        lambda own, drawn: bpr_max(own, drawn, 0.7),
        top1_max,
        lambda own, drawn: sampled_softmax(own, drawn, torch.zeros(2)),
    ):
        own, drawn = positive.clone().requires_grad_(), negative.clone().requires_grad_()
        total = loss(own, drawn.masked_fill(targets, -math.inf))
        torch.testing.assert_close(total, loss(positive[[0, 2]], negative[[0, 2]]))
        for gradient in torch.autograd.grad(total, [own, drawn]):
            assert bool(gradient.isfinite().all())
            assert not gradient[1].any()
