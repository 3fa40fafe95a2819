"""Figure 5: the data's views h1 and h2, learnt jointly or by turns."""

from __future__ import annotations

from functools import partial

from mclrec.experiments.cloud import clouds_of
from mclrec.experiments.target import Target

__all__ = ["TARGET"]

TARGET = Target(
    "figure5",
    "Views of the data under joint and under meta learning",
    "figure 5",
    lambda scope: scope.variants({"MCLRec-J": {"updates": "joint"}, "MCLRec": {}}),
    kind="clouds",
    x="t-SNE, first direction",
    metrics=("HR@20", "NDCG@20"),
    clouds=partial(clouds_of, views=("h1", "h2")),
)
