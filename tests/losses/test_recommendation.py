"""Recommendation losses as objects: what they draw, and that each equals a naive loop over the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from torch import Tensor

from mclrec.losses.recommendation import (
    LOSSES,
    PerTarget,
    SharedByBatch,
    losses_with,
    make_loss,
)
from mclrec.models.sequential import RegimeConfig

SETTINGS = {
    "label_smoothing": 0.3,
    "samples": 5,
    "sample_power": 0.5,
    "negatives": 3,
    "calibration": 0.4,
    "penalty": 0.7,
}


class Scores:
    """An item table of given scores, one row per target; queries are ignored."""

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.num_items = scores, scores.shape[1] - 1

    def cross_entropy(self, queries: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(self.scores, targets, reduction="sum")

    def pair_scores(self, queries: Tensor, ids: Tensor) -> Tensor:
        return self.scores.gather(1, ids.view(len(self.scores), -1)).view(ids.shape)

    def scores_of(self, queries: Tensor, ids: Tensor) -> Tensor:
        return self.scores[:, ids]

    def mean_scores(self, queries: Tensor) -> Tensor:
        return self.scores[:, 1:].mean(1)


@dataclass(frozen=True)
class Drawn:
    targets: Tensor
    negatives: Tensor | None = None
    shared: Tensor | None = None
    shared_log_counts: Tensor | None = None


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def naive(name: str, scores: list[list[float]], drawn: Drawn, expected_counts: list[float]) -> float:
    """The loss summed target by target, from the papers' equations."""
    total = 0.0
    for number, (row, target) in enumerate(zip(scores, drawn.targets.tolist(), strict=True)):
        own = row[target]
        if name == "softmax":
            wanted = [0.3 / (len(row) - 1) * (item > 0) + 0.7 * (item == target) for item in range(len(row))]
            assert sum(wanted) == pytest.approx(1)
            whole = sum(math.exp(score) for score in row)
            total -= sum(q * math.log(math.exp(y) / whole) for q, y in zip(wanted, row, strict=True))
        elif drawn.negatives is not None:
            others = [row[item] for item in drawn.negatives.view(len(scores), -1)[number].tolist()]
            rate = len(others) / (len(row) - 2)
            power = rate * (0.4 * (1 - 1 / rate) + 1 / rate) if name == "gbce" else 1.0
            parts = math.log(sigmoid(own) ** power) + sum(math.log(1 - sigmoid(other)) for other in others)
            total -= parts / (len(others) + 1 if name == "gbce" else 1)
        else:
            assert drawn.shared is not None
            kept = [place for place, item in enumerate(drawn.shared.tolist()) if item != target]
            others = [row[drawn.shared[place]] for place in kept]
            if name == "sampled":
                corrected = [
                    math.exp(other) / expected_counts[place]
                    for other, place in zip(others, kept, strict=True)
                ]
                total -= math.log(math.exp(own) / (math.exp(own) + sum(corrected)))
                continue
            weights = [math.exp(other) / sum(map(math.exp, others)) for other in others]
            pairs = list(zip(weights, others, strict=True))
            if name == "bpr-max":
                total -= math.log(sum(weight * sigmoid(own - other) for weight, other in pairs))
                total += 0.7 * sum(weight * other**2 for weight, other in pairs)
            else:
                total += sum(weight * (sigmoid(other - own) + sigmoid(other**2)) for weight, other in pairs)
    return total


@pytest.mark.parametrize("name", LOSSES)
def test_each_equals_a_naive_loop_over_what_it_draws(name: str) -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 9, generator=rng, dtype=torch.float64)
    targets = torch.tensor([3, 1, 8, 3])
    loss, counts = make_loss(name, SETTINGS), [0.5, 2.0, 0.1, 1.0, 0.3]
    if isinstance(loss.draws, PerTarget):
        ids = torch.randint(1, 9, (4, loss.draws.count), generator=rng)
        drawn = Drawn(targets, negatives=ids[:, 0] if loss.draws.count == 1 else ids)
    elif isinstance(loss.draws, SharedByBatch):
        drawn = Drawn(
            targets, shared=torch.tensor([3, 2, 2, 7, 1]), shared_log_counts=torch.tensor(counts).log()
        )
    else:
        drawn = Drawn(targets)
    found = loss(Scores(scores), torch.zeros(4, 1), drawn)
    assert found.item() == pytest.approx(naive(name, scores.tolist(), drawn, counts), rel=1e-6)


def test_without_smoothing_nothing_else_is_asked() -> None:
    class Bare(Scores):
        def mean_scores(self, queries: Tensor) -> Tensor:
            raise AssertionError

    drawn, scores = Drawn(torch.tensor([3, 1])), torch.randn(2, 9)
    found = make_loss("softmax", {"label_smoothing": 0.0})(Bare(scores), torch.zeros(2, 1), drawn)
    assert torch.equal(found, torch.nn.functional.cross_entropy(scores, drawn.targets, reduction="sum"))


def test_what_is_drawn_follows_the_settings() -> None:
    assert {name: make_loss(name, SETTINGS).draws for name in LOSSES} == {
        "softmax": None,
        "bce": PerTarget(1),
        "gbce": PerTarget(3),
        **dict.fromkeys(("sampled", "bpr-max", "top1-max"), SharedByBatch(5, 0.5)),
    }


def test_configurations_know_all_losses_and_their_settings() -> None:
    fields = RegimeConfig.model_fields
    assert set(get_args(fields["loss"].annotation)) == set(LOSSES)
    own = {setting for setting in fields if losses_with(setting)}
    assert own == set(SETTINGS)
    for setting in own:
        [condition] = RegimeConfig.conditions(setting)
        assert {name for name in LOSSES if name in condition.needed["loss"]} == set(losses_with(setting))
