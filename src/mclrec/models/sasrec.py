"""SASRec: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.

A causal transformer over the history; the last hidden state is the query (section III). Two regimes:

- ``unit = "prefixes", loss = "softmax"``: the encoder of DuoRec and MCLRec trained by the recommendation loss alone.
- ``unit = "sequences", loss = "bce", positions = "newest"``: the paper's own, with one uniform negative per position,
  as S3-Rec, CoSeRec and ICLRec run it.

With ``loss = "gbce"`` it is gSASRec (Petrov and Macdonald, RecSys 2023).

Departs from the paper in: post-norm blocks, GELU, an inner size of 4 d, scores tied to the item table, LayerNorm
after the embedding; all as in the implementations that the tables of this field come from.
"""

from __future__ import annotations

from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["SASRec", "SASRecConfig"]


class SASRecConfig(SequentialConfig):
    """Configuration of SASRec: an encoder and a regime."""


class SASRec(SequentialRecommender):
    """A causal transformer trained by the recommendation loss alone."""

    config_type = SASRecConfig
    config: SASRecConfig
    encoder: TransformerEncoder
