from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.losses.contrastive import info_nce
from mclrec.models.lma4rec import LearnableBernoulli, LMA4Rec, LMA4RecConfig, arm_surrogate
from mclrec.models.phases import StepContext
from mclrec.nn.dropout import seed_dropout
from mclrec.nn.packing import flatten_newest

DATA = tiny_data()


def test_the_masks_are_those_that_make_the_contrast_and_their_opposites() -> None:
    torch.manual_seed(0)
    small = SMALL | {"unit": "sequences"}
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


WEIGHTS = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def loss(mask: torch.Tensor) -> torch.Tensor:
    """A loss of three mask bits that is not linear in them."""
    return (WEIGHTS * mask).sum().square() + mask[0] * mask[2]


def layer() -> LearnableBernoulli:
    made = LearnableBernoulli(3, 0.9).double()
    with torch.no_grad():
        made.logits.copy_(torch.tensor([0.3, -0.8, 1.2]))
    seed_dropout(made, np.random.default_rng(0))
    return made


def test_the_estimate_is_right_on_average() -> None:
    made = layer()
    expected = torch.zeros((), dtype=torch.float64)
    for bits in product([0.0, 1.0], repeat=3):
        mask = torch.tensor(bits, dtype=torch.float64)
        keep = made.logits.sigmoid()
        expected = expected + loss(mask) * torch.where(mask > 0, keep, 1 - keep).prod()
    [exact] = torch.autograd.grad(expected, made.logits)
    uniforms = made.uniforms(40_000)
    total = torch.vmap(lambda one, other, u: arm_surrogate(loss(one), loss(other), u[None], made.logits))(
        made.masks(uniforms), made.opposite_masks(uniforms), uniforms
    )
    [estimate] = torch.autograd.grad(total.mean(), made.logits)
    torch.testing.assert_close(estimate, exact, rtol=0, atol=0.03)
    assert total.mean().item() == pytest.approx(expected.item(), abs=0.05)


def test_masks_have_the_probabilities_of_their_units_and_opposites_too() -> None:
    made = layer()
    uniforms = made.uniforms(50_000)
    for masks in (made.masks(uniforms), made.opposite_masks(uniforms)):
        assert set(masks.unique().tolist()) == {0, 1}
        torch.testing.assert_close(masks.mean(0), made.logits.detach().sigmoid(), rtol=0, atol=0.01)
    assert torch.equal(made.opposite_masks(uniforms), made.masks(1 - uniforms))


def test_units_are_kept_at_first_as_often_as_asked() -> None:
    torch.testing.assert_close(LearnableBernoulli(5, 0.9).logits.sigmoid(), torch.full((5,), 0.9))
