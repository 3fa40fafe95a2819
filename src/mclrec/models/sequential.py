"""Base of the models that consist of one sequence encoder and one item table, and their configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from mclrec.configuration import Before
from mclrec.data.batches import Batch, Histories, PaddedHistories, to_device
from mclrec.data.negatives import SharedNegatives, UniformNegatives
from mclrec.data.sequences import SequenceData
from mclrec.losses.recommendation import PerTarget, SharedByBatch, losses_with, make_loss
from mclrec.models.base import VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.model_config import NONZERO, ModelConfig, OnlyWith
from mclrec.models.phases import (
    Losses,
    NextItem,
    Phase,
    StepContext,
    Term,
    Unit,
    Update,
    Viewer,
    next_item_examples,
)
from mclrec.nn.co_occurrence import CoOccurrence
from mclrec.nn.encoders import ConvolutionEncoder, Encoder, GRUEncoder
from mclrec.nn.frequency import Frequencies
from mclrec.nn.packing import take
from mclrec.nn.pointwise_attention import HSTUEncoder
from mclrec.nn.repeats import RepeatBias
from mclrec.nn.transformer import BlockEncoder, TransformerEncoder

__all__ = [
    "AnyEncoderConfig",
    "EncoderConfig",
    "RegimeConfig",
    "SequentialConfig",
    "SequentialRecommender",
    "make_transformer",
]

_SCORES, _FEWEST_QUERIES, _MOST_QUERIES = 2**19, 8, 128
"""Scores that the repeat bias is learned from in an update, and the least and greatest number of their queries."""

_TransformerAlone = OnlyWith(encoder="transformer")


class SizeConfig(ModelConfig):
    """Sizes that every encoder has."""

    max_length: int = Field(50, ge=1, le=100_000, description="n, the longest history that is used")
    hidden_size: int = Field(64, ge=2, le=65_536, description="d, the size of item vectors and hidden states")


class EncoderConfig(SizeConfig):
    """Settings of the encoder; by default SASRec's transformer in the sizes of the paper, section 4.1.4."""

    layers: int = Field(2, ge=1, le=100, description="blocks of the encoder")
    heads: Annotated[int, OnlyWith(encoder=("transformer", "hstu"))] = Field(
        2, ge=1, description="attention heads"
    )
    inner_size: Annotated[int, OnlyWith(encoder=("transformer", "gru"))] = Field(
        256, ge=1, description="size inside the feed-forward part, or of a GRU's state"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout rate of hidden units")
    attention_dropout: Annotated[float, _TransformerAlone] = Field(
        0.5, ge=0, lt=1, description="dropout rate of attention weights"
    )
    positions: Annotated[Literal["oldest", "newest", "relative", "rotary"], _TransformerAlone] = Field(
        "oldest",
        description="positions counted from the oldest or the newest item, or distances between items: a learned bias, "
        "or rotated queries and keys",
    )
    norm: Annotated[Literal["post", "pre"], _TransformerAlone] = Field(
        "post", description="LayerNorm after each part of a block, or before it"
    )
    feed_forward: Annotated[Literal["gelu", "swiglu"], _TransformerAlone, Before("gelu")] = Field(
        "gelu", description="feed-forward part with GELU, or with a gate and half as many weights again"
    )
    alpha: Annotated[float, _TransformerAlone, Before(0.0)] = Field(
        0.0, ge=0, lt=1, description="share of BSARec's frequency filter beside attention; 0 for none"
    )
    frequencies: Annotated[int, OnlyWith(alpha=NONZERO)] = Field(
        5,
        ge=1,
        description="c, how many of the lowest frequencies the filter keeps, at most max_length; waves count twice, so "
        "an even c becomes the next odd one",
    )

    @property
    def filters_whole_histories(self) -> bool:
        """Whether the filter shows each item all items of its history, instead of only those that attention shows."""
        return False

    @model_validator(mode="after")
    def _heads_divide_hidden_size(self) -> Self:
        if self.has_effect("heads") and self.hidden_size % self.heads:
            raise ValueError(f"hidden_size = {self.hidden_size} is not a multiple of heads = {self.heads}")
        if self.has_effect("positions") and self.positions == "rotary" and self.hidden_size // self.heads % 2:
            raise ValueError(
                f"positions = rotary needs heads of an even size: hidden_size = {self.hidden_size} with heads = "
                f"{self.heads} gives {self.hidden_size // self.heads}"
            )
        return self


class RegimeConfig(SizeConfig):
    """Training regime: what a training example is, the recommendation loss, and what is added to scores."""

    calibrated_with = ("co_occurrence", "repeat_bias")
    unit: Unit = Field(
        "prefixes",
        description="one target per example, or one at every position of the end of a user's sequence, or of all of it "
        "in pieces",
    )
    loss: Literal["softmax", "sampled", "gbce", "bce", "bpr-max", "top1-max"] = Field(
        "softmax",
        description="softmax over the catalogue or over drawn items, gSASRec's loss or binary cross-entropy with drawn "
        "negatives, or GRU4Rec's ranking losses",
    )
    label_smoothing: Annotated[float, OnlyWith(loss=losses_with("label_smoothing")), Before(0.0)] = Field(
        0.0, ge=0, lt=1, description="share of a target's probability that goes to all items in equal parts"
    )
    samples: Annotated[int, OnlyWith(loss=losses_with("samples"))] = Field(
        2048, ge=1, description="items drawn once for a batch"
    )
    sample_power: Annotated[float, OnlyWith(loss=losses_with("sample_power"))] = Field(
        0.75, ge=0, le=10, description="power of the popularity by which these are drawn; 0 is uniform"
    )
    negatives: Annotated[int, OnlyWith(loss=losses_with("negatives"))] = Field(
        256, ge=1, le=10_000, description="items drawn for each target"
    )
    calibration: Annotated[float, OnlyWith(loss=losses_with("calibration"))] = Field(
        0.75, ge=0, le=1, description="t, from 0, which is binary cross-entropy, to 1, calibrated"
    )
    penalty: Annotated[float, OnlyWith(loss=losses_with("penalty"))] = Field(
        1.0, ge=0, description="weight of the penalty on the drawn items' scores"
    )
    temperature: float | None = Field(
        None, gt=0, description="scores are cosines divided by it; inner products if none"
    )
    repeat_bias: Annotated[bool, Before(False)] = Field(
        False,
        description="whether the score of an item of the history gains a number learned for its distance from the end",
    )
    co_occurrence: Annotated[float, Before(0.0)] = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight of what is added to items that other histories have near the items of this one; after "
        "training, validation chooses another if that is better (calibrate_scores); 0: nothing",
    )


