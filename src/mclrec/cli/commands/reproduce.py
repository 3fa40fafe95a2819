"""``mclrec reproduce``: executes the runs of a campaign, shows their progress, and prints its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from mclrec.cli.app import (
    JsonOption,
    MinutesOption,
    SettingOption,
    TrackOption,
    app,
    examples,
    names,
)
from mclrec.cli.pairs import distinct_pairs, settings_given
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.terminal import PlainConsole, live, plain_table, print_json
from mclrec.notices import tell
from mclrec.progress import advancing, is_quiet
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.experiments.campaign import Progress
    from mclrec.experiments.planned_runs import PlannedRun, RunStore
    from mclrec.experiments.reproduction import Outcome
    from mclrec.experiments.results_table import ResultTable
    from mclrec.experiments.target import Scope

_SHOWN = 12
"""Number of running and failed runs that are shown."""


@app.command(
    epilog=examples(
        "mclrec reproduce table4 --datasets complete-journey --seeds 3",
        "mclrec reproduce table3 --datasets beauty --models sasrec,mclrec --dry-run",
        "mclrec reproduce table4 --datasets beauty --recipe sequences  (trains faster than prefixes)",
        "mclrec reproduce figure6 --datasets beauty --points 4",
        "mclrec reproduce all --minutes 480",
    )
)
@takes_long
def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="table2 to table5, figure2 to figure8, claim-regularizer, all of these, or encoders.",
        ),
    ],
    datasets: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Names or paths; the paper's three data sets if not given."),
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="Models to compare; all of the paper's if not given.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Runs of each system, with the seeds 1 to N.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Worker processes; one per core, at most four, if not given. The same command adds more, also on "
            "other machines that share DIR.",
        ),
    ] = None,
    minutes: MinutesOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODEL=NAME,...",
            help="Section of the recipes, for all models or by model; if not given, the data set's own, or auto for "
            "other logs.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Maximum number of points of a curve, spread evenly."),
    ] = None,
    setting: SettingOption = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the runs and tables.")] = Path(
        "runs/reproduce"
    ),
    track: TrackOption = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only print the planned runs and their time.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Reproduce a table or figure of the paper.

    Finished runs are kept, and the same command continues an interrupted campaign.
    """
    from mclrec.experiments.target import PAPER_DATASETS, Scope

    scope = Scope(
        names(datasets) or PAPER_DATASETS,
        names(models),
        seeds,
        settings_given(setting),
        _by_model(recipe),
        points,
    )
    if scope.settings:
        _say_settings(what, scope)
    if dry:
        _dry_run(what, scope, out, track, as_json=as_json)
        return 0
    return _reproduce(what, scope, out, workers, minutes, track, as_json=as_json)


def _say_settings(what: str, scope: Scope) -> None:
    """Note on the error stream which models take a setting that not all of them have; silent with ``--quiet``."""
    from mclrec.experiments.campaign_plan import told_scope

    for line in told_scope(what, scope):
        if not is_quiet():
            tell("note", line)


def _by_model(recipe: str | None) -> str | dict[str, str] | None:
    """Parse ``MODEL=NAME,...`` as a mapping; any other text applies to all models."""
    if recipe is None or "=" not in recipe:
        return recipe
    return distinct_pairs("--recipe", map(_pair, names(recipe)))


def _pair(text: str) -> tuple[str, str]:
    model, equals, name = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write MODEL=NAME here too", param_hint="--recipe")
    return model.strip(), name.strip()


def _reproduce(
    what: str,
    scope: Scope,
    out: Path,
    workers: int | None,
    minutes: float | None,
    track: str | None,
    *,
    as_json: bool,
) -> int:
    """Run the campaign and print its tables; the exit status is 1 if a run failed, 130 if runs are missing."""
    from mclrec.experiments.reproduction import reproduce

    with live(_drawn, _finished) as show:
        outcomes, progress = reproduce(
            what,
            scope,
            out,
            workers=workers,
            minutes=minutes,
            show=show,
            track=track,
        )
    if as_json:
        _print_lines(outcomes, progress)
    else:
        _print(outcomes, progress, out)
    if progress.count("failed"):
        return 1
    return 0 if progress.complete else 130


def _print(outcomes: Sequence[Outcome], progress: Progress, out: Path) -> None:
    """Print the tables, the failed runs, and where the files are."""
    console = PlainConsole()
    for outcome in outcomes:
        for table in outcome.tables:
            console.print(_rendered(table))
            console.print()
    for run in progress.runs:
        if run.state == "failed":
            console.print(f"failed: {_name(run.planned)}: {run.problem.splitlines()[-1]}", style="red")
    _say_where(console, outcomes, progress, out)


def _print_lines(outcomes: Sequence[Outcome], progress: Progress) -> None:
    """Print a line of JSON for each row of each table, one for each run that failed, and one for the campaign."""
    for outcome in outcomes:
        for table in outcome.tables:
            for name, cells in table.rows:
                values = {column: cell.text for column, cell in zip(table.columns[1:], cells, strict=True)}
                print_json({"of": outcome.name, "table": table.title, "row": name, "values": values})
    for run in progress.runs:
        if run.state == "failed":
            print_json({"failed": _name(run.planned), "problem": run.problem.splitlines()[-1]})
    print_json({"runs": len(progress.runs), "done": progress.count("done"), "complete": progress.complete})


