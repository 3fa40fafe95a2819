"""GRU4Rec: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.

A recurrent network reads the history; its last state is the query. The losses are cross-entropy over the catalogue
(``softmax``), or those of Hidasi and Karatzoglou, CIKM 2018, against items drawn for the whole batch (``bpr-max``,
``top1-max``), or any other loss.

Departs from the papers in: a user's history is one sequence with a target at every position (or prefixes), and the
gradient goes back to its beginning, instead of session-parallel batches of single steps; negatives are only drawn
items, in proportion to a power of popularity, without the other targets of the batch; scores are tied to the item
table, which the authors' code offers as "constrained embedding".
"""

from __future__ import annotations

from pydantic import Field

from mclrec.models.item_table import ItemTable
from mclrec.models.sequential import RegimeConfig, SequentialRecommender
from mclrec.nn.encoders import GRUEncoder
from mclrec.nn.items import item_biases

__all__ = ["GRU4Rec", "GRU4RecConfig"]


class GRU4RecConfig(RegimeConfig):
    """Configuration of GRU4Rec: sizes of the recurrent network and a regime."""

    inner_size: int = Field(128, ge=1, description="size of the recurrent state")
    layers: int = Field(1, ge=1, le=100, description="recurrent layers")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout rate after the embedding")


class GRU4Rec(SequentialRecommender):
    """A recurrent network trained by the recommendation loss alone, with a bias for each item."""

    config_type = GRU4RecConfig
    config: GRU4RecConfig
    item_tensors = ("encoder.items.weight", "item_biases")

    def __init__(self, config: GRU4RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.item_biases = item_biases(num_items)

    def make_encoder(self) -> GRUEncoder:
        """The recurrent network."""
        sizes = {
            name: getattr(self.config, name) for name in ("max_length", "hidden_size", "layers", "dropout")
        }
        return GRUEncoder(num_items=self.num_items, inner_size=self.config.inner_size, **sizes)

    def items(self) -> ItemTable:
        """The encoder's embedding, with biases."""
        return self.table_of(self.encoder.items.weight, self.item_biases)
