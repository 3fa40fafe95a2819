"""``mclrec reproduce``: plan the runs of a table or figure, do them in a campaign, and write tables of the results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from mclrec.errors import ConfigError, DataError, MclrecError, MclrecWarning
from mclrec.experiments.campaign import Progress, distinct, run_campaign
from mclrec.experiments.campaign_plan import (
    TARGETS,
    Plan,
    check_request,
    make_plan,
    settings_of,
    target_names,
)
from mclrec.experiments.data_names import data_name
from mclrec.experiments.paper_tables import SIZE_TABLES
from mclrec.experiments.planned_runs import RunStore
from mclrec.experiments.results_table import (
    Measurement,
    PlannedRow,
    ResultTable,
    latex,
    markdown,
    pivot,
    to_arrow,
)
from mclrec.experiments.target import Scope, Target
from mclrec.experiments.view_plots import ViewPlot, view_tables
from mclrec.files import check_writable, write_text
from mclrec.json_files import write_json
from mclrec.recipes.auto import AUTO
from mclrec.recipes.shared_settings import told_settings
from mclrec.runs.run import LABELS
from mclrec.sealed_json import read_sealed, sealed
from mclrec.wording import count_of

__all__ = [
    "Outcome",
    "Reproduction",
    "gather",
    "load_outcomes",
    "reproduce",
    "runs_folder",
    "write_outcome",
]

_RECORD = "outcome.json"
_PROTOCOLS = {"U": "items of the history stay candidates", "F": "items of the history are dropped"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of one target so far.

    Attributes:
        name: name of the target.
        measurements: measurements of its finished runs.
        tables: its tables.
        missing: number of its runs that are not done.
        view_plots: its view plots, if any.
    """

    name: str
    measurements: Sequence[Measurement]
    tables: Sequence[ResultTable]
    missing: int
    view_plots: Sequence[ViewPlot] = ()


class Reproduction(NamedTuple):
    """Result of `reproduce`.

    Attributes:
        outcomes: outcome of each target.
        progress: progress of the runs, with the reasons of failures.
    """

    outcomes: list[Outcome]
    progress: Progress

    def frame(self) -> pa.Table:
        """All measurements as an Arrow table (with ``.to_pandas()``), one per row, with a column for the target."""
        rows = [row for outcome in self.outcomes for row in outcome.measurements]
        targets = [outcome.name for outcome in self.outcomes for _ in outcome.measurements]
        return to_arrow(rows).add_column(0, "target", pa.array(targets, pa.string()))


def runs_folder(out: Path) -> Path:
    """Folder of the run directories in the output folder of `reproduce`."""
    return out / "cells"


def reproduce(
    what: str,
    scope: Scope,
    out: Path,
    *,
    workers: int | None = None,
    minutes: float | None = None,
    show: Callable[[Progress], None] | None = None,
    track: str | None = None,
) -> Reproduction:
    """Do the missing runs of a target, and write tables of all finished ones.

    Args:
        what: name of a target, or ``all``.
        scope: how much of it to do.
        out: output folder: the runs in ``cells/``, and the tables in a folder per target.
        workers: number of processes; None for `mclrec.runs.workers.usual_count`.
        minutes: time limit; None for none.
        show: called with the progress.
        track: experiment tracker of the runs; see `mclrec.runs.request.TrainRequest`.

    Raises:
        ConfigError, DataError: as in `make_plan`; or the tracker is unknown, or an extra is not installed.
        MclrecError: a target's tables cannot be made; those of the other targets are written first.
        OutputError: ``out`` cannot be written.
    """
    check_writable(out, "folder")
    check_request(what, scope, track)
    store = RunStore(runs_folder(out), track=track)
    plan = make_plan(what, scope, store)
    progress = run_campaign(store, plan.runs, workers=workers, minutes=minutes, show=show)
    return Reproduction(_write_outcomes(target_names(what), plan, store, out), progress)


def _write_outcomes(names: Sequence[str], plan: Plan, store: RunStore, out: Path) -> list[Outcome]:
    """Gather and write the outcome of each target; a failure is raised once the others are written.

    Raises:
        Exception: that of the target that failed; if several did, one error with all reasons.
    """
    outcomes: list[Outcome] = []
    problems: dict[str, Exception] = {}
    for name in names:
        try:
            outcome = gather(name, plan, store)
            _warn_of_replaced(plan.rows.get(name, ()), out / name)
            write_outcome(outcome, plan.scope, out / name)
        except Exception as problem:  # whatever it is, the runs of the other targets are trained
            problems[name] = problem
        else:
            outcomes.append(outcome)
    if problems:
        raise _combined_error(problems)
    return outcomes


def _warn_of_replaced(rows: Sequence[PlannedRow], folder: Path) -> None:
    """Warn of data, rows, points or seeds in the tables of an earlier call that this narrower request leaves out."""
    try:
        before = _read(folder / _RECORD).measurements
    except DataError:  # it is missing or cannot be read
        return
    datasets = {row.data for row in before} - {row.data for row in rows}
    names = {row.row for row in before} - {row.row for row in rows}
    points = {(row.row, row.x) for row in before if row.x is not None} - {(row.row, row.x) for row in rows}
    seeds = {seed for row in before for seed in row.seeds} - {run.seed for row in rows for run in row.runs}
    gone = sorted(datasets or names) or [f"{name} {x:g}" for name, x in sorted(points)]
    gone = gone or [f"seed {seed}" for seed in sorted(seeds)]
    if gone:
        warnings.warn(
            f"{folder}: its tables had {', '.join(gone)} too and are replaced; the runs are kept: request all at once "
            "to see them together",
            MclrecWarning,
            stacklevel=3,
        )


