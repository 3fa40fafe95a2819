"""BSARec: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention, AAAI 2024.

A transformer with a frequency filter beside self-attention in each block. The filter keeps the lowest c frequencies of
its input over the n places of a history and multiplies all others by beta, the square of a learned number for each
channel; filter and attention have the shares alpha and 1 - alpha. The paper trains on prefixes, with softmax over the
catalogue; the last hidden state is the query. The filter is in `mclrec.nn.frequency`; every model with a transformer
can use it (`alpha`).

- ``filter = "window"`` is the paper's: an item also sees those after it, around a circle of n places. This is correct
  only if just the last state of a history predicts, as with ``unit = "prefixes"``.
- ``filter = "causal"`` is ours, and is used with other units: each item gets what the paper's filter gives it in the
  prefix that ends with it. The first block thus equals the paper's for every prefix, unless positions are counted from
  the newest item and so change with the end; later blocks read states that have seen less than the paper's. With one
  block, both filters are the same.

Departs from the paper in: filter and attention each have dropout, residual and LayerNorm before they are added, as in
the authors' code. Departs from that code, as far as we know it, in: padding holds zeros in every block. In the code,
padding has vectors of its own, an untrained item plus a position, which the filter mixes into the items and fills
with content from block to block.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mclrec.models.model_config import NONZERO, OnlyWith, OtherThan
from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["BSARec", "BSARecConfig"]


class BSARecConfig(SequentialConfig):
    """Configuration of BSARec: an encoder, its filter, and a regime."""

    norm: Literal["post"] = Field("post", description="LayerNorm after each part of a block")
    alpha: float = Field(0.7, ge=0, lt=1, description="share of the filter beside attention; 0 for none")
    filter: Annotated[
        Literal["window", "causal"],
        OnlyWith(unit="prefixes"),
        OnlyWith(layers=OtherThan(1)),
        OnlyWith(alpha=NONZERO),
    ] = Field(
        "window", description="whether the filter sees the items after a place; causal with any other unit"
    )

    @property
    def filters_whole_histories(self) -> bool:
        """Whether the filter also shows an item those after it."""
        return self.unit == "prefixes" and self.filter == "window"


class BSARec(SequentialRecommender):
    """A transformer with a frequency filter beside attention, trained by the recommendation loss alone."""

    config_type = BSARecConfig
    config: BSARecConfig
    encoder: TransformerEncoder
