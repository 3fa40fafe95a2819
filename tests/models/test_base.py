from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase

ITEMS = 7


class Widths(ModelConfig):
    hidden_size: int = 2


class Means(VectorRecommender):
    """A model whose query is the mean of the history's vectors."""

    config_type = Widths

    def __init__(self, config: Widths, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.table = nn.Embedding(num_items + 1, config.hidden_size)

    def phases(self) -> Sequence[Phase]:
        return ()

    def query_vectors(self, histories: Histories) -> Tensor:
        parts = self.table(histories.items).split(histories.lengths.tolist())
        return torch.stack([part.mean(0) for part in parts])

    def items(self) -> ItemTable:
        return ItemTable(self.table.weight, self.num_items)


def test_a_vector_recommender_needs_vectors_only() -> None:
    torch.manual_seed(0)
    model = Means(Widths(), ITEMS, num_users=9)
    histories = Histories.of(Packed.of([[1, 2], [3]]))
    vectors = model.table.weight
    expected = torch.stack([(vectors[1] + vectors[2]) / 2, vectors[3]]) @ vectors.T
    torch.testing.assert_close(model.scores(histories), expected)
    assert model.num_users == 0  # it has no user vectors
    assert model.parameter_groups() == {"all": list(model.parameters())}


def test_configurations_are_frozen_and_know_their_keys() -> None:
    with pytest.raises(ValidationError, match="widht"):
        Widths.model_validate({"widht": 3})
    with pytest.raises(ValidationError, match="frozen"):
        Widths().hidden_size = 3
