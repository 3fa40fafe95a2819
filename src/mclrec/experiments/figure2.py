"""Figure 2: what R does to the augmenters' views z1 and z2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mclrec.experiments.cells import Cell, Cells
from mclrec.experiments.cloud import Cloud, clouds_of
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_ROWS: Sequence[tuple[str, Mapping[str, Any]]] = (("without R", {"gamma": 0.0}), ("with R", {}))


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, "mclrec", settings=settings), row)
        for data in scope.datasets
        for row, settings in _ROWS
    ]


def _clouds(cells: Cells, entries: Sequence[Entry]) -> list[Cloud]:
    return clouds_of(cells, entries, ("z1", "z2"))


TARGET = Target(
    "figure2",
    "Views of the augmenters, with and without R",
    "figure 2",
    _entries,
    kind="clouds",
    x="t-SNE, first direction",
    metrics=("HR@20", "NDCG@20"),
    clouds=_clouds,
)
