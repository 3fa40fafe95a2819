"""HSTU: Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations, ICML 2024 (section 3.2), on sequences of items alone, as in its experiments on public data.

A block has pointwise attention, without a softmax, so that its weights express absolute intensity and not only shares,
and a gate in place of a feed-forward part.

    U, V, Q, K = split(SiLU(f1(X)))                                  eq. 1
    A V        = SiLU(Q K^T + rab) V / n                             eq. 2
    Y          = X + f2(Norm(A V) * U)                               eq. 3

Scores are cosines of the last state and the items, divided by a temperature. As in the authors' code: X is normalised
before f1, both norms have no weights, f1 has no bias, rab is one learned number per distance for all heads of a block,
inputs are item vectors times the square root of d plus a learned position, and dropout comes before f2.

Departs from the paper in: rab depends on distances but not on times, which no encoder here sees; the loss is the
softmax over the catalogue unless another is chosen, instead of one over drawn items. The blocks are in
`mclrec.nn.pointwise_attention`; models that take any encoder can use them too (``encoder = "hstu"``), followed by a
LayerNorm, one of the two last steps in the authors' code; the other, vectors of length 1, is part of the cosines.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mclrec.models.sequential import RegimeConfig, SequentialRecommender
from mclrec.nn.pointwise_attention import HSTUEncoder

__all__ = ["HSTU", "HSTUConfig"]


class HSTUConfig(RegimeConfig):
    """Configuration of HSTU: its blocks, and a regime."""

    layers: int = Field(2, ge=1, le=100, description="blocks of the encoder")
    heads: int = Field(1, ge=1, description="attention heads")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate after the embedding and in each block")
    temperature: float | None = Field(
        0.05, gt=0, description="scores are cosines divided by it; inner products if none"
    )

    @model_validator(mode="after")
    def _heads_divide_hidden_size(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size = {self.hidden_size} is not a multiple of heads = {self.heads}")
        return self


class HSTU(SequentialRecommender):
    """Blocks of pointwise attention, trained by the recommendation loss alone."""

    config_type = HSTUConfig
    config: HSTUConfig
    encoder: HSTUEncoder

    def make_encoder(self) -> HSTUEncoder:
        """The encoder as configured."""
        names = ("max_length", "hidden_size", "layers", "heads", "dropout")
        return HSTUEncoder(num_items=self.num_items, **{name: getattr(self.config, name) for name in names})
