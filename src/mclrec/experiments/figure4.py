"""Figure 4: how small a batch the contrast bears."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_SIZES = (32, 64, 128, 256, 512)


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, model, settings={"batch_size": size}), model, size)
        for data in scope.datasets
        for model in scope.models
        for size in _SIZES
    ]


TARGET = Target(
    "figure4",
    "Batch size",
    "figure 4",
    _entries,
    models=("sasrec", "cl4srec", "duorec", "mclrec"),
    kind="lines",
    x="batch size",
    metrics=("HR@20", "NDCG@20"),
)
