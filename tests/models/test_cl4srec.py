from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.losses.contrastive import ViewPairs, info_nce, regularizer_official
from mclrec.models.cl4srec import CL4SRec, CL4SRecConfig
from mclrec.models.phases import StepContext

DATA = tiny_data()


@pytest.mark.parametrize("contrast", ["last", "all"])
@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_the_contrast_is_that_of_the_two_views(unit: str, contrast: str) -> None:
    torch.manual_seed(0)
    small = SMALL | {"unit": unit, "contrast": contrast}
    made = CL4SRec(CL4SRecConfig.model_validate(small), DATA.num_items)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    batch = phase.collate(examples, np.arange(30), np.random.default_rng(0))
    assert len(batch.views) == 2
    assert any((view.items == DATA.num_items + 1).any() for view in batch.views)
    states = [made.encoder.encode(view.items, view.offsets, "all") for view in batch.views]
    views = [
        torch.stack([_row(list(one), contrast) for one in torch.split(all_of_it, view.lengths.tolist())])
        for all_of_it, view in zip(states, batch.views, strict=True)
    ]
    term = made.loss(batch, StepContext())["cl"]
    assert term.weight == 0.1
    torch.testing.assert_close(term.mean, info_nce(views[0], views[1]))


def test_r_is_weighed_on_the_same_pairs() -> None:
    torch.manual_seed(0)
    settings = {
        "hidden_size": 8,
        "inner_size": 16,
        "max_length": 6,
        "dropout": 0,
        "attention_dropout": 0,
        "gamma": 0.02,
    }
    made = CL4SRec(CL4SRecConfig.model_validate(settings), DATA.num_items)
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(30), np.random.default_rng(0))
    views = [made.encoder.encode(view.items, view.offsets) for view in batch.views]
    term = made.loss(batch, StepContext())["reg"]
    assert term.weight == 0.02
    torch.testing.assert_close(term.mean, regularizer_official(ViewPairs.of(views, ((0, 1),)))[0])


def _row(states: list[torch.Tensor], contrast: str) -> torch.Tensor:
    """The last state, or all states, left-padded with zeros to the maximum length."""
    if contrast == "last":
        return states[-1]
    return torch.cat([torch.zeros(8)] * (6 - len(states)) + states)
