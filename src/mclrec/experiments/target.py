"""Targets of a reproduction (tables and figures): the runs behind them, how they are measured and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from mclrec.errors import ConfigError
from mclrec.experiments.data_names import dataset_at
from mclrec.experiments.planned_runs import PlannedRun, RunStore
from mclrec.experiments.results_table import METRICS, Measurement, PlannedRow, ResultTable, measure
from mclrec.experiments.view_plots import ViewPlot
from mclrec.models import registry
from mclrec.recipes import default_recipe
from mclrec.recipes.shared_settings import combine_settings

__all__ = ["PAPER_DATASETS", "Further", "Scope", "Target"]

PAPER_DATASETS = ("beauty", "sports", "yelp")


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a target is requested.

    Attributes:
        datasets: names of data sets, or paths of logs.
        models: which models to compare, for a target that compares models; the target's own list if empty.
        seeds: number of seeds, which are 1, 2, and so on.
        settings: override the recipes of all models that have these settings; what the target itself changes stays.
        recipe: a section or file for every model, or one for each model named; if None, the data set's own section,
            and for other logs ``auto`` if the model has it, else the default section.
        points: largest number of points on a curve, spread evenly over those of the target; all if None.
    """

    datasets: Sequence[str] = PAPER_DATASETS
    models: Sequence[str] = ()
    seeds: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | Mapping[str, str] | None = None
    points: int | None = None

    def recipe_of(self, model: str, data: str) -> str | None:
        """The recipe of a model: the requested one, or the default of `mclrec train`.

        Args:
            model: name of a registered model.
            data: name of a data set, or path of a log.
        """
        asked = self.recipe.get(model) if isinstance(self.recipe, Mapping) else self.recipe
        return asked or default_recipe(model, dataset_at(data))

    def settings_of(self, planned: PlannedRun) -> dict[str, Any]:
        """The settings of a planned run: its own, and those of this scope that its model has."""
        recipe = self.recipe_of(planned.model, planned.data)
        dataset = dataset_at(planned.data)
        return combine_settings(planned.model, dataset, recipe, planned.settings, self.settings)

    def runs(self, planned: PlannedRun) -> list[PlannedRun]:
        """The planned run once per seed, with the recipe and the settings of this scope."""
        recipe = self.recipe_of(planned.model, planned.data)
        scoped = replace(planned, settings=self.settings_of(planned), recipe=recipe)
        return [replace(scoped, seed=seed) for seed in range(1, self.seeds + 1)]

    def row(self, planned: PlannedRun, name: str, x: float | None = None, part: str = "test") -> PlannedRow:
        """A planned run with all its seeds, as one row or point."""
        return PlannedRow(planned.data, name, self.runs(planned), x, part)

    def variants(self, rows: Mapping[str, Mapping[str, Any]]) -> list[PlannedRow]:
        """Rows for variants of MCLRec whose views are plotted, on each data set; ``rows`` maps names to settings."""
        return [
            self.row(PlannedRun(data, "mclrec", settings=settings, views=True), row)
            for data in self.datasets
            for row, settings in rows.items()
        ]


class Further(NamedTuple):
    """Further results of a target, beside the measurements of its rows and their tables.

    Attributes:
        tables: tables that are shown after these.
        changes: measurements of differences instead of means, for targets of the kind ``changes``.
    """

    tables: Sequence[ResultTable] = ()
    changes: Sequence[Measurement] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A table or figure, of the paper or our own.

    Attributes:
        name: name for ``mclrec reproduce``.
        title: what it shows.
        source: its place in the paper; empty for one of our own, which ``mclrec reproduce all`` leaves out.
        rows: makes the rows or points that it needs for a scope.
        models: the models that it compares by default; empty if it does not compare models.
        kind: how it is drawn; ``table`` is not. ``changes`` are drawn as dots with intervals on both sides of 0.
        x: name of the plot's horizontal axis.
        metrics: metrics that its tables report.
        drawn: what its figures show, if not the metrics.
        paper: looks up the paper's value of a measurement.
        further: makes its further results; see `Further`.
        view_plots: makes its view plots, if any.
        notes: what a reader must know about its numbers.
    """

    name: str
    title: str
    source: str
    rows: Callable[[Scope], Sequence[PlannedRow]]
    models: Sequence[str] = ()
    kind: Literal["table", "lines", "bars", "views", "changes"] = "table"
    x: str = ""
    metrics: Sequence[str] = METRICS
    drawn: Sequence[str] = ()
    paper: Callable[[Measurement], float | None] = lambda _: None
    further: Callable[[RunStore, Sequence[PlannedRow]], Further] = lambda *_: Further()
    view_plots: Callable[[RunStore, Sequence[PlannedRow]], list[ViewPlot]] = lambda *_: []
    notes: Sequence[str] = ()

    @property
    def origin(self) -> str:
        """Suffix of titles: the place in the paper; empty for a target of our own."""
        return f" (paper, {self.source})" if self.source else ""

    @property
    def figures(self) -> Sequence[str]:
        """The metrics that are drawn, one figure per metric and protocol; empty for tables and views."""
        return (self.drawn or self.metrics) if self.kind in ("lines", "bars", "changes") else ()

    def plan(self, scope: Scope) -> Sequence[PlannedRow]:
        """The rows or points that a scope asks for.

        Raises:
            ConfigError: there is no such model, or models are given and the target does not compare any.
        """
        for model in [*scope.models, *(scope.recipe if isinstance(scope.recipe, Mapping) else [])]:
            registry.entry(model)
        if scope.models and not self.models:
            raise ConfigError(f"{self.name} is about variants of MCLRec alone: leave --models out")
        rows = self.rows(replace(scope, models=scope.models or self.models))
        return _thinned(rows, scope.points) if scope.points and self.kind == "lines" else rows

    def measure(self, store: RunStore, rows: Sequence[PlannedRow]) -> list[Measurement]:
        """Measurements of the finished runs, together with the paper's values."""
        found = measure(store, rows, self.metrics)
        return [replace(row, paper=self.paper(row)) for row in found]


def _thinned(rows: Sequence[PlannedRow], points: int) -> list[PlannedRow]:
    """The rows at the given number of evenly spread positions on the curves, including both ends."""
    places = sorted({row.x for row in rows if row.x is not None})
    kept = {places[round(place)] for place in np.linspace(0, len(places) - 1, points)}
    return [row for row in rows if row.x in kept]
