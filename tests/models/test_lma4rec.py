from __future__ import annotations

import numpy as np
import torch
from tests.helpers import tiny_data

from mclrec.losses.contrastive import info_nce
from mclrec.models.lma4rec import LMA4Rec, LMA4RecConfig
from mclrec.models.phases import StepContext
from mclrec.nn.dropout import seed_dropout
from mclrec.nn.pooling import flatten_newest

DATA = tiny_data()


def test_the_masks_are_those_that_make_the_contrast_and_their_opposites() -> None:
    torch.manual_seed(0)
    small = {
        "hidden_size": 8,
        "inner_size": 16,
        "max_length": 6,
        "unit": "sequences",
        "dropout": 0,
        "attention_dropout": 0,
    }
    made = LMA4Rec(LMA4RecConfig.model_validate(small | {"keep": 0.6}), DATA.num_items)
    made.on_fit_start(DATA)
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    seed_dropout(made, np.random.default_rng(7))
    uniforms = made.bernoulli.uniforms(2)
    states = [made.encoder.encode(view.items, view.offsets, "all") for view in batch.views]
    values = []
    for masks in (uniforms < 0.6, uniforms > 0.4):
        rows = [
            flatten_newest(state * mask, view.offsets, 6)
            for state, mask, view in zip(states, masks, batch.views, strict=True)
        ]
        values.append(info_nce(rows[0], rows[1]))
    for loss, expected in ((made.encoder_loss, values[0]), (made.mask_loss, sum(values) / 2)):
        seed_dropout(made, np.random.default_rng(7))
        torch.testing.assert_close(loss(batch, StepContext())["cl"].mean, expected)
    seed_dropout(made, np.random.default_rng(7))
    [gradient] = torch.autograd.grad(made.mask_loss(batch, StepContext())["cl"].mean, [made.bernoulli.logits])
    torch.testing.assert_close(gradient, ((values[1] - values[0]) * (uniforms - 0.5)).sum(0).detach())
