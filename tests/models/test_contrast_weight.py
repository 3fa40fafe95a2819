"""The weight of a contrast does not depend on the length of histories, in all models that have one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.models import registry
from mclrec.models.phases import FitContext, StepContext
from mclrec.models.sequential import SequentialRecommender
from mclrec.randomness import Stream, generator

WEIGHTS = ("lambda", "lambda_supervised", "beta", "gamma")
FURTHER: dict[str, dict[str, Any]] = {"duorec": {"contrast": "both"}, "iclrec": {"intents": 3}}
MODELS = [
    name for name in registry.names() if "contrast_by" in registry.model_class(name).config_type.model_fields
]


def terms_per_target(name: str, users: int, longest: int, **settings: Any) -> dict[str, float]:
    """Weight of one row of each contrast, relative to the loss of one target."""
    data, cls = tiny_data(users=users, longest=longest), registry.model_class(name)
    keys = {info.alias or key for key, info in cls.config_type.model_fields.items()}
    weights = {key: 0.3 for key in WEIGHTS if key in keys}
    settings = SMALL | FURTHER.get(name, {}) | weights | settings | {"max_length": longest}
    torch.manual_seed(0)
    made = cls(cls.config_type.model_validate(settings), data.num_items)
    assert isinstance(made, SequentialRecommender)
    made.on_fit_start(data)
    made.on_epoch_start(FitContext(data, 1, lambda: generator(1, Stream.CLUSTERING)))
    phase = made.phases()[-1]
    examples = phase.examples(data)
    batch = phase.collate(examples, np.arange(len(examples)), generator(0, Stream.VIEWS))
    losses = phase.updates[0].loss(batch, StepContext())
    contrasts = {key: term for key, term in losses.items() if term.whole}
    return {key: term.weight * batch.count / len(batch) for key, term in contrasts.items()}


def test_finds_the_models() -> None:
    assert {"mclrec", "cl4srec", "coserec", "duorec", "iclrec", "lma4rec", "srma"} == set(MODELS)


@pytest.mark.parametrize("unit", ["sequences", "windows"])
@pytest.mark.parametrize("name", MODELS)
def test_a_weight_means_so_many_targets_whatever_the_length_of_histories(name: str, unit: str) -> None:
    for longest in (8, 40):
        found = terms_per_target(name, 20, longest, unit=unit, contrast_by="target")
        assert found
        assert list(found.values()) == pytest.approx([0.3] * len(found))
    found = terms_per_target(name, 20, 40, unit=unit, contrast_by="history")
    assert min(found.values()) > 2


@pytest.mark.parametrize("name", MODELS)
def test_says_nothing_after_prefixes(name: str) -> None:
    found = terms_per_target(name, 20, 8, unit="prefixes")
    assert list(found.values()) == pytest.approx([0.3] * len(found))
