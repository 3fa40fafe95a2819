import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mclrec.nn.augmenters import AttentionAugmenter, ConvolutionAugmenter, MLPAugmenter


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def naive(layers: list[nn.Linear], row: list[float]) -> list[float]:
    """Three layers with GELU between, unit by unit, then length 1."""
    for number, layer in enumerate(layers):
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        row = [
            b + sum(w * x for w, x in zip(line, row, strict=True))
            for line, b in zip(weight, bias, strict=True)
        ]
        row = row if number == len(layers) - 1 else [gelu(x) for x in row]
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def test_equals_the_naive_loop() -> None:
    torch.manual_seed(0)
    augmenter, hidden = MLPAugmenter(8).double(), torch.randn(5, 8, dtype=torch.float64)
    layers = [layer for layer in augmenter.layers if isinstance(layer, nn.Linear)]
    expected = torch.tensor([naive(layers, row.tolist()) for row in hidden], dtype=torch.float64)
    torch.testing.assert_close(augmenter(hidden), expected)


def test_widths_are_the_official_codes() -> None:
    layers = [layer for layer in MLPAugmenter(64).layers if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] + [layers[-1].out_features] == [64, 32, 16, 64]


def test_unit_length_whatever_the_scale() -> None:
    torch.manual_seed(0)
    for scale in (1e-3, 1.0, 1e3):
        lengths = MLPAugmenter(16)(scale * torch.randn(9, 16)).norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones(9))


@pytest.mark.parametrize("make", [AttentionAugmenter, ConvolutionAugmenter])
@pytest.mark.parametrize("hidden_size", [16, 10])
def test_the_other_kinds_have_length_one_and_see_the_whole_vector(
    make: Callable[[int], nn.Module], hidden_size: int
) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(5, hidden_size, requires_grad=True)
    out = make(hidden_size)(hidden)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(5))
    (gradient,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), hidden)
    assert (gradient != 0).all()
