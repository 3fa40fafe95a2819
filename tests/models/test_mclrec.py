"""MCLRec's updates, terms and switches; `tests/reference` has its equations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.helpers import tiny_data
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.models.mclrec import MCLRec, MCLRecConfig
from mclrec.models.phases import StepContext
from mclrec.randomness import Stream, generator

DATA = tiny_data()
SETTINGS: dict[str, Any] = {
    "hidden_size": 8,
    "heads": 2,
    "inner_size": 16,
    "max_length": 8,
    "dropout": 0,
    "attention_dropout": 0,
}


def model(**settings: Any) -> MCLRec:
    torch.manual_seed(2)
    made = MCLRec(MCLRecConfig.model_validate(SETTINGS | settings), DATA.num_items)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.double()


def batch_of(made: MCLRec, size: int = 6) -> Batch:
    phase = made.phases()[0]
    examples = phase.examples(DATA)
    rows = generator(0, Stream.ORDER).permutation(len(examples))[:size]
    return phase.collate(examples, rows, generator(0, Stream.VIEWS))


def weighted(losses: Any) -> Tensor:
    return torch.stack([term.weight * term.mean for term in losses.values()]).sum()


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({}, ["encoder", "augmenters", "encoder"]),
        ({"updates": "two"}, ["encoder", "augmenters"]),
        ({"updates": "joint"}, ["all"]),
        ({"beta": 0, "gamma": 0}, ["encoder", "encoder"]),
        ({"beta": 0, "updates": "two"}, ["encoder"]),
    ],
)
def test_updates_of_a_batch(settings: dict[str, Any], groups: list[str]) -> None:
    assert [update.group for update in model(**settings).phases()[0].updates] == groups


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, {"rec", "cl1", "cl2", "reg"}),
        ({"lambda": 0}, {"rec", "cl2", "reg"}),  # row (B) of table 4
        ({"beta": 0, "gamma": 0}, {"rec", "cl1"}),  # row (C)
        ({"gamma": 0}, {"rec", "cl1", "cl2"}),  # row (D)
        ({"regularizer": "off"}, {"rec", "cl1", "cl2"}),
        ({"lambda": 0, "beta": 0}, {"rec"}),  # SASRec
    ],
)
def test_terms_of_the_ablation(settings: dict[str, Any], terms: set[str]) -> None:
    made = model(**settings)
    assert made.encoder_loss(batch_of(made), StepContext()).keys() == terms


def test_gamma_is_a_tenth_of_beta_unless_given() -> None:
    def weight(**settings: Any) -> float:
        made = model(**settings)
        return made.encoder_loss(batch_of(made), StepContext())["reg"].weight

    assert weight(beta=0.4) == pytest.approx(0.04)
    assert weight(beta=0.4, gamma=0.3) == pytest.approx(0.3)


def test_the_augmenter_update_builds_no_graph_through_the_encoder() -> None:
    made = model()
    made.encoder.requires_grad_(False)
    states = made.encode(batch_of(made).views)
    assert not any(state.requires_grad for state in states)
    assert weighted(made.augmenter_loss(batch_of(made), StepContext())).requires_grad


def test_shared_augmenter_is_one_module_saved_once() -> None:
    shared, own = model(shared_augmenter=True), model()
    assert shared.augmenter1 is shared.augmenter2
    assert len(shared.parameter_groups()["augmenters"]) == len(own.parameter_groups()["augmenters"]) // 2


def test_views_hide_half_by_the_padding_id_or_by_an_id_of_its_own() -> None:
    for mask, token in (("padding", 0), ("own", DATA.num_items + 1)):
        views = batch_of(model(mask=mask), 60).views
        items = torch.cat([view.items for view in views])
        assert (items == token).any()
        assert not (items == DATA.num_items + 1 - token).any()


def test_expected_loss_of_an_untrained_model_is_that_of_a_guess() -> None:
    torch.manual_seed(0)
    fresh = MCLRec(MCLRecConfig.model_validate(SETTINGS), DATA.num_items)
    loss = fresh.encoder_loss(batch_of(fresh), StepContext())["rec"].mean
    assert float(loss.detach()) == pytest.approx(math.log(DATA.num_items + 1), abs=0.2)
