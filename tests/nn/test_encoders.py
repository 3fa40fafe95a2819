"""The recurrent and the convolutional encoder; the transformer has a test file of its own."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.nn.encoders import ConvolutionEncoder, GRUEncoder, _by_time, _recurrence

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=7)
KINDS = ["gru", "convolution"]


def encoder(kind: str) -> GRUEncoder | ConvolutionEncoder:
    torch.manual_seed(3)
    made = (
        GRUEncoder(num_items=20, hidden_size=6, inner_size=5, layers=2)
        if kind == "gru"
        else ConvolutionEncoder(num_items=20, hidden_size=6)
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval().double()


def histories(lengths: list[int]) -> Histories:
    rng = np.random.default_rng(0)
    return Histories.of(Packed.of([rng.integers(0, 22, size=length) for length in lengths]))  # 0 is hidden


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(lengths=LENGTHS)
def test_packed_equals_padded(kind: str, lengths: list[int]) -> None:
    made, batch = encoder(kind), histories(lengths)
    every = made.encode(batch.items, batch.offsets, "all")
    last = made.encode(batch.items, batch.offsets)
    torch.testing.assert_close(last, made(*batch.padded()))
    torch.testing.assert_close(every[batch.offsets[1:] - 1], last)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_knows_nothing_of_what_comes_later(kind: str) -> None:
    made, batch = encoder(kind), histories([9])
    whole = made.encode(batch.items, batch.offsets, "all")
    for length in range(1, 10):
        start = made.encode(batch.items[:length], torch.tensor([0, length]))
        torch.testing.assert_close(start[0], whole[length - 1])


def test_gru_equals_the_naive_recurrence() -> None:
    torch.manual_seed(0)
    made, batch = GRUEncoder(num_items=20, hidden_size=6, inner_size=5).eval().double(), histories([4])
    state = torch.zeros(5, dtype=torch.float64)
    of_input, of_state, input_bias, state_bias = (
        cast("Tensor", weight) for weight in made.gru.all_weights[0]
    )
    for item in batch.items:
        vector = made.items.weight[item] if item else torch.zeros(6, dtype=torch.float64)
        inner_size = of_input @ vector + input_bias
        outer = of_state @ state + state_bias
        reset, update = (
            torch.sigmoid(inner_size[:5] + outer[:5]),
            torch.sigmoid(inner_size[5:10] + outer[5:10]),
        )
        state = (1 - update) * torch.tanh(inner_size[10:] + reset * outer[10:]) + update * state
    torch.testing.assert_close(made.encode(batch.items, batch.offsets)[0], made.out(state))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("lengths", [[1], [3, 40, 17, 3], [2] * 9])
def test_our_recurrence_gives_the_numbers_of_torch(layers: int, lengths: list[int]) -> None:
    """States and gradients are equal bit for bit: results trained with torch's recurrence can be reproduced."""
    torch.manual_seed(0)
    gru = nn.GRU(6, 5, layers, batch_first=True)
    order, _, sizes = _by_time(torch.tensor([0, *accumulate(lengths)]))
    x, weight = torch.randn(len(order), 6), torch.randn(len(order), 5)
    found = []
    for recurrence in (lambda x: gru(PackedSequence(x, sizes))[0].data, lambda x: _recurrence(gru, x, sizes)):
        inputs = x.clone().requires_grad_()
        states = recurrence(inputs)
        wanted = [inputs, *gru.parameters()]
        found.append([states, *torch.autograd.grad((weight * states).sum(), wanted)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_convolutions_equal_naive_loops() -> None:
    made, batch = encoder("convolution"), histories([12])
    assert isinstance(made, ConvolutionEncoder)
    zeros = torch.zeros(6, dtype=torch.float64)
    x: list[Tensor] = [made.items.weight[item] if item else zeros for item in batch.items]
    for block in range(2):
        inside = x
        for place in (2 * block, 2 * block + 1):
            far = 2**place
            taps = [
                torch.cat([inside[t - back] if t >= back else zeros for back in (2 * far, far, 0)])
                for t in range(12)
            ]
            convolution, norm = made.convolutions[place], made.norms[place]
            inside = [norm(convolution(tap)).relu() for tap in taps]
        x = [one + other for one, other in zip(x, inside, strict=True)]
    torch.testing.assert_close(made.encode(batch.items, batch.offsets, "all"), torch.stack(x))


@pytest.mark.parametrize("kind", KINDS)
def test_the_vector_of_padding_is_never_read(kind: str) -> None:
    """The softmax trains it as a class of its own; hidden items must not carry what it has learned into views."""
    made, batch = encoder(kind), histories([12, 7])

    def states() -> list[Tensor]:
        return [made.encode(batch.items, batch.offsets, "all"), made(*batch.padded())]

    before = states()
    with torch.no_grad():
        made.items.weight[0] += 100
    torch.testing.assert_close(states(), before)


def test_layers_that_see_further_back_than_a_history_cost_no_memory() -> None:
    """Dilations double with each convolution: those of 40 blocks reach 2^79 places, too many to allocate."""
    made = ConvolutionEncoder(num_items=20, hidden_size=4, layers=40).eval()
    batch = histories([9, 50])
    last = made.encode(batch.items, batch.offsets)
    torch.testing.assert_close(made(*batch.padded()), last)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    made, batch = encoder(kind), histories([3, 40, 17])
    made.encode(batch.items, batch.offsets, "all").square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0, name
        assert math.isfinite(float(parameter.grad.sum()))
