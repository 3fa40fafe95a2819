"""The blocks of HSTU against its equations, written out token by token and head by head."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.nn.test_transformer import LENGTHS, histories, padded, tensors
from torch import Tensor

from mclrec.data.packed import Packed
from mclrec.nn.packing import layout
from mclrec.nn.pointwise_attention import HSTUBlock, HSTUEncoder

SIZE, HEADS, LONGEST = 8, 2, 20


def encoder(layers: int = 2, *, last_norm: bool = False) -> HSTUEncoder:
    torch.manual_seed(3)
    made = HSTUEncoder(
        num_items=20,
        max_length=LONGEST,
        hidden_size=SIZE,
        layers=layers,
        heads=HEADS,
        dropout=0.5,
        last_norm=last_norm,
    )
    for parameter in made.parameters():  # the usual initialisation is too small to show a mistake
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval().double()


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def norm(x: Tensor) -> Tensor:
    return (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-6)


def naive(model: HSTUEncoder, items: list[int]) -> Tensor:
    """States (L, d) of one history."""
    assert model.positions is not None
    scale = math.sqrt(SIZE)
    x = [model.items.weight[item] * scale + model.positions.weight[t] for t, item in enumerate(items)]
    for block in cast("list[Any]", model.blocks):
        parts = [silu(block.uvqk.weight @ norm(token)).split(SIZE) for token in x]  # eq. 1: U, V, Q, K
        out = []
        for t, token in enumerate(x):
            heads = []
            for head in range(HEADS):
                cut = slice(SIZE // HEADS * head, SIZE // HEADS * (head + 1))
                mixed = torch.zeros(SIZE // HEADS, dtype=token.dtype)
                for s in range(t + 1):
                    score = parts[t][2][cut] @ parts[s][3][cut] + block.distances.weight[0, t - s]
                    if items[s]:
                        mixed = mixed + silu(score) / LONGEST * parts[s][1][cut]  # eq. 2
                heads.append(mixed)
            gated = norm(torch.cat(heads)) * parts[t][0]
            out.append(token + block.out.weight @ gated + block.out.bias)  # eq. 3
        x = out
    if isinstance(model.last_norm, torch.nn.LayerNorm):
        x = [norm(token) * model.last_norm.weight + model.last_norm.bias for token in x]
    return torch.stack(x)


@pytest.mark.parametrize("last_norm", [False, True])
def test_equals_the_equations(*, last_norm: bool) -> None:
    model, packed = encoder(last_norm=last_norm), histories([1, 5, 20, 3, 17, 5, 16], 0)
    expected = torch.cat([naive(model, row) for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed), "all"), expected)
    last = torch.from_numpy(packed.offsets[1:] - 1)
    torch.testing.assert_close(model.encode(*tensors(packed), "last"), expected[last])
    torch.testing.assert_close(model(*padded(packed)), expected[last])


def test_hidden_items_are_seen_by_no_token() -> None:
    model, packed = encoder(), histories([4, 9, 12, 2, 20], 1, hidden=0.5)
    assert (packed.items == 0).any()
    expected = torch.cat([naive(model, row) for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed), "all"), expected)
    last = torch.from_numpy(packed.offsets[1:] - 1)
    torch.testing.assert_close(model.encode(*tensors(packed)), expected[last])
    torch.testing.assert_close(model(*padded(packed)), expected[last])


def test_a_history_of_hidden_items_only_stays_finite() -> None:
    assert encoder().encode(*tensors(Packed.of([[0], [0, 0]])), "all").isfinite().all()


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_packed_equals_padded_in_value_and_gradient(lengths: list[int], seed: int) -> None:
    model, packed = encoder(last_norm=seed % 2 == 1), histories(lengths, seed, hidden=0.3)
    gradients = []
    for states in (model.encode(*tensors(packed)), model(*padded(packed))):
        model.zero_grad()
        states.pow(2).sum().backward()
        grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        gradients.append([states.detach(), *grads])
    assert len(gradients[0]) == 1 + len(list(model.parameters()))
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_later_items_and_other_histories_do_not_matter() -> None:
    model = encoder()
    short, long = Packed.of([[3, 4, 5]]), Packed.of([[9], [3, 4, 5, 6, 7], [2] * 12])
    alone = model.encode(*tensors(short), "all")
    torch.testing.assert_close(model.encode(*tensors(long), "all")[1:4], alone)


def test_gradients_of_a_block_are_those_of_its_values() -> None:
    torch.manual_seed(0)
    block = HSTUBlock(4, 2, 0.0, 9).double()
    plan = layout(torch.tensor([0, 2, 5]), torch.device("cpu"), 9)
    for last_only in (False, True):
        x = torch.randn(len(plan.order), 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, only=last_only: block(x, plan, None, only), x)
