"""MCLRec's updates against the paper's equations, written as loops over single rows."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.helpers import tiny_data
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.models.base import StepContext
from mclrec.models.mclrec import MCLRec, MCLRecConfig
from mclrec.randomness import Stream, generator

DATA = tiny_data()
SETTINGS: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "inner": 16,
    "longest": 8,
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
    return phase.prepare(examples, rows, generator(0, Stream.VIEWS))


def encode_each(made: MCLRec, packed: Any) -> Tensor:
    rows = [packed.items[a:b] for a, b in zip(packed.offsets, packed.offsets[1:], strict=False)]
    return torch.stack([made.encoder(row[None], torch.tensor([len(row)]))[0] for row in rows])


def rows_and_negatives(x1: Tensor, x2: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """For each of the 2B rows: its positive score, and its 2(B - 1) negative scores (section 3.2)."""
    size, views = len(x1), torch.cat([x1, x2])
    found = []
    for i in range(2 * size):
        partner = (i + size) % (2 * size)
        negatives = [views[i] @ views[j] for j in range(2 * size) if j not in (i, partner)]
        found.append((views[i] @ views[partner], negatives))
    return found


def con(x1: Tensor, x2: Tensor) -> Tensor:
    """Eq. 8, the mean over 2B rows."""
    terms = [
        -torch.log(positive.exp() / (positive.exp() + sum(n.exp() for n in negatives)))
        for positive, negatives in rows_and_negatives(x1, x2)
    ]
    return torch.stack(terms).mean()


def official_r(x1: Tensor, x2: Tensor) -> Tensor:
    """Eq. 12 and 13, row by row."""
    total, pairs = torch.zeros(()).double(), rows_and_negatives(x1, x2)
    for positive, negatives in pairs:
        highest = torch.stack(negatives).max()
        low, high = torch.minimum(positive, highest), torch.maximum(positive, highest)
        total = total + (positive - low).clamp(min=0)
        total = total + sum((high - n).clamp(min=0) for n in negatives) / len(negatives)
    return total / len(pairs)


def paper_r(z1: Tensor, z2: Tensor) -> Tensor:
    """Eq. 11 to 13, over the whole batch."""
    size = len(z1)
    positive = torch.stack([z1[i] @ z2[i] for i in range(size)])
    negative = torch.stack([z1[i] @ z2[j] for i in range(size) for j in range(size) if i != j])
    low = torch.minimum(positive.min(), negative.max())
    high = torch.maximum(positive.min(), negative.max())
    return (positive - low).clamp(min=0).mean() + (high - negative).clamp(min=0).mean()


def recommendation(made: MCLRec, batch: Batch, states: Tensor) -> Tensor:
    """Eq. 3 with y-hat read as logits, over all ids with the padding id."""
    table = made.encoder.items.weight[: DATA.num_items + 1]
    terms = [
        -(table @ h)[g] + (table @ h).exp().sum().log() for h, g in zip(states, batch.targets, strict=True)
    ]
    return torch.stack(terms).sum() / batch.count


def weighted(losses: Any) -> Tensor:
    return torch.stack([term.weight * term.mean for term in losses.values()]).sum()


@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
@pytest.mark.parametrize("regularizer", ["official", "paper", "off"])
@pytest.mark.parametrize("mask", ["padding", "own"])
def test_both_losses_equal_the_equations(unit: str, regularizer: str, mask: str) -> None:
    made = model(**{"lambda": 0.3, "beta": 0.2, "unit": unit, "regularizer": regularizer, "mask": mask})
    batch = batch_of(made)
    h1, h2 = (encode_each(made, view) for view in batch.views)
    z1 = torch.nn.functional.normalize(made.augmenter1.layers(h1), dim=-1)
    z2 = torch.nn.functional.normalize(made.augmenter2.layers(h2), dim=-1)
    cl2 = con(z1, z2) + con(h1, z2) + con(h2, z1)
    r = {
        "official": official_r(h1, z2) + official_r(h2, z1) + official_r(z1, z2),
        "paper": paper_r(z1, z2),
        "off": torch.zeros(()),
    }[regularizer]
    states = encode_each(made, batch.histories)
    if unit == "sequences":
        states = made.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
    expected = recommendation(made, batch, states) + 0.3 * con(h1, h2) + 0.2 * cl2 + 0.1 * 0.2 * r
    torch.testing.assert_close(weighted(made.encoder_loss(batch, StepContext())), expected)
    torch.testing.assert_close(weighted(made.augmenter_loss(batch, StepContext())), cl2 + 0.1 * r)


def test_gradients_equal_the_equations() -> None:
    made = model(**{"lambda": 0.3, "beta": 0.2})
    batch = batch_of(made)
    weighted(made.encoder_loss(batch, StepContext())).backward()
    fast = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    h1, h2 = (encode_each(made, view) for view in batch.views)
    z1, z2 = made.augmenter1(h1), made.augmenter2(h2)
    pairs = ((z1, z2), (h1, z2), (h2, z1))
    loss = recommendation(made, batch, encode_each(made, batch.histories)) + 0.3 * con(h1, h2)
    loss = loss + sum(0.2 * con(*pair) + 0.02 * official_r(*pair) for pair in pairs)
    loss.backward()
    for name, parameter in made.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(fast[name], parameter.grad)


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
    states = made._encode(batch_of(made).views)
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
