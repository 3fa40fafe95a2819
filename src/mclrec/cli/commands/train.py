"""``mclrec train``: trains one model, shows its progress, and prints its metrics."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mclrec.cli.app import (
    DataArgument,
    DeviceOption,
    JsonOption,
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
from mclrec.cli.recbole_option import Given, with_recbole
from mclrec.cli.terminal import PlainConsole, output, print_json
from mclrec.errors import ConfigError
from mclrec.progress import quietly
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.runs.request import TrainRequest
    from mclrec.runs.run import Run

_SET_BY_MEASURED_RUN = {
    "model": "--model",
    "recipe": "--recipe",
    "recbole": "--recbole",
    "setting": "--set",
    "seed": "--seed",
    "split": "--split",
    "valid_from": "--valid-from",
    "test_from": "--test-from",
    "test_until": "--test-until",
    "targets": "--targets",
    "warm_start": "--warm-start",
    "minutes": "--minutes",
}
"""Options that are incompatible with ``--final``, by parameter."""


@app.command(
    epilog=examples(
        "mclrec train beauty",
        "mclrec train complete-journey --model sasrec --seed 2",
        "mclrec train log.csv --item-column sku --set beta=0.1 --set epochs=20",
        "mclrec train log.csv --split time --valid-from 2026-05-01 --test-from 2026-06-01",
        "mclrec train train.csv --valid valid.csv --test test.csv  (a split that was made before)",
        "mclrec train log.csv --minutes 10  (tries other settings too, and trains the best)",
        "mclrec train log.inter --recbole config.yaml  (as RecBole would, as far as that goes)",
        "mclrec train newer.csv --warm-start runs/log-mclrec-seed1",
        "mclrec train newer.csv --final runs/log-mclrec-seed1  (the same on everything, to go live)",
        "mclrec models mclrec  (lists the settings and recipes of mclrec)",
    )
)
@takes_long
@reads_log()
def train(
    context: typer.Context,
    data: DataArgument,
    model: ModelOption = "mclrec",
    recipe: RecipeOption = None,
    setting: SettingOption = None,
    recbole: Annotated[
        Path | None,
        typer.Option(
            "--recbole",
            metavar="FILE",
            help="Take model, settings and data rules from a RecBole configuration (YAML); keys without an equivalent "
            "here are listed. Other options override it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the run; a new one under runs/ if not given."),
    ] = None,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            help="Training processes on this machine, which share each batch; for several machines, use torchrun.",
        ),
    ] = 1,
    shard_items: Annotated[
        bool,
        typer.Option(
            "--shard-items",
            help="Shard the item table over the processes, for catalogues of millions of items.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted run from its checkpoint.")
    ] = False,
    warm_start: Annotated[
        Path | None,
        typer.Option(
            "--warm-start", metavar="RUN", help="Start from the weights of an earlier run, on a newer log."
        ),
    ] = None,
    split: SplitOption = None,
    valid_from: ValidFromOption = None,
    test_from: TestFromOption = None,
    test_until: TestUntilOption = None,
    targets: TargetsOption = None,
    final: Annotated[
        Path | None,
        typer.Option(
            "--final",
            metavar="RUN",
            help="Train the model that goes live: like this measured run, but on all interactions and without "
            "measuring.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0,
            help="Train the best model that is found in this many minutes: settings around the recipe are compared on "
            "validation, and the best are trained further. Not with --processes, --warm-start or --track.",
        ),
    ] = None,
    *,
    reading: Reading,
    track: TrackOption = None,
    as_json: JsonOption = False,
) -> int:
    """Train a model, evaluate it under both protocols, and write a run directory."""
    from mclrec.cli.launch import is_one_of_several, run_processes

    began = time.monotonic()
    words: list[str] = context.obj["words"]
    if processes > 1 and minutes is not None:
        raise ConfigError("--minutes does not go with --processes: a search runs in one process")
    if processes > 1 and not is_one_of_several():
        return run_processes(words, processes)
    command = shlex.join(["mclrec", *_deciding_words(words)])
    if final is not None:
        _refuse_beside_final(context)
        from mclrec.runs.final import final_request
        from mclrec.runs.run import open_run

        options = {"out": out, "device": device, "resume": resume, "shard_items": shard_items, "track": track}
        final_one = final_request(open_run(final), data, reading, command=command, **options)
        return _train(final_one, as_json=as_json)
    from mclrec.data.split_choice import chosen_split
    from mclrec.runs.request import TrainRequest

    settings: Mapping[str, Any] = settings_given(setting)
    requested = None
    if recbole is not None:
        given = Given(_given(context), model, recipe, settings, seed, device, reading)
        requested = with_recbole(recbole, data, given)
        model, recipe, settings = requested.model, requested.recipe, requested.settings
        seed, device, reading = requested.seed, requested.device, requested.reading
    rule = chosen_split(data, reading, split, valid_from, test_from, test_until, targets)
    if requested is not None:
        command = requested.command(data, rule)
        _tell(requested.lines, command)
    request = TrainRequest(
        data,
        model,
        recipe,
        settings,
        seed,
        out,
        device,
        resume,
        warm_start,
        rule,
        command=command,
        track=track,
        shard_items=shard_items,
        reading=reading,
    )
    if minutes is not None:
        return _train_within(request, minutes, began, as_json=as_json)
    return _train(request, as_json=as_json)


def _given(context: typer.Context) -> set[str]:
    """Names of the parameters that were given explicitly."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name != "DEFAULT"}


