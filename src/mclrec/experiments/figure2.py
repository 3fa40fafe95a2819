"""Figure 2: what R does to the augmenters' views z1 and z2."""

from __future__ import annotations

from functools import partial

from mclrec.experiments.cloud import clouds_of
from mclrec.experiments.target import Target

__all__ = ["TARGET"]

TARGET = Target(
    "figure2",
    "Views of the augmenters, with and without R",
    "figure 2",
    lambda scope: scope.variants({"without R": {"gamma": 0.0}, "with R": {}}),
    kind="clouds",
    x="t-SNE, first direction",
    metrics=("HR@20", "NDCG@20"),
    clouds=partial(clouds_of, views=("z1", "z2")),
)