def _combined_error(problems: Mapping[str, Exception]) -> Exception:
    """Combine errors, given by target, into one; our own faults come before errors that a user can fix."""
    faults = [problem for problem in problems.values() if not isinstance(problem, MclrecError)]
    first = (faults or [*problems.values()])[0]
    if len(problems) == 1:
        return first
    lines = [f"{name}: {problem}" for name, problem in problems.items()]
    if not faults:
        return type(first)("; ".join(lines))
    for line in lines:
        first.add_note(line)
    return first


def gather(name: str, plan: Plan, store: RunStore) -> Outcome:
    """Measure the finished runs of a target, and make its tables."""
    if name in SIZE_TABLES:
        return Outcome(name, [], SIZE_TABLES[name](store.datasets, plan.scope.datasets), 0)
    target, rows = TARGETS[name], plan.rows[name]
    measurements = target.measure(store, rows)
    wanted = distinct(store, [planned for row in rows for planned in row.runs])
    missing = sum(not store.is_complete(planned) for planned in wanted)
    plots = target.view_plots(store, rows)
    told = [*plan.left_out.get(name, ()), *_same_contents(store, rows, plan.scope.datasets)]
    notes = [*_notes(plan.scope, rows, missing), *told, *target.notes]
    further = target.further(store, rows)
    tables = [*_tables(target, measurements, notes), *further.tables, *view_tables(plots)]
    return Outcome(name, [*measurements, *further.changes], tables, missing, plots)


def _notes(scope: Scope, rows: Sequence[PlannedRow], missing: int) -> list[str]:
    """Notes on missing runs, and on recipes and settings that differ from the paper's."""
    told = told_settings(scope.settings, settings_of(rows))
    partly = {line.partition(" = ")[0] for line in told}
    settings = ", ".join(f"{name} = {value}" for name, value in scope.settings.items() if name not in partly)
    return [
        *([f"Partial: {count_of(missing, 'run')} not done."] if missing else []),
        *([f"Recipe: {recipes}."] if (recipes := _recipes(scope.recipe, rows, scope.datasets)) else []),
        *([f"In all runs: {settings}."] if settings else []),
        *(f"{line}." for line in told),
    ]


def _same_contents(store: RunStore, rows: Sequence[PlannedRow], datasets: Sequence[str]) -> list[str]:
    """Notes on data with different names and equal contents, which therefore share runs."""
    first: dict[str, str] = {}
    notes = []
    for data in dict.fromkeys(row.data for row in rows):
        other = first.setdefault(store.datasets[data].fingerprint, data)
        if other != data:
            names = f"{data_name(other, datasets)} and {data_name(data, datasets)}"
            notes.append(f"{names} have the same contents: where settings agree, one run stands for both.")
    return notes


def _recipes(
    requested: str | Mapping[str, str] | None, rows: Sequence[PlannedRow], datasets: Sequence[str]
) -> str:
    """Text on the requested recipes, and on logs that are trained with `auto` by default."""
    if isinstance(requested, str):
        return f"{requested}, of all models"
    asked = requested or {}
    runs = [run for row in rows for run in row.runs if run.recipe == AUTO and run.model not in asked]
    models, logs = (
        list(dict.fromkeys(names)) for names in ([run.model for run in runs], [run.data for run in runs])
    )
    shown = [data_name(log, datasets) for log in logs]
    return ", ".join(
        [
            *(f"{name} of {model}" for model, name in asked.items()),
            *([f"{AUTO} of {', '.join(models)} on {', '.join(shown)}"] if runs else []),
        ]
    )


def _tables(target: Target, measurements: Sequence[Measurement], notes: Sequence[str]) -> list[ResultTable]:
    places = dict.fromkeys(row.data for row in measurements)
    return [
        pivot(
            f"{target.title} on {data_name(data, places)}, {label}: {_PROTOCOLS[label]}{target.origin}",
            [row for row in measurements if row.data == data and row.protocol == label],
            notes,
        )
        for data in places
        for label in LABELS
    ]


def load_outcomes(out: Path) -> list[Outcome]:
    """Read the outcomes that earlier calls of `reproduce` wrote to ``out``.

    Raises:
        ConfigError: there are none.
        DataError: a file is damaged.
    """
    outcomes = [_read(path) for path in sorted(out.glob(f"*/{_RECORD}"))]
    if not outcomes:
        raise ConfigError(f"{out}: neither a run nor an output of `mclrec reproduce`")
    return outcomes


def _read(path: Path) -> Outcome:
    found = read_sealed(path)
    try:
        rows = [*map(Measurement.of, found["measurements"])]
        tables = [ResultTable.of(table) for table in found["sheets"]]
        plots = [*map(ViewPlot.of, found["clouds"])]
        return Outcome(path.parent.name, rows, tables, found["missing"], plots)
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(
            f"{path}: from another version of mclrec ({problem}); write it again with mclrec reproduce"
        ) from None


def write_outcome(outcome: Outcome, scope: Scope, folder: Path) -> None:
    """Write the tables of a target, and the record that `load_outcomes` reads."""
    text = "\n".join(markdown(table) for table in outcome.tables)
    write_text(folder / "tables.md", text or "Nothing is done yet.\n")
    write_text(folder / "tables.tex", "\n".join(latex(table) for table in outcome.tables))
    record = {
        "scope": asdict(scope),
        "name": outcome.name,
        "measurements": [asdict(row) for row in outcome.measurements],
        "sheets": [asdict(table) for table in outcome.tables],  # key names as in files published earlier
        "missing": outcome.missing,
        "clouds": [asdict(plot) for plot in outcome.view_plots],
    }
    write_json(folder / _RECORD, sealed(record))
