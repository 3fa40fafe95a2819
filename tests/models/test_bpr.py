from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.helpers import tiny_data

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.losses.sampled import bpr
from mclrec.models.bpr import BPR, BPRConfig
from mclrec.models.phases import StepContext

DATA = tiny_data()


def model(**settings: Any) -> BPR:
    torch.manual_seed(0)
    made = BPR(BPRConfig.model_validate({"hidden_size": 4, **settings}), DATA.num_items, DATA.num_users)
    made.on_fit_start(DATA)
    torch.nn.init.normal_(made.item_biases)
    return made


def test_every_interaction_against_items_that_the_user_does_not_have() -> None:
    made = model(negatives=2)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    assert len(examples) == len(DATA.items)
    batch = phase.collate(examples, np.arange(len(examples)), np.random.default_rng(0))
    assert batch.targets.tolist() == DATA.items.tolist()
    scores = made.user_vectors(batch.histories.users) @ made.item_vectors.weight.T + made.item_biases
    assert batch.negatives is not None
    positive, negative = scores.gather(1, batch.targets[:, None])[:, 0], scores.gather(1, batch.negatives)
    expected = bpr(positive, negative) / len(examples)
    torch.testing.assert_close(made.loss(batch, StepContext())["rec"].mean, expected)


def test_users_have_their_vectors_and_strangers_the_mean_of_their_items() -> None:
    made = model()
    histories = Histories.of(Packed.of([[1, 2], [3], [3, 5, 5]]), np.array([4, 0, 0]))
    items = made.item_vectors.weight
    expected = torch.stack([made.user_vectors.weight[4], items[3], (items[3] + 2 * items[5]) / 3])
    torch.testing.assert_close(made.query_vectors(histories), expected)
