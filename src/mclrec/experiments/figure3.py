"""Figure 3: learning to augment against the encoder as it then is, or everything by one loss."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        entry
        for data in scope.datasets
        for entry in (
            scope.entry(Cell(data, "cl4srec"), "CL4SRec"),
            scope.entry(Cell(data, "duorec"), "DuoRec"),
            scope.entry(Cell(data, "mclrec", settings={"updates": "joint"}), "MCLRec-J"),
            scope.entry(Cell(data, "mclrec"), "MCLRec"),
        )
    ]


TARGET = Target(
    "figure3",
    "Joint learning against meta learning",
    "figure 3",
    _entries,
    kind="bars",
    x="data",
    metrics=("HR@20", "NDCG@20"),
)
