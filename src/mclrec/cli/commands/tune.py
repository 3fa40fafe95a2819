"""``mclrec tune``: searches for settings, shows the trials, and prints the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mclrec.cli.app import (
    DataArgument,
    DeviceOption,
    JsonOption,
    MinutesOption,
    ModelOption,
    RecipeOption,
    SeedOption,
    SettingOption,
    SplitOption,
    TargetsOption,
    TestFromOption,
    TestUntilOption,
    TrackOption,
    ValidFromOption,
    app,
    examples,
)
from mclrec.cli.pairs import settings_given
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import PlainConsole, live, output, plain_table, print_json
from mclrec.errors import ConfigError
from mclrec.extras import missing
from mclrec.notices import tell
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.search.tuning import Outcome, Progress, TrialView, TuneRequest

_SHOWN = 12
"""Number of trials that are shown: running ones first, then the best."""

_STYLES = {"failed": "red", "pruned": "dim", "running": "bold"}


@app.command(
    epilog=examples(
        "mclrec tune complete-journey --trials 30 --workers 2",
        "mclrec tune log.csv --model sasrec --set max_length=20 --dry-run",
        "mclrec tune beauty --storage /shared/beauty.journal  (run it on several machines)",
    )
)
@takes_long
@reads_log()
def tune(
    data: DataArgument,
    model: ModelOption = "mclrec",
    recipe: RecipeOption = None,
    setting: SettingOption = None,
    trials: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Number of trials of the whole search, over all calls and machines."
        ),
    ] = 50,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Worker processes; running the command a second time adds more.",
        ),
    ] = 1,
    storage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Journal that all workers share; one under runs/tune, by data and model, if not given.",
        ),
    ] = None,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
    minutes: MinutesOption = None,
    track: TrackOption = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only print the search space.")] = False,
    split: SplitOption = None,
    valid_from: ValidFromOption = None,
    test_from: TestFromOption = None,
    test_until: TestUntilOption = None,
    targets: TargetsOption = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> int:
    """Search for a model's best settings by its validation metric.

    The same command continues an interrupted search.
    """
    from mclrec.search import check_installed

    check_installed()
    from mclrec.data.split_choice import chosen_split
    from mclrec.search.tuning import TuneRequest

    request = TuneRequest(
        data,
        model,
        recipe,
        settings_given(setting),
        seed,
        storage,
        device,
        chosen_split(data, reading, split, valid_from, test_from, test_until, targets),
        track,
        reading=reading,
    )
    if dry:
        _dry_run(request, as_json=as_json)
        return 0
    return _tune(request, trials, workers, minutes, as_json=as_json)


def _tune(request: TuneRequest, trials: int, workers: int, minutes: float | None, *, as_json: bool) -> int:
    """Search and print the result; the exit status is 1 if no trial succeeded, 130 if the search is not complete."""
    from mclrec.search.tuning import tune
    from mclrec.training.reporting import ProgressReporter

    if without_report := missing("a report"):
        tell("warning", f"the search ends without a report: {without_report}")
    with live(_drawn, _finished) as show:
        outcome = tune(
            request,
            trials=trials,
            workers=workers,
            minutes=minutes,
            show=show,
            reporter=ProgressReporter(PlainConsole(stderr=True)),  # reports before the live view is drawn
        )
    if as_json:
        _print_lines(outcome)
    else:
        console = output()
        console.print(_table(outcome.progress, _ranked(outcome.progress)[:_SHOWN]))
        _print_outcome(console, outcome)
    if not outcome.progress.complete:
        return 130
    return 0 if outcome.recipe else 1


def _print_lines(outcome: Outcome) -> None:
    """Write the report; print a line of JSON for each trial, in the order of the table, and one for the search."""
    progress = outcome.progress
    for trial in _ranked(progress):
        print_json(
            {
                "trial": trial.number,
                "state": trial.state,
                "epochs": len(trial.by_epoch),
                progress.metric: trial.value,
                "settings": dict(trial.settings),
                **({"problem": trial.problem} if trial.problem else {}),
            }
        )
    print_json(
        {
            "best": None if progress.best is None else progress.best.number,
            "metric": progress.metric,
            "complete": progress.complete,
            "recipe": None if outcome.recipe is None else str(outcome.recipe),
            "command": outcome.command,
            "report": None if outcome.recipe is None else _report(outcome)[0],
        }
    )


def _report(outcome: Outcome) -> tuple[str | None, str]:
    """Write the report on a search in which a trial is done; returns its path, if it was written, and a line on it."""
    from mclrec.report.page import write_search_report

    try:
        path = str(write_search_report(outcome))
    except ConfigError as problem:
        return None, f"No report: {problem}"
    return path, f"Report: {path}"


def _dry_run(request: TuneRequest, *, as_json: bool) -> None:
    """Print the search space and the recipe's own values."""
    from mclrec.search.tuning import look_at_space

    space = look_at_space(request)
    if as_json:
        print_json({key: {"searched": asdict(of), "recipe": value} for key, (of, value) in space.items()})
        return
    table = plain_table("setting", "searched", "recipe", left=3)
    for key, (dimension, value) in space.items():
        table.add_row(key, str(dimension), _text(value))
    output().print(table)


