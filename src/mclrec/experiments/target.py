"""What a table or figure of the paper is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from mclrec.errors import ConfigError
from mclrec.experiments.cells import Cell, Cells
from mclrec.experiments.cloud import Cloud
from mclrec.experiments.frame import METRICS, Entry, Measurement, measure
from mclrec.experiments.sheet import Sheet
from mclrec.models import registry

__all__ = ["PAPER_DATASETS", "Scope", "Target"]

PAPER_DATASETS = ("beauty", "sports", "yelp")


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a target is asked for.

    Attributes:
        datasets: names or paths.
        models: which to compare, where a target compares models; its own choice if empty.
        seeds: how many, from 1.
        settings: go before all recipes, and before what the target itself changes.
        recipe: section of every model's recipes or a file, or such by model; the data set's own where None.
        points: how many points a curve has at most, spread evenly over those of the target; all if None.
    """

    datasets: Sequence[str] = PAPER_DATASETS
    models: Sequence[str] = ()
    seeds: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | Mapping[str, str] | None = None
    points: int | None = None

    def recipe_of(self, model: str) -> str | None:
        """The recipe that was asked for."""
        return self.recipe.get(model) if isinstance(self.recipe, Mapping) else self.recipe

    def cells(self, cell: Cell) -> list[Cell]:
        """The cell once a seed, with the recipe and the settings that were asked for."""
        settings = {**cell.settings, **self.settings}
        asked = replace(cell, settings=settings, recipe=self.recipe_of(cell.model))
        return [replace(asked, seed=seed) for seed in range(1, self.seeds + 1)]

    def entry(self, cell: Cell, row: str, x: float | None = None, part: str = "test") -> Entry:
        """The cell's seeds as one row or point."""
        return Entry(cell.data, row, self.cells(cell), x, part)

    def variants(self, rows: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
        """MCLRec on each data set with some settings changed, by the name of the row."""
        return [
            self.entry(Cell(data, "mclrec", settings=settings), row)
            for data in self.datasets
            for row, settings in rows.items()
        ]


@dataclass(frozen=True, slots=True)
class Target:
    """A table or figure.

    Attributes:
        name: what ``mclrec reproduce`` calls it.
        title: what it shows.
        source: where the paper has it.
        entries: the runs that it needs.
        models: that it compares unless others are asked for; empty if it is about MCLRec alone.
        kind: how it is drawn; a table is not.
        x: what stands on the abscissa of its plot.
        metrics: what it reports.
        paper: the paper's value of a measurement, where it has one.
        further: tables beside the one of all measurements.
        clouds: points that it draws, if they are not measurements.
        notes: what a reader must know about its numbers.
    """

    name: str
    title: str
    source: str
    entries: Callable[[Scope], Sequence[Entry]]
    models: Sequence[str] = ()
    kind: Literal["table", "lines", "bars", "clouds"] = "table"
    x: str = ""
    metrics: Sequence[str] = METRICS
    paper: Callable[[Measurement], float | None] = lambda _: None
    further: Callable[[Cells, Sequence[Entry]], list[Sheet]] = lambda *_: []
    clouds: Callable[[Cells, Sequence[Entry]], list[Cloud]] = lambda *_: []
    notes: Sequence[str] = ()

    def plan(self, scope: Scope) -> Sequence[Entry]:
        """The runs, for what is asked.

        Raises:
            ConfigError: models are asked for that do not exist, or that the target does not compare.
        """
        for model in [*scope.models, *(scope.recipe if isinstance(scope.recipe, Mapping) else [])]:
            registry.entry(model)
        if scope.models and not self.models:
            raise ConfigError(f"{self.name} is about variants of MCLRec alone: leave --models out")
        entries = self.entries(replace(scope, models=scope.models or self.models))
        return _thinned(entries, scope.points) if scope.points and self.kind == "lines" else entries

    def measure(self, cells: Cells, entries: Sequence[Entry]) -> list[Measurement]:
        """What the finished runs among them gave, the paper's values beside it."""
        found = measure(cells, entries, self.metrics)
        return [replace(row, paper=self.paper(row)) for row in found]


def _thinned(entries: Sequence[Entry], points: int) -> list[Entry]:
    """Those at so many of the curves' abscissae, both ends among them."""
    places = sorted({entry.x for entry in entries if entry.x is not None})
    kept = {places[round(place)] for place in np.linspace(0, len(places) - 1, points)}
    return [entry for entry in entries if entry.x in kept]
