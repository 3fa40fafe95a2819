from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.losses.contrastive import info_nce
from mclrec.models.phases import StepContext
from mclrec.models.srma import SRMA, DroppedLayers, SRMAConfig
from mclrec.nn.dropout import seed_dropout
from mclrec.nn.packing import flatten_newest

DATA = tiny_data()


def model(**settings: Any) -> SRMA:
    torch.manual_seed(0)
    small = SMALL | {"unit": "sequences"}
    made = SRMA(SRMAConfig.model_validate(small | settings), DATA.num_items)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_each_pass_leaves_out_as_many_layers_as_asked_and_inference_none() -> None:
    layers = DroppedLayers(3, 2, hidden_size=4, dropout=0)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(5, 4)
    single = [layer(x) for layer in layers.layers]
    seed_dropout(layers, np.random.default_rng(0))
    seen = set()
    for _ in range(30):
        out = layers(x)
        [kept] = [number for number, expected in enumerate(single) if torch.equal(out, expected)]
        seen.add(kept)
    assert seen == {0, 1, 2}
    everything = layers.layers[2](layers.layers[1](layers.layers[0](x)))
    assert torch.equal(layers.eval()(x), everything)


def test_the_second_encoder_is_trained_first_and_then_frozen() -> None:
    made = model(complement=0.5)
    assert made.complement
    first, second = made.phases()
    assert (first.name, first.validate) == ("complement", False)
    assert [update.group for update in first.updates] == ["complement"]
    own = {id(parameter) for parameter in made.complement.parameters()}
    groups = made.parameter_groups()
    assert {id(parameter) for parameter in groups[second.updates[0].group]}.isdisjoint(own)
    batch = second.collate(second.examples(DATA), np.arange(20), np.random.default_rng(0))
    total = torch.stack([term.weight * term.mean for term in made.loss(batch, StepContext()).values()]).sum()
    total.backward()
    assert all(parameter.grad is None for parameter in made.complement.parameters())


@pytest.mark.parametrize("distinct", [False, True])
def test_views_are_complemented(distinct: bool) -> None:
    made = model(complement=0.5, distinct_layers=distinct).eval()  # in evaluation, all layers are used
    assert made.complement
    _, phase = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    views = []
    for view in batch.views:
        states = made.further(made.encoder.encode(view.items, view.offsets, "all"))
        states = states + 0.5 * made.complement.encode(view.items, view.offsets, "all")
        views.append(flatten_newest(states, view.offsets, 6))
    torch.testing.assert_close(made.loss(batch, StepContext())["cl"].mean, info_nce(views[0], views[1]))


@pytest.mark.parametrize("distinct", [False, True])
def test_views_pass_the_same_layers_unless_each_is_to_have_its_own(distinct: bool) -> None:
    made = model(distinct_layers=distinct)
    assert made.complement is None
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    same = (batch.views[0], batch.views[0])
    seed_dropout(made, np.random.default_rng(0))
    alike = [torch.equal(*made._views(same)) for _ in range(12)]
    assert all(alike) != distinct


@pytest.mark.parametrize("dropped", [2, 5])
def test_no_layer_answers_that_was_never_trained(dropped: int) -> None:
    with pytest.raises(ValueError, match=f"dropped_layers = {dropped}: at least one of the 2 further layers"):
        SRMAConfig.of_layers({"dropped_layers": dropped})
    SRMAConfig.of_layers({"further_layers": 0})
