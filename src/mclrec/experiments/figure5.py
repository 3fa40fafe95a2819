"""Figure 5: the data's views h1 and h2, learnt jointly or by turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mclrec.experiments.cells import Cell, Cells
from mclrec.experiments.cloud import Cloud, clouds_of
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_ROWS: Sequence[tuple[str, Mapping[str, Any]]] = (("MCLRec-J", {"updates": "joint"}), ("MCLRec", {}))


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, "mclrec", settings=settings), row)
        for data in scope.datasets
        for row, settings in _ROWS
    ]


def _clouds(cells: Cells, entries: Sequence[Entry]) -> list[Cloud]:
    return clouds_of(cells, entries, ("h1", "h2"))


TARGET = Target(
    "figure5",
    "Views of the data under joint and under meta learning",
    "figure 5",
    _entries,
    kind="clouds",
    x="t-SNE, first direction",
    metrics=("HR@20", "NDCG@20"),
    clouds=_clouds,
)
