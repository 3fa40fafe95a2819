from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data

from mclrec.losses.sampled import bpr_max, top1_max
from mclrec.models.gru4rec import GRU4Rec, GRU4RecConfig
from mclrec.models.phases import StepContext

DATA = tiny_data()


@pytest.mark.parametrize("loss", ["bpr-max", "top1-max"])
@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_a_target_is_no_negative_of_its_own(loss: str, unit: str) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "hidden_size": 8,
        "inner_size": 6,
        "dropout": 0,
        "loss": loss,
        "unit": unit,
        "samples": 40,
    }
    made = GRU4Rec(GRU4RecConfig.model_validate(settings), DATA.num_items)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(30), np.random.default_rng(0))
    assert batch.shared is not None
    outputs: Any = "all" if unit == "sequences" else "last"
    states = made.encoder.encode(batch.histories.items, batch.histories.offsets, outputs)
    scores = states @ made.encoder.items.weight[:-1].T + made.item_biases
    total = torch.zeros(())
    for row, target in zip(scores, batch.targets.tolist(), strict=True):
        others = torch.stack([row[item] for item in batch.shared.tolist() if item != target])[None]
        own = row[target][None]
        total += top1_max(own, others) if loss == "top1-max" else bpr_max(own, others, 1.0)
    torch.testing.assert_close(made.loss(batch, StepContext())["rec"].mean, total / batch.count)
