from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data

from mclrec.losses.contrastive import ViewPairs, info_nce
from mclrec.losses.regularizer import regularizer_official
from mclrec.models.duorec import DuoRec, DuoRecConfig
from mclrec.models.phases import StepContext
from mclrec.nn.dropout import seed_dropout

DATA = tiny_data()


def model(**settings: Any) -> DuoRec:
    torch.manual_seed(0)
    small = {"hidden_size": 8, "inner_size": 16, "max_length": 6, "dropout": 0, "attention_dropout": 0}
    return DuoRec(DuoRecConfig.model_validate(small | settings), DATA.num_items)


@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_contrasts_are_between_the_versions_that_they_name(unit: str) -> None:
    for contrast, terms in {
        "crossed": {"cl": (1, 2)},
        "unsupervised": {"unsupervised": (0, 1)},
        "supervised": {"supervised": (0, 2)},
        "both": {"unsupervised": (0, 1), "supervised": (0, 2)},
    }.items():
        made = model(contrast=contrast, unit=unit, gamma=0.02)
        [phase] = made.phases()
        examples = phase.examples(DATA)
        batch = phase.collate(examples, np.arange(30), np.random.default_rng(0))
        versions = [made.encoder.encode(part.items, part.offsets) for part in (batch.histories, *batch.views)]
        losses = made.loss(batch, StepContext())
        assert losses.keys() == {"rec", *terms, *(f"reg of {name}" for name in terms)}
        for name, (one, other) in terms.items():
            torch.testing.assert_close(losses[name].mean, info_nce(versions[one], versions[other]))
            pairs = ViewPairs.of((versions[one], versions[other]), ((0, 1),))
            torch.testing.assert_close(losses[f"reg of {name}"].mean, regularizer_official(pairs)[0])
            assert losses[f"reg of {name}"].weight == 0.02


def test_both_passes_of_a_history_have_dropout_of_their_own() -> None:
    made = model(contrast="unsupervised", dropout=0.5).train()
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(30), np.random.default_rng(0))
    seed_dropout(made, np.random.default_rng(0))
    states, (again, _) = made.states_with_views(batch)
    assert batch.views[0].items.tolist() == batch.histories.items.tolist()
    assert not torch.isclose(states, again).all(1).any()
