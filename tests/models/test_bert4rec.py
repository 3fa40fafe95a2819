from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from tests.helpers import tiny_data

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.models.bert4rec import BERT4Rec, BERT4RecConfig
from mclrec.models.phases import StepContext

DATA = tiny_data()


def model(**settings: Any) -> BERT4Rec:
    torch.manual_seed(0)
    small = {"hidden_size": 8, "inner_size": 16, "max_length": 4, "dropout": 0, "attention_dropout": 0}
    made = BERT4Rec(BERT4RecConfig.model_validate(small | settings), DATA.num_items)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.double()


def projected(made: BERT4Rec, items: list[int]) -> torch.Tensor:
    state = made.encoder(torch.tensor([items]), torch.tensor([len(items)]))
    query: torch.Tensor = made.norm(F.gelu(made.projection(state)))[0]
    return query


def test_a_short_history_keeps_its_oldest_item_and_a_full_one_does_not() -> None:
    made, mask = model(), DATA.num_items + 1
    queries = made.query_vectors(Histories.of(Packed.of([[1], [1, 2, 3], [1, 2, 3, 4]])))
    for query, items in zip(queries, ([1, mask], [1, 2, 3, mask], [2, 3, 4, mask]), strict=True):
        torch.testing.assert_close(query, projected(made, items))


def test_a_history_has_room_for_an_item_beside_the_mask() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        model(max_length=1)  # the mask alone: everybody would get the same list


def test_both_sides_count() -> None:
    made, mask = model(), DATA.num_items + 1
    one, other = (
        made.encoder.encode(torch.tensor([1, mask, item]), torch.tensor([0, 3]), "all") for item in (2, 3)
    )
    assert not torch.allclose(one[1], other[1])


def test_the_loss_is_that_of_all_hidden_items_the_first_included() -> None:
    made = model(mask_ratio=0.6)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    batch = phase.collate(examples, np.arange(len(examples)), np.random.default_rng(0))
    starts = batch.histories.offsets[:-1]
    assert (batch.targets[starts] > 0).any()
    states = made.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
    queries = made.norm(F.gelu(made.projection(states)))
    scores = queries @ made.encoder.items.weight[:-1].T + made.item_biases
    expected = F.cross_entropy(scores[batch.targets > 0], batch.targets[batch.targets > 0])
    torch.testing.assert_close(made.loss(batch, StepContext())["rec"].mean, expected)
