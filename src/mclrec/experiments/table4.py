"""Table 4: what each part of MCLRec is worth; beside it the paper's own R, and two updates a batch for three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry, Measurement
from mclrec.experiments.paper import table4
from mclrec.experiments.target import Scope, Target
from mclrec.recipes import resolve

__all__ = ["TARGET"]

_WITHOUT_CL1 = 0.1
"""Lambda of row (C) where the recipe has none: without L_cl2 it would be SASRec, and not CL4SRec."""

_ROWS: Mapping[str, Mapping[str, Any]] = {
    "(A) MCLRec": {},
    "(B) w/o L_cl1": {"lambda": 0.0},
    "(C) w/o L_cl2": {"beta": 0.0, "gamma": 0.0},
    "(D) w/o R": {"gamma": 0.0},
    "(E) shared augmenter": {"shared_augmenter": True},
    "R of the paper": {"regularizer": "paper"},
    "two updates": {"updates": "two"},
}


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, "mclrec", settings=_settings(scope, data, row)), row)
        for data in scope.datasets
        for row in _ROWS
    ]


def _settings(scope: Scope, data: str, row: str) -> Mapping[str, Any]:
    """What the row changes; (C) keeps the recipe's lambda where it has one."""
    if not row.startswith("(C)"):
        return _ROWS[row]
    recipe = resolve("mclrec", data, scope.recipe_of("mclrec"), scope.settings)
    weight = recipe.config.model_dump(by_alias=True)["lambda"] or _WITHOUT_CL1
    return {**_ROWS[row], "lambda": weight}


def _paper(found: Measurement) -> float | None:
    return table4().get((found.data, found.row[1], found.metric)) if found.protocol == "U" else None


TARGET = Target(
    "table4",
    "Ablation of MCLRec",
    "table 4",
    _entries,
    metrics=("HR@20", "NDCG@20"),
    paper=_paper,
)
