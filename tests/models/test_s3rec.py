from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.data.batches import Batch
from mclrec.models.phases import StepContext
from mclrec.models.s3rec import S3Rec, S3RecConfig

DATA = tiny_data()


def model(**settings: Any) -> S3Rec:
    torch.manual_seed(0)
    small = SMALL | {"unit": "sequences"}
    made = S3Rec(S3RecConfig.model_validate(small | settings), DATA.num_items)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.double()


def pretraining(made: S3Rec) -> Batch:
    phase, _ = made.phases()
    examples = phase.examples(DATA)
    return phase.collate(examples, np.arange(len(examples)), np.random.default_rng(0))


def test_two_phases_the_first_of_them_unvalidated() -> None:
    first, second = model(pretrain_epochs=7).phases()
    assert (first.name, first.epochs, first.validate) == ("pretrain", 7, False)
    assert (second.name, second.epochs, second.validate) == ("train", None, True)
    assert [phase.name for phase in model(pretrain_epochs=0).phases()] == ["train"]


def test_the_last_item_is_always_hidden_and_negatives_are_strangers() -> None:
    made = model()
    batch = pretraining(made)
    assert (batch.targets[batch.histories.offsets[1:] - 1] > 0).all()
    assert batch.negatives is not None
    users = np.repeat(np.arange(DATA.num_users), batch.histories.lengths.numpy())
    for user, drawn in zip(users, batch.negatives.tolist(), strict=True):
        assert drawn not in DATA.sequence(int(user))


def test_pretraining_sees_both_sides_and_training_the_past_alone() -> None:
    made = model()
    batch = pretraining(made)
    made.encoder.causal = False
    states = made.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
    made.encoder.causal = True
    total, count = torch.zeros((), dtype=torch.float64), 0
    weight = made.encoder.items.weight
    assert batch.negatives is not None
    for state, target, drawn in zip(states, batch.targets.tolist(), batch.negatives.tolist(), strict=True):
        if target:
            query, count = made.comparison(state), count + 1
            total -= torch.log(torch.sigmoid(query @ weight[target] - query @ weight[drawn]))
    torch.testing.assert_close(made.pretraining_loss(batch, StepContext())["mip"].mean, total / count)
    assert made.encoder.causal


def test_an_error_leaves_the_encoder_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    batch = pretraining(made)
    monkeypatch.setattr(made.encoder, "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.pretraining_loss(batch, StepContext())
    assert made.encoder.causal