def _finished(progress: Progress) -> tuple[int, dict[int, str]]:
    """The number of trials, and a line for each that has ended."""
    return progress.total, {
        trial.number: f"trial {trial.number}: {trial.state}, {count_of(len(trial.by_epoch), 'epoch')}, "
        f"{progress.metric} {_value(trial)}, {_settings(trial.settings)}"
        for trial in progress.trials
        if trial.state in ("done", "pruned", "failed")
    }


def _drawn(progress: Progress) -> RenderableType:
    head = Text(
        f"{progress.count('done', 'pruned', 'failed')} of {count_of(progress.total, 'trial')} finished "
        f"({progress.count('pruned')} pruned, {progress.count('failed')} failed), "
        f"{progress.count('running')} running; {timedelta(seconds=round(progress.elapsed))} elapsed",
        style="bold",
    )
    return Group(head, _table(progress, _ranked(progress)[:_SHOWN]))


def _ranked(progress: Progress) -> list[TrialView]:
    """Trials in the order shown: running, done (best first), then the rest."""
    order = {"running": 0, "left": 1, "done": 2, "pruned": 3, "failed": 4}
    return sorted(
        progress.trials, key=lambda trial: (order[trial.state], -(trial.value or 0.0), trial.number)
    )


def _table(progress: Progress, trials: list[TrialView]) -> Table:
    table = plain_table("trial", "state", "epochs", progress.metric, "settings", left=0)
    for number in (1, 4):
        table.columns[number].justify = "left"
    for trial in trials:
        table.add_row(
            f"{trial.number}",
            trial.state,
            str(len(trial.by_epoch)),
            _value(trial),
            trial.problem or _settings(trial.settings),
            style=_STYLES.get(trial.state, ""),
        )
    return table


def _print_outcome(console: Console, outcome: Outcome) -> None:
    progress = outcome.progress
    if not progress.complete:
        finished = progress.count("done", "pruned", "failed")
        console.print(
            f"{finished} of {count_of(progress.total, 'trial')} are finished; repeat the command to do the others"
        )
    best, recipe = progress.best, outcome.recipe
    if best is None or recipe is None:
        console.print(f"no trial is done yet; the runs are in {outcome.folder}")
        return
    first = next((trial for trial in progress.trials if trial.number == 0 and trial.state == "done"), None)
    beside = f" (the recipe: {first.value:.4f})" if first and first.value is not None else ""
    console.print(f"\nBest: trial {best.number}, validation {progress.metric} {best.value:.4f}{beside}")
    console.print(f"Its recipe: {recipe}")
    console.print(_report(outcome)[1])
    console.print(f"Train it and evaluate it on the test items:\n  {outcome.command}", soft_wrap=True)


def _value(trial: TrialView) -> str:
    return "-" if trial.value is None else f"{trial.value:.4f}"


def _settings(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_text(value)}" for key, value in settings.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
