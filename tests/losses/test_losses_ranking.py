from __future__ import annotations

import math

import pytest
import torch

from mclrec.losses.ranking import binary_cross_entropy, bpr


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
