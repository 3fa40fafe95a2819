"""Figure 6: the weights of both contrasts, one changed at a time."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_WEIGHTS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Those of section 4.1.4, and none."""


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, "mclrec", settings={name: weight}), name, weight)
        for data in scope.datasets
        for name in ("lambda", "beta")
        for weight in _WEIGHTS
    ]


TARGET = Target(
    "figure6",
    "Weights of the contrasts",
    "figure 6",
    _entries,
    kind="lines",
    x="weight",
    metrics=("HR@20", "NDCG@20"),
    notes=("The other weight is the recipe's. With both 0 it is SASRec, its encoder updated twice a batch.",),
)
