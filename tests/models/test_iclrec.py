from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.helpers import tiny_data

from mclrec.errors import ConfigError, TrainingError
from mclrec.losses.contrastive import info_nce
from mclrec.models.iclrec import ICLRec, ICLRecConfig, kmeans
from mclrec.models.phases import FitContext, StepContext
from mclrec.randomness import Stream, generator

DATA = tiny_data()
CONTEXT = FitContext(DATA, 1, lambda: generator(1, Stream.CLUSTERING))


def model(**settings: Any) -> ICLRec:
    torch.manual_seed(0)
    small = {"hidden_size": 8, "inner_size": 16, "max_length": 6, "intents": 3, "unit": "sequences"}
    return ICLRec(ICLRecConfig.model_validate(small | settings), DATA.num_items)


def means(made: ICLRec) -> torch.Tensor:
    """Mean states of the training histories, one by one."""
    rows = [DATA.sequence(user)[:-1][-6:].tolist() for user in range(DATA.num_users)]
    states = [made.encoder.encode(torch.tensor(row), torch.tensor([0, len(row)]), "all") for row in rows]
    return torch.stack([state.mean(0) for state in states])


def test_centroids_are_found_anew_each_epoch_without_dropout() -> None:
    made = model().train()
    made.on_epoch_start(CONTEXT)
    assert made.training
    points = means(made.eval()).detach()
    first = made.centroids.clone()
    nearest = torch.cdist(points, first).argmin(1)
    for number, centroid in enumerate(first):  # each is the mean of the points nearest to it
        torch.testing.assert_close(centroid, points[nearest == number].mean(0), rtol=1e-4, atol=1e-4)
    torch.nn.init.normal_(made.encoder.items.weight)
    made.on_epoch_start(CONTEXT)
    assert not torch.allclose(made.centroids, first)


def test_contrasts_equal_their_definitions() -> None:
    made = model(dropout=0, attention_dropout=0)
    made.on_epoch_start(CONTEXT)
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    losses = made.loss(batch, StepContext())
    flat, pooled = [], []
    for view in batch.views:
        states = made.encoder.encode(view.items, view.offsets, "all")
        parts = [states[start:stop] for start, stop in zip(view.offsets[:-1], view.offsets[1:], strict=True)]
        flat.append(torch.stack([F.pad(part, (0, 0, 6 - len(part), 0)).flatten() for part in parts]))
        pooled.append(torch.stack([part.mean(0) for part in parts]))
    nearest = torch.cdist(means(made)[:20], made.centroids).argmin(1)
    intents = made.centroids[nearest] / made.centroids[nearest].norm(dim=1, keepdim=True)
    torch.testing.assert_close(losses["instances"].mean, info_nce(flat[0], flat[1]))
    expected = (info_nce(pooled[0], intents) + info_nce(pooled[1], intents)) / 2
    torch.testing.assert_close(losses["intents"].mean, expected)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.extras.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install \"mclrec\[cluster\]\""):
        model().on_epoch_start(CONTEXT)


def test_states_that_are_not_finite_have_no_clusters() -> None:
    found = model()
    with torch.no_grad():
        found.encoder.items.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="states are not finite"):
        found.on_epoch_start(CONTEXT)


def test_histories_that_are_alike_share_a_centroid_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    found = kmeans(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat(5, 1), 4, np.random.default_rng(0))
    assert found.unique(dim=0).tolist() == [[1, 2], [3, 4]]
    assert not [str(warning.message) for warning in recwarn]