def _tell(lines: Sequence[str], command: str) -> None:
    """Print what became of a RecBole configuration, and the equivalent command without it."""
    from mclrec.cli.launch import is_main

    if is_main():
        for line in [*lines, f"  the same without the file: {command}"]:
            PlainConsole(stderr=True).print(line, soft_wrap=True)


def _refuse_beside_final(context: typer.Context) -> None:
    """Refuse options whose values a final model takes from its measured run.

    Raises:
        ConfigError: such an option was given.
    """
    given = _given(context)
    for name, option in _SET_BY_MEASURED_RUN.items():
        if name in given:
            raise ConfigError(
                f"{option} does not go with --final, which takes model, settings, seed and data rules from its run; "
                f"leave {option} out"
            )


def _train_within(request: TrainRequest, minutes: float, began: float, *, as_json: bool) -> int:
    """Search, train and print the result; the search itself reports an interruption."""
    from mclrec.search.within_minutes import train_within
    from mclrec.training.reporting import ProgressReporter

    with ProgressReporter(PlainConsole(stderr=True)) as reporter:
        run = train_within(request, minutes, reporter, began=began)
    _print_run(run, as_json=as_json)
    return 0


def _deciding_words(words: list[str]) -> list[str]:
    """The words of the command, without those that change nothing about the run."""
    return [word for word in words if word not in ("--resume", "--quiet", "-q", "--json")]


def _train(request: TrainRequest, *, as_json: bool) -> int:
    """Train and print the result; the exit status is 130 if a signal ended it.

    Of several training processes, only the first prints.
    """
    from mclrec.cli.launch import is_main
    from mclrec.runs.training_run import train
    from mclrec.training.reporting import ProgressReporter

    if not is_main():
        with quietly():
            return 0 if train(request).record.finished else 130
    with ProgressReporter(PlainConsole(stderr=True)) as reporter:
        run = train(request, reporter)
    _print_run(run, as_json=as_json)
    if run.record.finished:
        return 0
    words = shlex.split(request.command or "mclrec train")
    if "--out" not in words:
        words += ["--out", str(run.directory)]
    PlainConsole(stderr=True).print(
        f"interrupted; {run.directory} holds the best weights so far. Resume with:\n  "
        f"{shlex.join([*words, '--resume'])}",
        soft_wrap=True,
    )
    return 130


def _print_run(run: Run, *, as_json: bool) -> None:
    """Print the test metrics of a run, its directory and its duration."""
    from mclrec.cli.scores import print_scores, run_json
    from mclrec.runs.calibration import chosen_lines

    if as_json:
        print_json(run_json(run))
        return
    record = run.record
    if record.test:
        print_scores(run)
    measured_by = run.info.measured_by
    chosen = f", best {record.best_epoch}" if record.best_epoch and measured_by is None else ""
    epochs = f"{count_of(record.epochs, 'epoch')}{chosen}, " if record.epochs else ""
    for line in chosen_lines(record):
        output().print(line, soft_wrap=True)
    output().print(f"{run.directory}: {epochs}{record.seconds} s", soft_wrap=True)
    if measured_by is not None:
        output().print(
            f"a final model: it learnt from everything and was not measured; {measured_by.run} was",
            soft_wrap=True,
        )