def _dry_run(what: str, scope: Scope, out: Path, track: str | None, *, as_json: bool) -> None:
    """Print the plan, and from a few batches an upper bound on the time of each open run on one worker."""
    from mclrec.experiments.campaign_plan import check_request, make_plan, target_names
    from mclrec.experiments.paper_tables import SIZE_TABLES
    from mclrec.experiments.planned_runs import RunStore
    from mclrec.experiments.reproduction import runs_folder

    check_request(what, scope, track)
    store = RunStore(runs_folder(out))
    timed = list(_timed(make_plan(what, scope, store).runs, store))
    total = sum(seconds for _, _, seconds in timed)
    without_runs = [name for name in target_names(what) if name in SIZE_TABLES]
    if as_json:
        for planned, state, seconds in timed:
            print_json({"run": _name(planned), "state": state, "seconds_at_most": seconds})
        print_json({"runs": len(timed), "seconds_at_most": total, "need_no_run": without_runs})
        return
    console = PlainConsole()
    table = plain_table("run", "state", "seconds at most", left=2)
    for planned, state, seconds in timed:
        table.add_row(_name(planned), state, f"{seconds:.0f}")
    console.print(table)
    if without_runs:
        console.print(f"need no run: {', '.join(without_runs)}")
    console.print(f"{count_of(len(timed), 'run')}; {_duration(total)} on one worker if none stops early")


def _timed(runs: Sequence[PlannedRun], store: RunStore) -> Iterator[tuple[PlannedRun, str, float]]:
    """Yield each run, its state and an upper bound on its seconds, 0 if it is not open; like runs are timed once."""
    from mclrec.data.split import leave_one_out
    from mclrec.experiments.campaign import state_of
    from mclrec.runs.construction import longest_times
    from mclrec.runs.training_run import resolve_device

    times: dict[str, float] = {}
    with advancing("timing runs", len(runs)) as advance:
        for planned in runs:
            state = state_of(store, planned).state
            state = "open" if state == "failed" else state  # the next call tries it again
            alike = f"{planned.data} {planned.model} {planned.recipe} {planned.settings} {planned.lengths}"
            if state == "open" and alike not in times:
                split = leave_one_out(store.datasets.of(planned))
                times[alike] = sum(longest_times(split, store.recipe(planned), resolve_device("auto")))
            advance(1)
            yield planned, state, times[alike] if state == "open" else 0.0


def _finished(progress: Progress) -> tuple[int, dict[int, str]]:
    """The number of runs, and a line for each that is done or has failed."""
    return len(progress.runs), {
        number: f"{_name(run.planned)}: {run.state}, {count_of(run.epochs, 'epoch')}, {run.seconds:.0f} s"
        for number, run in enumerate(progress.runs)
        if run.state in ("done", "failed")
    }


def _drawn(progress: Progress) -> RenderableType:
    """The view of a campaign: counts, and the runs that are running or have failed."""
    done, failed = progress.count("done"), progress.count("failed")
    left = "?" if progress.left is None else _duration(progress.left)
    head = Text(
        f"{done} of {len(progress.runs)} runs done, {progress.count('running')} running, {failed} failed; "
        f"{_duration(progress.elapsed)} elapsed, {left} left",
        style="bold",
    )
    lines = [
        Text(
            f"  {_name(run.planned)}: {run.state}, epoch {run.epochs} of at most {run.max_epochs}",
            style="red" if run.state == "failed" else "",
        )
        for run in progress.runs
        if run.state in ("running", "failed")
    ]
    return Group(head, *lines[:_SHOWN])


def _rendered(found: ResultTable) -> RenderableType:
    table = plain_table(*found.columns, title=found.title)
    for name, cells in found.rows:
        table.add_row(
            name, *(Text(cell.text, style={1: "bold", 2: "underline"}.get(cell.rank, "")) for cell in cells)
        )
    return Group(table, *(Text(f"  {note}", style="dim") for note in found.notes))


def _say_where(console: PlainConsole, outcomes: Sequence[Outcome], progress: Progress, out: Path) -> None:
    for outcome in outcomes:
        console.print(f"{out / outcome.name}: tables.md, tables.tex")
    if not progress.complete:
        missing = len(progress.runs) - progress.count("done")
        console.print(f"{missing} of {len(progress.runs)} runs are not done; repeat the command to do them")


def _name(planned: PlannedRun) -> str:
    parts = [planned.data, planned.model, *([planned.recipe] if planned.recipe else [])]
    parts += [f"{name}={value}" for name, value in planned.settings.items()]
    if planned.lengths:
        parts.append(f"users with {planned.lengths[0]}-{planned.lengths[1] or ''}")
    return " ".join([*parts, f"seed {planned.seed}"])


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
