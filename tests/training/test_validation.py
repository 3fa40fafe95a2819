"""The targets that a validation ranks, and the estimate of its duration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data
from tests.test_model_contract import build

from mclrec.data.split import Targets, leave_one_out
from mclrec.distributed.processes import SINGLE_PROCESS
from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.training import validation
from mclrec.training.config import TrainingConfig
from mclrec.training.validation import Validator, drawn

SPLIT = leave_one_out(tiny_data(users=40))


def measured(most: int | None, seed: int = 1, validation: Targets = SPLIT.validation) -> float:
    config = TrainingConfig(metric="mrr@10", seen="drop", validation_targets=most)
    split = replace(SPLIT, validation=validation)
    model = build("sasrec", {}, SPLIT.training).eval()
    return Validator(model, split, config, seed, torch.device("cpu"), SINGLE_PROCESS).measure()


def test_of_more_targets_the_same_are_drawn_for_every_seed() -> None:
    assert measured(9, seed=1) == measured(9, seed=2) != measured(None)


@pytest.mark.parametrize("most", [None, len(SPLIT.validation), 100_000])
def test_all_targets_are_ranked_where_there_are_no_more(most: int | None) -> None:
    ranks = rank_targets(build("sasrec", {}, SPLIT.training).eval(), SPLIT.validation, seen="drop")
    assert measured(most) == parse_metric("mrr@10").mean(ranks)


def test_what_is_drawn_keeps_its_order_and_occurs_once() -> None:
    found = drawn(SPLIT.validation, 9, np.random.default_rng(0))
    assert len(found) == 9
    assert (np.diff(found.users) > 0).all()


@pytest.mark.parametrize("seen", ["drop", "keep"])
def test_the_time_of_a_validation_is_estimated_by_some_of_its_targets(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, ranked = [0.0], []

    def rank(model: object, targets: Targets, *_: object, **__: object) -> None:
        ranked.append(len(targets))
        seconds[0] += 2.0 * len(targets)

    monkeypatch.setattr(validation, "perf_counter", lambda: seconds[0])
    monkeypatch.setattr(validation, "rank_targets", rank)
    monkeypatch.setattr(validation, "ranker", rank)
    monkeypatch.setattr(validation, "_WARMING_UP", 3)
    monkeypatch.setattr(validation, "_TIMED", 7)
    monkeypatch.setattr(validation, "_FEWEST_RETURNS", 0)
    config = TrainingConfig(seen=seen)
    model = build("sasrec", {"repeat_bias": True}, SPLIT.training)
    validator = Validator(model, SPLIT, config, 1, torch.device("cpu"), SINGLE_PROCESS)
    rounds = 2 if seen == "keep" else 1  # calibrated first
    assert validator.expected_seconds() == pytest.approx(rounds * 2.0 * len(SPLIT.validation))
    assert ranked == rounds * [3, 7]


def test_a_hit_rate_that_every_model_reaches_cannot_choose_an_epoch() -> None:
    everything = TrainingConfig(metric=f"hr@{SPLIT.training.num_items}")
    model = build("sasrec", {}, SPLIT.training)
    with pytest.raises(
        ConfigError, match=r"metric = 'hr@\d+': is 1 for every model, .*choose a smaller cutoff"
    ):
        Validator(model, SPLIT, everything, 1, torch.device("cpu"), SINGLE_PROCESS)