class SequentialConfig(RegimeConfig, EncoderConfig):
    """A transformer encoder and a regime."""

    @property
    def filters_whole_histories(self) -> bool:
        """Whether the filter is the paper's, which sees later items: only if just the last item predicts."""
        return self.unit == "prefixes"


class AnyEncoderConfig(SequentialConfig):
    """Any of the encoders, for models whose idea does not depend on the encoder."""

    encoder: Literal["transformer", "gru", "convolution", "hstu"] = Field(
        "transformer", description="the network that reads the history"
    )
    last_norm: Annotated[bool, OnlyWith(encoder="hstu"), Before(False)] = Field(
        True,
        description="whether HSTU's last states go through a LayerNorm: inner products with other states, as in a "
        "contrast, are out of proportion without one; where scores are cosines, HSTU itself needs none",
    )


def make_transformer(config: EncoderConfig, num_items: int, *, causal: bool = True) -> TransformerEncoder:
    """Make the transformer of a configuration; see `TransformerEncoder` for ``causal``."""
    settings = {name: getattr(config, name) for name in EncoderConfig.model_fields}
    alpha, asked = settings.pop("alpha"), settings.pop("frequencies")
    most = config.max_length - 1 + config.max_length % 2  # the greatest odd number up to n
    frequencies = Frequencies(min(asked | 1, most), alpha, causal=not config.filters_whole_histories)
    return TransformerEncoder(
        num_items=num_items, causal=causal, frequencies=frequencies if alpha else None, **settings
    )


