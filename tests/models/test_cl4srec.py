from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data

from mclrec.losses.contrastive import info_nce
from mclrec.models.base import StepContext
from mclrec.models.cl4srec import CL4SRec, CL4SRecConfig

DATA = tiny_data()


@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_the_contrast_is_that_of_the_two_views_last_states(unit: str) -> None:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "width": 8,
        "inner": 16,
        "longest": 6,
        "dropout": 0,
        "attention_dropout": 0,
        "unit": unit,
    }
    made = CL4SRec(CL4SRecConfig.model_validate(small), DATA.num_items)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    batch = phase.prepare(examples, np.arange(30), np.random.default_rng(0))
    assert len(batch.views) == 2
    assert any((view.items == DATA.num_items + 1).any() for view in batch.views)
    views = [made.encoder.encode(view.items, view.offsets) for view in batch.views]
    term = made.loss(batch, StepContext())["cl"]
    assert term.weight == 0.1
    torch.testing.assert_close(term.mean, info_nce(views[0], views[1]))
