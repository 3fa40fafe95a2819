"""Random draws: views against all possible views, and dropout against torch's dropout in the reference model."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.plain import PlainSASRec, rows_of
from tests.reference.plain_views import crops, masks, pairs, reorders
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.models.mclrec import MCLRec, MCLRecConfig
from mclrec.models.phases import StepContext
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.nn.dropout import seed_dropout

ITEMS = 9
SMALL: dict[str, Any] = {"hidden_size": 8, "heads": 2, "inner_size": 12, "max_length": 5}
RATES = [(0.5, 0.0), (0.0, 0.5), (0.2, 0.1), (0.1, 0.2)]
"""Dropout rates of hidden units and of attention weights."""


def large(model: SASRec | MCLRec) -> None:
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)


@pytest.mark.parametrize(("length", "mask"), [(1, "own"), (3, "own"), (5, "padding")])
def test_views_are_drawn_as_often_as_they_should(length: int, mask: str) -> None:
    history, draws = tuple(range(1, length + 1)), 20_000
    data = SequenceData(
        np.arange(1, length + 2, dtype=np.int32),
        np.array([0, length + 1]),
        Vocabulary(range(ITEMS)),
        Vocabulary(range(1)),
    )
    model = MCLRec(MCLRecConfig.model_validate(SMALL | {"mask": mask, "unit": "sequences"}), ITEMS)
    [phase] = model.phases()
    rows = np.zeros(draws, dtype=np.int64)
    batch = phase.collate(phase.examples(data), rows, np.random.default_rng(5))
    drawn = Counter(zip(*(map(tuple, rows_of(view)) for view in batch.views), strict=True))
    token = 0 if mask == "padding" else ITEMS + 1
    expected = pairs([crops(history, 0.5), masks(history, 0.5, token), reorders(history, 0.8)])
    assert math.isclose(sum(expected.values()), 1)
    assert drawn.keys() <= expected.keys()
    statistic = sum((drawn[pair] - draws * p) ** 2 / (draws * p) for pair, p in expected.items())
    freedom = len(expected) - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom) + 1


def same_distribution(fast: Tensor, plain: Tensor) -> None:
    """Check that means and variances over the rows of (N, units) agree within five standard errors."""

    def z(one: Tensor, two: Tensor) -> Tensor:
        error = (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
        return ((one.mean(0) - two.mean(0)) / error).abs()

    middle = plain.mean(0)
    assert z(fast, plain).max() < 5
    assert z((fast - middle).square(), (plain - middle).square()).max() < 5
    slow_kinds, fast_kinds = len(plain.unique(dim=0)), len(fast.unique(dim=0))
    assert fast_kinds > 0.9 * slow_kinds  # copies do not share masks


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_dropout_falls_where_and_as_often_as_torchs(rates: tuple[float, float]) -> None:
    """Many copies of one history, each next to another history, give samples of its hidden states."""
    copies, history, neighbour = 2500, [3, 1, 4, 5], [2, 6, 5, 3, 5]
    values = SMALL | {"dropout": rates[0], "attention_dropout": rates[1]}
    histories = Histories.of(Packed.of([history, neighbour] * copies))
    expected = None
    for unit in ("prefixes", "sequences"):
        model = SASRec(SASRecConfig.model_validate(values | {"unit": unit}), ITEMS)
        large(model)
        model.train()
        seed_dropout(model, np.random.default_rng(6))
        with torch.no_grad():
            if expected is None:
                plain = PlainSASRec(model.config, ITEMS)
                plain.load_state_dict(model.state_dict())
                expected = plain.encoder([history] * copies)[:, : len(history)]
            states = model.target_states(Batch(histories, histories.items, 1.0))
        states = states.view(
            copies, -1, SMALL["hidden_size"]
        )  # all tokens of history and neighbour, or the last of each
        if unit == "prefixes":
            same_distribution(states[:, 0], expected[:, -1])
        else:
            same_distribution(states[:, : len(history)].flatten(1), expected.flatten(1))


@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_gradients_under_dropout_are_those_of_the_masks_drawn(unit: str) -> None:
    """Compared with finite differences of the loss along a random direction of each parameter, with the same masks."""
    values = SMALL | {"dropout": 0.5, "attention_dropout": 0.2, "unit": unit, "updates": "joint"}
    model = MCLRec(MCLRecConfig.model_validate(values | {"lambda": 0.3, "beta": 0.5}), ITEMS)
    large(model)
    model.double().train()
    histories = Histories.of(Packed.of([[1, 2, 3, 4, 5], [6], [7, 8, 1]]))
    targets = torch.arange(1, 1 + (3 if unit == "prefixes" else 9))
    views = [
        Histories.of(Packed.of(rows)) for rows in ([[0, 2, 0, 4, 5], [6], [7]], [[4, 5], [6], [8, 7, 1]])
    ]
    batch = replace(Batch(histories, targets, 3.0), views=tuple(views))
    [update] = model.phases()[0].updates

    def loss() -> Tensor:
        seed_dropout(model, np.random.default_rng(7))
        terms = update.loss(batch, StepContext()).values()
        return torch.stack([term.weight * term.mean for term in terms]).sum()

    loss().backward()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            direction, found = torch.randn_like(parameter), []
            if name == "encoder.items.weight":
                direction[0] = 0  # as padding it gets no gradient by definition
            for step in (1e-6, -1e-6):
                parameter.add_(direction, alpha=step)
                found.append(float(loss()))
                parameter.sub_(direction, alpha=step)
            slope = (found[0] - found[1]) / 2e-6
            assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7), name
