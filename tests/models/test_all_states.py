"""Contrasts that include the states of padding, in all models that support them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import SMALL, tiny_data

from mclrec.data.batches import Batch, Histories
from mclrec.losses.contrastive import info_nce
from mclrec.models.all_states import AllStatesRecommender
from mclrec.models.cl4srec import CL4SRec, CL4SRecConfig
from mclrec.models.iclrec import ICLRec
from mclrec.models.phases import FitContext, StepContext
from mclrec.models.registry import model_class
from mclrec.models.srma import SRMA
from mclrec.randomness import Stream, generator

DATA = tiny_data()
MODELS: dict[str, dict[str, Any]] = {
    "cl4srec": {},
    "coserec": {},
    "iclrec": {"intents": 3},
    "lma4rec": {"keep": 1 - 1e-6},
    "srma": {},
}
PADDED = SMALL | {"unit": "sequences", "positions": "newest", "contrast": "padded"}


def model(name: str, **settings: Any) -> AllStatesRecommender:
    torch.manual_seed(0)
    cls = model_class(name)
    made = cls(cls.config_type.model_validate(PADDED | MODELS[name] | settings), DATA.num_items)
    assert isinstance(made, AllStatesRecommender)
    torch.nn.init.normal_(made.encoder.items.weight)
    made.on_fit_start(DATA)
    made.on_epoch_start(FitContext(DATA, 1, lambda: generator(1, Stream.CLUSTERING)))
    return made.eval()


def batch_of(made: AllStatesRecommender) -> Batch:
    phase = made.phases()[-1]
    batch: Batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    return batch


def every_place(made: AllStatesRecommender, histories: Histories) -> torch.Tensor:
    """States (B, n, d) of all places, padding included."""
    rows = torch.zeros(len(histories), 6, dtype=torch.int64)
    for row, (start, stop) in zip(
        rows, zip(histories.offsets, histories.offsets[1:], strict=False), strict=True
    ):
        first = 0 if made.config.positions == "oldest" else 6 - (stop - start)
        row[first : first + stop - start] = histories.items[start:stop]
    states = made.encoder.encode_padding(rows.flatten(), torch.arange(len(rows) + 1) * 6).view(
        len(rows), 6, -1
    )
    return made.further(states) if isinstance(made, SRMA) else states


@pytest.mark.parametrize("positions", ["newest", "oldest"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_hold_the_states_of_all_places(name: str, positions: str) -> None:
    made = model(name, positions=positions)
    batch = batch_of(made)
    one, other = (every_place(made, view).flatten(1) for view in batch.views)
    [update, *_] = made.phases()[-1].updates
    losses = update.loss(batch, StepContext())
    contrast = losses.get("instances") or losses["cl"]
    torch.testing.assert_close(contrast.mean, info_nce(one, other))


def test_the_mean_of_a_history_is_over_all_places() -> None:
    made = model("iclrec")
    assert isinstance(made, ICLRec)
    batch = batch_of(made)
    own, *views = (every_place(made, part).mean(1) for part in (batch.histories, *batch.views))
    nearest = made.centroids[torch.cdist(own, made.centroids).argmin(1)]
    intents = torch.nn.functional.normalize(nearest, dim=1)
    expected = torch.stack([info_nce(view, intents) for view in views]).mean()
    torch.testing.assert_close(made.loss(batch, StepContext())["intents"].mean, expected)


@pytest.mark.parametrize("encoder", ["gru", "convolution", "hstu"])
def test_padding_of_other_encoders_is_hidden_items(encoder: str) -> None:
    settings = {"encoder": encoder, "unit": "sequences", "contrast": "padded"}
    sizes = {key: SMALL[key] for key in ("hidden_size", "max_length", "dropout")}
    made = CL4SRec(CL4SRecConfig.model_validate(sizes | settings), DATA.num_items).eval()
    batch = batch_of(made)
    one, other = (every_place(made, view).flatten(1) for view in batch.views)
    torch.testing.assert_close(made.loss(batch, StepContext())["cl"].mean, info_nce(one, other))
