"""What the models that are a sequence encoder over one item table have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.negatives import UniformNegatives
from mclrec.losses.ranking import binary_cross_entropy
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import NextItem, Phase, Term, Update, Viewer, next_item_examples
from mclrec.nn.convolution import ConvolutionEncoder
from mclrec.nn.gru import GRUEncoder
from mclrec.nn.packing import take
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["AnyEncoderConfig", "EncoderConfig", "SequentialConfig", "SequentialRecommender", "make_encoder"]


class EncoderConfig(ModelConfig):
    """The encoder: SASRec's transformer in the sizes of the paper, section 4.1.4."""

    max_length: int = Field(50, ge=1, description="n, the longest history that is used")
    hidden_size: int = Field(64, ge=2, description="d, the size of vectors")
    layers: int = Field(2, ge=1, description="transformer blocks")
    heads: int = Field(2, ge=1, description="attention heads")
    inner_size: int = Field(256, ge=1, description="size inside the feed-forward part")
    dropout: float = Field(0.5, ge=0, lt=1, description="rate on hidden units")
    attention_dropout: float = Field(0.5, ge=0, lt=1, description="rate on attention weights")
    positions: Literal["oldest", "newest", "relative"] = Field(
        "oldest", description="where position ids count from, or by distance between items"
    )
    norm: Literal["post", "pre"] = Field(
        "post", description="LayerNorm behind each part of a block, or before it"
    )

    @model_validator(mode="after")
    def _heads_divide_hidden_size(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size = {self.hidden_size} is not a multiple of heads = {self.heads}")
        return self


class SequentialConfig(EncoderConfig):
    """The regime: what an example is, and which loss its targets get."""

    unit: Literal["prefixes", "sequences"] = Field(
        "prefixes", description="one target an example, or one at every position of a user's sequence"
    )
    loss: Literal["softmax", "bce"] = Field(
        "softmax", description="over the catalogue, or one negative a target"
    )
    temperature: float | None = Field(
        None, gt=0, description="scores are cosines divided by it; inner products if none"
    )


class AnyEncoderConfig(SequentialConfig):
    """For models whose idea does not depend on the encoder."""

    encoder: Literal["transformer", "gru", "convolution"] = Field(
        "transformer",
        description="what reads the history; its heads, positions and norm are the transformer's",
    )


class SequentialRecommender(VectorRecommender):
    """Encoder, tied item table, and the recommendation loss of either regime."""

    config: SequentialConfig
    item_tensors: ClassVar[Sequence[str]] = ("encoder.items.weight",)
    supports_sharding = True

    def __init__(self, config: SequentialConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.encoder = make_encoder(config, num_items)

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) last hidden states."""
        return self.as_queries(self.encoder.encode(histories.items, histories.offsets))

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """See `VectorRecommender.padded_query_vectors`."""
        return self.as_queries(self.encoder(items, lengths))

    def items(self) -> ItemTable:
        """The encoder's own embedding: scores are tied to it."""
        return self.table_of(self.encoder.items.weight)

    def table_of(self, weight: Tensor) -> ItemTable:
        """The catalogue by vectors (V + 2, d), or this process's of them, for what `as_queries` gives."""
        if self.config.temperature is not None:
            weight = F.normalize(weight, dim=-1) / self.config.temperature
        return ItemTable(weight, self.num_items, shard=self.shard)

    def as_queries(self, states: Tensor) -> Tensor:
        """Hidden states (..., d) as they meet the catalogue: of length 1 where scores are cosines.

        Popular items grow long vectors, which inner products reward and cosines do not (Gupta et al., NISER:
        Normalized Item and Session Representations to Handle Popularity Bias, 2019).
        """
        return states if self.config.temperature is None else F.normalize(states, dim=-1)

    def phase(self, updates: Sequence[Update], views: Viewer | None = None) -> Phase:
        """The training phase of the configured regime."""
        negatives = UniformNegatives() if self.config.loss == "bce" else None
        examples = next_item_examples(self.config.unit, self.max_length)
        return Phase(updates, examples, NextItem(views, negatives))

    def target_states(self, batch: Batch) -> Tensor:
        """Hidden state before each target: (B, d) after prefixes, (T, d) in sequences."""
        return self.encoder.encode(batch.histories.items, batch.histories.offsets, self.outputs())

    def outputs(self) -> Literal["last", "all"]:
        """Which states stand before targets."""
        return "last" if self.config.unit == "prefixes" else "all"

    def states_with_views(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`target_states`, and the last states (B, d) of each view; in one pass after prefixes."""
        if self.config.unit == "prefixes":
            states, *views = self.encode([batch.histories, *batch.views])
            return states, tuple(views)
        return self.target_states(batch), self.encode(batch.views)

    def last_states(self, states: Tensor, histories: Histories) -> Tensor:
        """(B, d) of what `target_states` gave."""
        if self.config.unit == "prefixes":
            return states
        return take(states, histories.offsets[1:].to(states.device) - 1)

    def encode(
        self, parts: Sequence[Histories], outputs: Literal["last", "all"] = "last"
    ) -> tuple[Tensor, ...]:
        """Hidden states of several batches of histories, in one pass: of the last tokens, or of all."""
        if not parts:
            return ()
        together = Histories.concatenate(list(parts))
        states = self.encoder.encode(together.items, together.offsets, outputs)
        return torch.split(states, [len(part) if outputs == "last" else len(part.items) for part in parts])

    def recommendation_loss(self, states: Tensor, batch: Batch, table: ItemTable | None = None) -> Term:
        """L_rec: eq. 3 with its y-hat read as logits, or SASRec's binary cross-entropy.

        Args:
            states: hidden state before each target, as `target_states` gives them.
            batch: targets and, for the latter, negatives.
            table: the catalogue; the model's own by default.
        """
        table, states = table or self.items(), self.as_queries(states)
        if batch.negatives is None:
            return Term(table.cross_entropy(states, batch.targets), batch.count)
        positive = table.pair_scores(states, batch.targets)
        negative = table.pair_scores(states, batch.negatives)
        return Term(binary_cross_entropy(positive, negative), batch.count)


def make_encoder(
    config: SequentialConfig, num_items: int
) -> TransformerEncoder | GRUEncoder | ConvolutionEncoder:
    """The configured encoder: configuration stops here."""
    sizes = {name: getattr(config, name) for name in ("max_length", "hidden_size", "layers", "dropout")}
    kind = config.encoder if isinstance(config, AnyEncoderConfig) else "transformer"
    if kind == "gru":
        return GRUEncoder(num_items=num_items, inner_size=config.inner_size, **sizes)
    if kind == "convolution":
        return ConvolutionEncoder(num_items=num_items, **sizes)
    return TransformerEncoder(
        num_items=num_items, **{name: getattr(config, name) for name in EncoderConfig.model_fields}
    )
