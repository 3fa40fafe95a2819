"""Losses and gradients of padded histories equal those of packed ones, for every model that takes both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import tiny_data
from tests.test_cuda import undropped
from tests.test_model_contract import CASES, build
from torch import Tensor

from mclrec.data.batches import Batch, Histories, PaddedHistories
from mclrec.data.packed import Packed
from mclrec.models.base import Recommender
from mclrec.models.phases import StepContext, Update
from mclrec.models.sequential import SequentialRecommender
from mclrec.nn.encoders import GRUEncoder
from mclrec.randomness import Stream, generator

DATA = tiny_data(users=40, items=30, longest=12)
ENCODERS: list[tuple[str, dict[str, Any]]] = [
    ("sasrec", {}),
    ("sasrec", {"positions": "newest", "norm": "pre"}),
    ("sasrec", {"positions": "relative"}),
    ("sasrec", {"positions": "rotary", "feed_forward": "swiglu"}),
    ("bsarec", {}),
    ("bsarec", {"filter": "causal", "positions": "newest"}),
    ("hstu", {}),
    ("mclrec", {"encoder": "convolution"}),
]


def made(name: str, variant: dict[str, Any]) -> Recommender:
    model = undropped(build(name, variant, DATA)).double().train()
    model.on_fit_start(DATA)
    return model


def gradients(model: Recommender, update: Update, batch: Batch) -> tuple[dict[str, float], list[Tensor]]:
    losses = update.loss(batch, StepContext())
    total = torch.stack([term.weight * term.mean for term in losses.values()]).sum()
    parameters = model.parameter_groups()[update.group]
    found = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    return {name: float(term.mean.detach()) for name, term in losses.items()}, list(found)


@pytest.mark.parametrize(("name", "variant"), [*CASES, ("cl4srec", {})])
def test_losses_and_gradients_are_those_of_packed_histories(name: str, variant: dict[str, Any]) -> None:
    model = made(name, variant)
    for phase in model.phases():
        if phase.varies:
            continue
        examples = phase.examples(DATA)
        rng = generator(1, Stream.VIEWS)
        batch = phase.collate(examples, np.arange(len(examples))[::3], rng)
        padded = batch.padded(model.max_length)
        assert {part.items.shape[1] for part in (padded.histories, *padded.views)} == {model.max_length}
        for update in phase.updates:
            expected, found = (gradients(model, update, one) for one in (batch, padded))
            assert found[0] == pytest.approx(expected[0], rel=1e-9)
            for one, other in zip(found[1], expected[1], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


ONES = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda one: any(one) or len(one) == 1)
"""Histories with a visible item, as in all views: packed encoding reduces a fully hidden history to its last item."""


@pytest.mark.parametrize(("name", "variant"), ENCODERS)
@settings(max_examples=15, deadline=None)
@given(
    lists=st.lists(ONES, min_size=1, max_size=6),
    spare=st.integers(0, 3),
)
def test_last_states_are_those_of_packed_histories(
    name: str, variant: dict[str, Any], lists: list[list[int]], spare: int
) -> None:
    model = made(name, variant)
    assert isinstance(model, SequentialRecommender)
    histories = Histories.of(Packed.of(lists))
    width = min(max(map(len, lists)) + spare, model.max_length)
    padded = PaddedHistories.of(histories, width)
    assert (len(padded), padded.items.shape, padded.lengths.tolist()) == (
        len(lists),
        (len(lists), width),
        [len(one) for one in lists],
    )
    found, again = model.encode([padded, padded])  # type: ignore[list-item]
    (expected,) = model.encode([histories])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(again, expected, rtol=1e-9, atol=1e-10)


def test_a_model_says_why_its_steps_have_no_one_shape() -> None:
    def reasons(name: str, variant: dict[str, Any]) -> str:
        return build(name, variant, DATA).phases()[-1].varies

    assert reasons("sasrec", {}) == ""
    assert "unit = sequences" in reasons("sasrec", {"unit": "sequences"})
    assert "repeat_bias" in reasons("mclrec", {"repeat_bias": True})
    assert GRUEncoder.__name__ in reasons("gru4rec", {})
    assert "all states" in reasons("cl4srec", {"contrast": "all"})
    for name in ("coserec", "lma4rec", "srma", "iclrec"):
        assert "all states" in reasons(name, {})
    for name in ("bpr", "caser", "bert4rec"):
        assert "packed" in reasons(name, {})