class SequentialRecommender(VectorRecommender):
    """An encoder, an item table tied to it, and the configured recommendation loss."""

    config: RegimeConfig
    item_tensors: ClassVar[Sequence[str]] = ("encoder.items.weight",)
    supports_sharding = True

    def __init__(self, config: RegimeConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.encoder = self.make_encoder()
        if config.repeat_bias:
            self.repeats = RepeatBias(config.max_length)
        if config.co_occurrence:
            self.co_occurrence = CoOccurrence(num_items, config.max_length, config.co_occurrence)
        self.objective = make_loss(config.loss, dict(config))

    def make_encoder(self) -> Encoder:
        """Make the configured encoder; encoders take plain arguments instead of configurations."""
        config = self.config
        assert isinstance(config, SequentialConfig)
        sizes = {name: getattr(config, name) for name in ("max_length", "hidden_size", "layers", "dropout")}
        kind = config.encoder if isinstance(config, AnyEncoderConfig) else "transformer"
        if kind == "gru":
            return GRUEncoder(num_items=self.num_items, inner_size=config.inner_size, **sizes)
        if kind == "convolution":
            return ConvolutionEncoder(num_items=self.num_items, **sizes)
        if kind == "hstu":
            assert isinstance(config, AnyEncoderConfig)
            heads, last_norm = config.heads, config.last_norm
            return HSTUEncoder(num_items=self.num_items, heads=heads, last_norm=last_norm, **sizes)
        return make_transformer(config, self.num_items)

    @property
    def reads(self) -> int:
        """Number of newest items that are read: as many as the encoder has trained positions for."""
        return self.encoder.usable if isinstance(self.encoder, BlockEncoder) else self.max_length

    def on_fit_start(self, data: SequenceData) -> None:
        """Count co-occurrence, and record the longest training history, without the last item, a mere target."""
        if self.co_occurrence is not None:
            self.co_occurrence.count(data)
        if isinstance(self.encoder, BlockEncoder):
            self.encoder.mark(max(int(data.lengths.max(initial=0)) - 1, 1))

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch, which minimises `loss`."""
        return (self.phase([Update(self.loss, "all")]),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - contrasts need it
        """The recommendation loss alone; models with further losses override this."""
        return self.recommendation_losses(self.target_states(batch), batch)

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) last hidden states."""
        return self.as_queries(self.encoder.encode(histories.items, histories.offsets, "last"))

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Query vectors of padded histories, for export."""
        return self.as_queries(self.encoder(items, lengths))

    def main_parameters(self) -> list[nn.Parameter]:
        """All that scores depend on: the encoder's parameters, and those of what is added to scores."""
        return [*self.encoder.parameters(), *([] if self.repeats is None else self.repeats.parameters())]

    def items(self) -> ItemTable:
        """The encoder's embedding, to which scores are tied."""
        return self.table_of(self.encoder.items.weight)

    def table_of(self, weight: Tensor, bias: Tensor | None = None) -> ItemTable:
        """Item table of vectors (V + 2, d), or this process's rows of them, to be scored by queries of `as_queries`."""
        if self.config.temperature is not None:
            weight = F.normalize(weight, dim=-1) / self.config.temperature
        return ItemTable(weight, self.num_items, bias, self.shard)

    def as_queries(self, states: Tensor) -> Tensor:
        """Query vectors from hidden states (..., d): normalised to length 1 if scores are cosines.

        Popular items grow long vectors, which inner products reward and cosines do not (Gupta et al., NISER:
        Normalized Item and Session Representations to Handle Popularity Bias, 2019).
        """
        return states if self.config.temperature is None else F.normalize(states, dim=-1)

    def phase(self, updates: Sequence[Update], views: Viewer | None = None) -> Phase:
        """The training phase of the configured regime."""
        draws = self.objective.draws
        negatives = UniformNegatives(draws.count) if isinstance(draws, PerTarget) else None
        shared = SharedNegatives(draws.count, draws.power) if isinstance(draws, SharedByBatch) else None
        examples = next_item_examples(self.config.unit, self.max_length)
        return Phase(updates, examples, NextItem(views, negatives, shared), varies=self.varies())

    def varies(self) -> str:
        """Why steps of `phase` differ in shape, see `Phase.varies`; models whose losses read more add reasons."""
        if self.config.unit != "prefixes":
            return f"unit = {self.config.unit} has a target at every item"
        if self.config.repeat_bias:
            return "repeat_bias is learned from the items of packed histories"
        if not getattr(self.encoder, "trains_padded", False):  # any encoding network is accepted
            return f"{type(self.encoder).__name__} trains on packed histories"
        return ""

    def target_states(self, batch: Batch) -> Tensor:
        """Hidden state before each target: (B, d) for prefixes, (T, d) for sequences."""
        return self._states(batch.histories, self.outputs())

    def outputs(self) -> Literal["last", "all"]:
        """Which hidden states of a history precede its targets."""
        return "last" if self.config.unit == "prefixes" else "all"

    def states_with_views(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`target_states`, and the last states (B, d) of each view; computed in one pass for prefixes."""
        if self.config.unit == "prefixes":
            states, *views = self.encode([batch.histories, *batch.views])
            return states, tuple(views)
        return self.target_states(batch), self.encode(batch.views)

    def last_states(self, states: Tensor, histories: Histories) -> Tensor:
        """(B, d) the last state of each history, from the states that `target_states` returned."""
        if self.config.unit == "prefixes":
            return states
        return take(states, to_device(histories.offsets[1:] - 1, states.device))

    def encode(
        self, parts: Sequence[Histories], outputs: Literal["last", "all"] = "last"
    ) -> tuple[Tensor, ...]:
        """Hidden states of several batches of histories, in one pass: of the last tokens, or of all."""
        if not parts:
            return ()
        states = self._states(type(parts[0]).concatenate(list(parts)), outputs)
        return torch.split(states, [len(part) if outputs == "last" else len(part.items) for part in parts])

    def _states(self, histories: Histories | PaddedHistories, outputs: Literal["last", "all"]) -> Tensor:
        """Hidden states of histories; of padded ones, which have more tokens than the histories, only the last."""
        if isinstance(histories, PaddedHistories):
            assert outputs == "last", "what needs all states says so in `varies`"
            last: Tensor = self.encoder(histories.items, histories.lengths)
            return last
        return self.encoder.encode(histories.items, histories.offsets, outputs)

    def recommendation_losses(self, states: Tensor, batch: Batch, table: ItemTable | None = None) -> Losses:
        """L_rec, the configured loss of all targets of a batch, and the loss of the repeat bias.

        Args:
            states: hidden state before each target, as `target_states` returns them.
            batch: targets, and the items drawn for the loss.
            table: a catalogue other than the model's own, to be used without repeat bias.
        """
        queries, catalogue = self.as_queries(states), table or self.items()
        losses: Losses = {"rec": Term(self.objective(catalogue, queries, batch), batch.count)}
        if self.repeats is None or table is not None:
            return losses
        return losses | {"repeats": self._repeat_loss(self.repeats, catalogue, queries, batch)}

    def _repeat_loss(self, repeats: RepeatBias, catalogue: ItemTable, queries: Tensor, batch: Batch) -> Term:
        """Softmax loss with the repeat bias, of some of the targets: there are only a few numbers to learn.

        Queries and items are detached, so that they train as if nothing were added.
        """
        most = max(_FEWEST_QUERIES, min(_MOST_QUERIES, _SCORES // self.num_items))
        step = max(1, -(-len(queries) // most))
        histories = batch.histories
        additions = repeats(histories.items, histories.offsets, self.outputs(), step)
        loss = catalogue.detach().cross_entropy(queries[::step].detach(), batch.targets[::step], additions)
        return Term(loss, batch.count / step)
