"""From the name of a table or figure to its numbers: plan, campaign, sheets, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from mclrec.errors import ConfigError
from mclrec.experiments.campaign import Progress, distinct, run_campaign
from mclrec.experiments.cells import Cell, Cells, data_name
from mclrec.experiments.cloud import Cloud, sheets_of
from mclrec.experiments.frame import Entry, Measurement, to_arrow
from mclrec.experiments.registry import SIZES, TARGETS, names
from mclrec.experiments.sheet import Sheet, latex, markdown, pivot
from mclrec.experiments.target import Scope, Target
from mclrec.files import read_json, write_json, write_text
from mclrec.runs.run import LABELS
from mclrec.training.tracking import check_tracker

__all__ = ["Outcome", "Plan", "Reproduction", "gather", "load_outcomes", "make_plan", "reproduce"]

_RECORD = "outcome.json"
_PROTOCOLS = {"U": "items of the history stay candidates", "F": "items of the history are dropped"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be run.

    Attributes:
        scope: what was asked.
        entries: of each target.
        cells: the runs, each once.
    """

    scope: Scope
    entries: Mapping[str, Sequence[Entry]]
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is there of one target.

    Attributes:
        name: of the target.
        measurements: of its finished runs.
        sheets: its tables.
        missing: how many runs are not done.
        clouds: points that it draws, where it draws any.
    """

    name: str
    measurements: Sequence[Measurement]
    sheets: Sequence[Sheet]
    missing: int
    clouds: Sequence[Cloud] = ()


class Reproduction(NamedTuple):
    """What `reproduce` comes back with.

    Attributes:
        outcomes: of each target.
        progress: how far its runs are, and which have failed.
    """

    outcomes: list[Outcome]
    progress: Progress

    def frame(self) -> pa.Table:
        """All measurements, one a row, behind the name of their target; ``.to_pandas()`` makes a data frame of it."""
        rows = [row for outcome in self.outcomes for row in outcome.measurements]
        targets = [outcome.name for outcome in self.outcomes for _ in outcome.measurements]
        return to_arrow(rows).add_column(0, "target", pa.array(targets, pa.string()))


def make_plan(what: str, scope: Scope, cells: Cells) -> Plan:
    """The runs of a target, or of all.

    Raises:
        ConfigError: no such target, model, or setting; points of a curve, where there is none.
        DataError: no such data.
    """
    targets = {name: TARGETS[name] for name in names(what) if name in TARGETS}
    if scope.points and all(target.kind != "lines" for target in targets.values()):
        raise ConfigError(f"{what} has no curve: leave --points out")
    entries = {name: target.plan(scope) for name, target in targets.items()}
    wanted = [cell for chosen in entries.values() for entry in chosen for cell in entry.cells]
    return Plan(scope, entries, distinct(cells, wanted))


def reproduce(
    what: str,
    scope: Scope,
    out: Path,
    *,
    workers: int | None = None,
    budget: float | None = None,
    show: Callable[[Progress], None] | None = None,
    track: str | None = None,
) -> Reproduction:
    """Run what is missing and write what is there.

    Args:
        what: a target, or ``all``.
        scope: how much of it.
        out: gets ``cells/`` with the runs, and a folder a target with its tables.
        workers: processes; None for `mclrec.runs.workers.usual_count`.
        budget: seconds after which it stops.
        show: told about progress.
        track: what runs are tracked with; see `mclrec.runs.train.TrainRequest`.

    Raises:
        ConfigError, DataError: as `make_plan`; what runs are to be tracked with is unknown or not installed.
    """
    if track is not None:
        check_tracker(track)
    cells = Cells(out / "cells", track=track)
    plan = make_plan(what, scope, cells)
    progress = run_campaign(cells, plan.cells, workers=workers, budget=budget, show=show)
    outcomes = [gather(name, plan, cells) for name in names(what)]
    for outcome in outcomes:
        _write(outcome, scope, out / outcome.name)
    return Reproduction(outcomes, progress)


def gather(name: str, plan: Plan, cells: Cells) -> Outcome:
    """What the finished runs gave."""
    if name in SIZES:
        return Outcome(name, [], SIZES[name](cells.datasets, plan.scope.datasets), 0)
    target, entries = TARGETS[name], plan.entries[name]
    measurements = target.measure(cells, entries)
    wanted = distinct(cells, [cell for entry in entries for cell in entry.cells])
    missing = sum(not cells.done(cell) for cell in wanted)
    clouds = target.clouds(cells, entries)
    notes = [*_notes(plan.scope, missing), *target.notes]
    sheets = [*_sheets(target, measurements, notes), *target.further(cells, entries), *sheets_of(clouds)]
    return Outcome(name, measurements, sheets, missing, clouds)


def _notes(scope: Scope, missing: int) -> list[str]:
    """In what the runs differ from what the paper reports."""
    settings = ", ".join(f"{name} = {value}" for name, value in scope.settings.items())
    return [
        *([f"Partial: {missing} runs are not done."] if missing else []),
        *([f"Recipe: {_recipes(scope.recipe)}."] if scope.recipe else []),
        *([f"In all runs: {settings}."] if settings else []),
    ]


def _recipes(asked: str | Mapping[str, str]) -> str:
    if isinstance(asked, str):
        return f"{asked}, of all models"
    return ", ".join(f"{name} of {model}" for model, name in asked.items())


def _sheets(target: Target, measurements: Sequence[Measurement], notes: Sequence[str]) -> list[Sheet]:
    return [
        pivot(
            f"{target.title} on {data_name(data)}, {label}: {_PROTOCOLS[label]} (paper, {target.source})",
            [row for row in measurements if row.data == data and row.protocol == label],
            notes,
        )
        for data in dict.fromkeys(row.data for row in measurements)
        for label in LABELS
    ]


def load_outcomes(out: Path) -> list[Outcome]:
    """What earlier calls wrote under ``out``.

    Raises:
        ConfigError: nothing.
        DataError: a file is damaged.
    """
    outcomes = [_loaded(path) for path in sorted(out.glob(f"*/{_RECORD}"))]
    if not outcomes:
        raise ConfigError(f"{out}: neither a run nor what `mclrec reproduce` writes")
    return outcomes


def _loaded(path: Path) -> Outcome:
    found = read_json(path)
    rows = [
        Measurement(**{**row, "seeds": tuple(row["seeds"]), "keys": tuple(row["keys"])})
        for row in found["measurements"]
    ]
    sheets = [Sheet.of(sheet) for sheet in found["sheets"]]
    clouds = [Cloud(**{**cloud, "views": tuple(cloud["views"])}) for cloud in found["clouds"]]
    return Outcome(path.parent.name, rows, sheets, found["missing"], clouds)


def _write(outcome: Outcome, scope: Scope, folder: Path) -> None:
    text = "\n".join(markdown(sheet) for sheet in outcome.sheets)
    write_text(folder / "tables.md", text or "Nothing is done yet.\n")
    write_text(folder / "tables.tex", "\n".join(latex(sheet) for sheet in outcome.sheets))
    write_json(folder / _RECORD, {"scope": asdict(scope), **asdict(outcome)})
