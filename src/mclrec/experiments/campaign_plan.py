"""The plan of a campaign: checks of a request as a whole, and the runs that it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mclrec.arguments import check_choice
from mclrec.errors import ConfigError, DataError
from mclrec.experiments.campaign import distinct
from mclrec.experiments.data_names import data_name, dataset_at
from mclrec.experiments.encoder_tables import ENCODER_TABLES
from mclrec.experiments.paper_figures import FIGURES
from mclrec.experiments.paper_tables import SIZE_TABLES, TABLES
from mclrec.experiments.planned_runs import PlannedRun, RunStore
from mclrec.experiments.results_table import PlannedRow
from mclrec.experiments.target import Scope, Target
from mclrec.extras import require
from mclrec.models import registry
from mclrec.recipes.possible import possible
from mclrec.recipes.shared_settings import check_taken, told_settings
from mclrec.training.trackers import check_tracker

__all__ = [
    "ALL",
    "TARGETS",
    "Plan",
    "check_request",
    "make_plan",
    "settings_of",
    "target_names",
    "told_scope",
]

TARGETS: Mapping[str, Target] = {target.name: target for target in (*TABLES, *FIGURES, *ENCODER_TABLES)}
"""All targets that need runs, by name; `SIZE_TABLES` need none."""

ALL = "all"


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs that a request needs.

    Attributes:
        scope: scope of the request.
        rows: the rows of each target.
        runs: the runs behind these rows, each once.
        left_out: for each target, notes on groups of users that some data do not have.
    """

    scope: Scope
    rows: Mapping[str, Sequence[PlannedRow]]
    runs: Sequence[PlannedRun]
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)


def target_names(what: str) -> list[str]:
    """The target names that a request stands for: the name itself, or every target of the paper for ``all``.

    Raises:
        ConfigError: there is no such target.
    """
    check_choice("target", what, [*sorted([*TARGETS, *SIZE_TABLES]), ALL])
    paper = [name for name, target in TARGETS.items() if target.source]
    return sorted([*paper, *SIZE_TABLES]) if what == ALL else [what]


def make_plan(what: str, scope: Scope, store: RunStore) -> Plan:
    """Plan the runs of one target, or of all.

    Raises:
        ConfigError: there is no such target, model, or setting.
        DataError: there are no such data, or none of their users is in any of the groups that the target compares.
    """
    asked = _rows(what, scope)
    rows = {name: [*filter(partial(_has_users, store), chosen)] for name, chosen in asked.items()}
    if asked and not any(rows.values()):
        raise DataError(f"{what}: {'; '.join(_left_out(store, *asked.values(), scope=scope))}")
    wanted = [planned for chosen in rows.values() for row in chosen for planned in row.runs]
    left_out = {name: _left_out(store, chosen, scope=scope) for name, chosen in asked.items()}
    return Plan(scope, rows, distinct(store, wanted), left_out)


def _has_users(store: RunStore, row: PlannedRow) -> bool:
    return store.datasets.has_users(row.runs[0])


def _left_out(store: RunStore, *rows: Sequence[PlannedRow], scope: Scope) -> list[str]:
    """A note on each group of users that some data do not have."""
    empty = [row.runs[0] for chosen in rows for row in chosen if not _has_users(store, row)]
    groups = dict.fromkeys((planned.data, planned.lengths) for planned in empty if planned.lengths)
    return [
        f"{data_name(data, scope.datasets)} has no history of length {_in_words(*lengths)}: the group is left out."
        for data, lengths in groups
    ]


def _in_words(shortest: int, longest: int | None) -> str:
    if longest is None:
        return f"{shortest} or more"
    return str(shortest) if shortest == longest else f"{shortest} to {longest}"


def check_request(what: str, scope: Scope, track: str | None = None) -> None:
    """Check a request before data are read: names, options without effect, and packages that are not installed.

    Raises:
        ConfigError: the first problem that was found.
    """
    target_names(what)
    _check_once("models", scope.models)
    _check_datasets(scope.datasets)
    if not _targets(what):
        _refuse_without_runs(what, scope)
    elif scope.points and all(target.kind != "lines" for target in _targets(what)):
        raise ConfigError(f"{what} has no curve: leave --points out")
    rows = _rows(what, scope)
    if isinstance(scope.recipe, Mapping) and rows:
        trained = sorted({run.model for chosen in rows.values() for row in chosen for run in row.runs[:1]})
        for model, name in scope.recipe.items():
            if model not in trained:
                raise ConfigError(
                    f"--recipe {model}={name} has no effect: {what} trains {', '.join(trained)} here; leave it out"
                )
    if track is not None:
        check_tracker(track)
    _check_extras(rows)


def _refuse_without_runs(what: str, scope: Scope) -> None:
    """Refuse options on runs for a target that needs none.

    Raises:
        ConfigError: such an option is given.
    """
    given = {
        "--set": scope.settings,
        "--models": scope.models,
        "--recipe": scope.recipe,
        "--points": scope.points,
        "--seeds": scope.seeds > 1,
    }
    for option, value in given.items():
        if value:
            raise ConfigError(f"{what} needs no run: leave {option} out")


def _check_once(option: str, names: Sequence[str]) -> None:
    """Refuse a name given twice, which would duplicate its measurements."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ConfigError(f"--{option}: {name} is given twice; give it once")


def _check_datasets(datasets: Sequence[str]) -> None:
    """Refuse an empty list of data, and data given twice, also by different paths to the same log."""
    if not datasets:
        raise ConfigError("--datasets: the list is empty; give one or more")
    _check_once("datasets", datasets)
    known: dict[str, str] = {}
    for place in datasets:
        if dataset_at(place) is None:
            other = known.setdefault(os.path.realpath(place), place)
            if other != place:
                raise ConfigError(f"--datasets: {other} and {place} are the same; give one of them")


def _rows(what: str, scope: Scope) -> dict[str, Sequence[PlannedRow]]:
    """The rows of each target that needs runs.

    Raises:
        ConfigError: as in `make_plan`.
    """
    rows = {target.name: target.plan(scope) for target in _targets(what)}
    if scope.settings and not rows:
        _refuse_without_runs(what, scope)
    check_taken(scope.settings, settings_of(row for chosen in rows.values() for row in chosen))
    return rows


def settings_of(rows: Iterable[PlannedRow]) -> list[tuple[str, Mapping[str, Any]]]:
    """The model and the settings of each row."""
    return [(planned.model, planned.settings) for row in rows for planned in row.runs[:1]]


def told_scope(what: str, scope: Scope) -> list[str]:
    """Lines on each setting of a scope that only some of its models take, to be shown before training.

    Raises:
        ConfigError: as in `make_plan`.
    """
    rows = _rows(what, scope)
    return told_settings(scope.settings, settings_of(row for chosen in rows.values() for row in chosen))


def _targets(what: str) -> list[Target]:
    """The targets of a request that need runs."""
    return [TARGETS[name] for name in target_names(what) if name in TARGETS]


def _check_extras(rows: Mapping[str, Sequence[PlannedRow]]) -> None:
    """Check that the packages needed for the runs and plots of targets are installed.

    Raises:
        ConfigError: a package is missing.
    """
    for name, chosen in rows.items():
        if TARGETS[name].kind == "views":
            require("t-SNE")
        for planned in (run for row in chosen for run in row.runs[:1]):
            dataset = dataset_at(planned.data)
            for recipe in possible(planned.model, dataset, planned.recipe, planned.settings):
                registry.require_extra(planned.model, recipe.config)
