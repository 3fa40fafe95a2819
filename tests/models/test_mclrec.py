"""MCLRec's updates, loss terms and switches; `tests/reference` checks its equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import tiny_data
from torch import Tensor, nn

import mclrec
from mclrec.data.batches import Batch
from mclrec.models.mclrec import AttentionAugmenter, ConvolutionAugmenter, MCLRec, MCLRecConfig, MLPAugmenter
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
        ({"beta": 0}, ["encoder", "encoder"]),
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
        ({"beta": 0}, {"rec", "cl1"}),  # row (C)
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


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def naive(layers: list[nn.Linear], row: list[float]) -> list[float]:
    """Three layers with GELU between them, unit by unit, then normalisation to length 1."""
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


@pytest.mark.parametrize("settings", [{"loss": "sampled", "samples": 12}, {"loss": "gbce", "negatives": 4}])
def test_it_learns_by_losses_whose_cost_does_not_depend_on_the_catalogue(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    data = tiny_data(users=120, items=30)
    small: dict[str, Any] = {"hidden_size": 16, "inner_size": 32, "max_length": 8, "dropout": 0.1}
    training = {
        "unit": "sequences",
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "lambda": 0.2,
        "beta": 0.6,
    }
    settings = small | training | settings
    run = mclrec.train(data, "mclrec", recipe="default", out=tmp_path / "run", progress=False, **settings)
    first, last = run.history[0]["losses"], run.history[-1]["losses"]
    assert all(last[term] < 0.92 * first[term] for term in first)
    popular = mclrec.train(data, "popularity", out=tmp_path / "popular", progress=False)
    for protocol in ("U", "F"):
        assert run.metrics[protocol]["NDCG@10"] > 2 * popular.metrics[protocol]["NDCG@10"]


@pytest.mark.parametrize("kind", [MLPAugmenter, AttentionAugmenter, ConvolutionAugmenter])
@pytest.mark.parametrize("hidden_size", range(2, 10))
def test_an_augmenter_tells_states_apart(kind: type[nn.Module], hidden_size: int) -> None:
    torch.manual_seed(0)
    views = kind(hidden_size)(5 * torch.randn(20, hidden_size))
    assert float(views.detach().std(0).max()) > 1e-5
    assert bool(views.isfinite().all())
