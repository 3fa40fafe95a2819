from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tests.helpers import SMALL, tiny_data

from mclrec.augment.similarity import by_users, by_vectors, either
from mclrec.data.packed import Packed
from mclrec.losses.contrastive import info_nce
from mclrec.models.coserec import CoSeRec, CoSeRecConfig
from mclrec.models.phases import FitContext, StepContext
from mclrec.randomness import Stream, generator

DATA = tiny_data()


def model(**settings: Any) -> CoSeRec:
    torch.manual_seed(0)
    small = SMALL | {"unit": "sequences"}
    made = CoSeRec(CoSeRecConfig.model_validate(small | settings), DATA.num_items)
    torch.nn.init.normal_(made.encoder.items.weight)
    made.on_fit_start(DATA)
    return made


def test_vectors_have_a_say_after_the_warm_up() -> None:
    made = model(warm_up=2)
    counted = by_users(Packed(DATA.items.astype(np.int64), DATA.offsets), DATA.num_items)
    mixed = either(counted, by_vectors(made.encoder.items.weight[:-1].detach().numpy()))
    assert counted.items.tolist() != mixed.items.tolist()
    for epoch, expected in ((1, counted), (2, counted), (3, mixed)):
        made.on_epoch_start(FitContext(DATA, epoch, lambda: generator(1, Stream.CLUSTERING)))
        assert made.nearest.tolist() == expected.items.tolist()


def test_short_histories_are_neither_cropped_nor_reordered() -> None:
    made = model(short=6)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    batch = phase.collate(examples, np.arange(len(examples)), np.random.default_rng(0))
    for view in batch.views:
        lengths = view.lengths
        assert (lengths >= torch.minimum(batch.histories.lengths, torch.tensor(6))).all()
        assert lengths.max() <= 6


def test_the_contrast_is_that_of_all_states_side_by_side() -> None:
    made = model()
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(20), np.random.default_rng(0))
    rows = []
    for view in batch.views:
        states = made.encoder.encode(view.items, view.offsets, "all")
        parts = [states[start:stop] for start, stop in zip(view.offsets[:-1], view.offsets[1:], strict=True)]
        rows.append(torch.stack([F.pad(part, (0, 0, 6 - len(part), 0)).flatten() for part in parts]))
    torch.testing.assert_close(made.loss(batch, StepContext())["cl"].mean, info_nce(rows[0], rows[1]))
