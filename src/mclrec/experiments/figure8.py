"""Figure 8: users with few interactions and with many, each group trained and evaluated on its own."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.data.statistics import GROUPS
from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, model, lengths=(shortest, longest)), f"{model}, {label}")
        for data in scope.datasets
        for model in scope.models
        for label, shortest, longest in GROUPS
    ]


TARGET = Target(
    "figure8",
    "Users by number of interactions",
    "figure 8",
    _entries,
    models=("sasrec", "cl4srec", "duorec", "mclrec"),
    kind="bars",
    x="interactions",
    metrics=("HR@20", "NDCG@20"),
    notes=("The catalogue is that of all users: targets of every group are ranked among the same items.",),
)
