"""BSARec: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention, AAAI 2024.

A transformer with a frequency filter beside self-attention in each block. The filter keeps the lowest c frequencies of
its input over the n places of a history and multiplies all others by beta, the square of a learned number for each
channel; filter and attention have the shares alpha and 1 - alpha. The block is in `mclrec.nn.frequency`. The paper
trains on prefixes, by softmax over the catalogue; the last hidden state is the query.

- ``filter = "window"`` is the paper's: an item sees those after it too, round a circle of n places. This is right where
  only the last state of a history predicts, ``unit = "prefixes"``, and refused elsewhere.
- ``filter = "causal"`` is ours, and what other units have: each item has what the paper's filter gives it in the prefix
  that it ends. The first block is thus the paper's at every prefix, unless positions are counted from the newest item
  and so change with the end; later blocks read states that have seen less than the paper's.

Departs from the paper in: filter and attention each have dropout, residual and LayerNorm before they are added, as in
the authors' code. Departs from that code, as far as we know it, in: padding holds zeros in every block. In the code,
padding has vectors of its own, an untrained item plus a position, which the filter mixes into the items and fills
with content from block to block. And c is odd: the code takes an even c for the next odd number.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mclrec.models.sequential import EncoderConfig, SequentialConfig, SequentialRecommender
from mclrec.nn.frequency import Frequencies
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["BSARec", "BSARecConfig"]


class BSARecConfig(SequentialConfig):
    """Configuration of BSARec: an encoder, its filter, and a regime."""

    norm: Literal["post"] = Field("post", description="LayerNorm after each part of a block")
    alpha: float = Field(0.7, gt=0, lt=1, description="share of the filter beside attention")
    frequencies: int = Field(
        5, ge=1, description="c, lowest frequencies that are kept: odd, as each wave counts twice"
    )
    filter: Literal["window", "causal"] | None = Field(
        None,
        description="whether the filter sees the items after a place; if none, as far as the unit allows",
    )

    @property
    def causal(self) -> bool:
        """Whether the filter sees none of the items after a position."""
        return self.filter == "causal" or self.unit != "prefixes"

    @model_validator(mode="after")
    def _filter_suits(self) -> Self:
        if self.filter == "window" and self.unit != "prefixes":
            raise ValueError(
                f"filter = window shows a position the items after it, which unit = {self.unit} predicts: "
                "set filter = causal"
            )
        if self.frequencies % 2 == 0 or self.frequencies >= self.max_length:
            raise ValueError(
                f"frequencies = {self.frequencies} is not an odd number below max_length = {self.max_length}"
            )
        return self


class BSARec(SequentialRecommender):
    """A transformer with a frequency filter beside attention, trained by the recommendation loss alone."""

    config_type = BSARecConfig
    config: BSARecConfig
    encoder: TransformerEncoder

    def make_encoder(self) -> TransformerEncoder:
        """A transformer whose blocks have the filter."""
        config = self.config
        return TransformerEncoder(
            num_items=self.num_items,
            frequencies=Frequencies(config.frequencies, config.alpha, causal=config.causal),
            **{name: getattr(config, name) for name in EncoderConfig.model_fields},
        )
