"""``mclrec train``: trains one model, shows its progress, and prints its metrics."""

from __future__ import annotations

import shlex
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mclrec.cli.app import (
    DataArgument,
    DeviceOption,
    ModelOption,
    RecipeOption,
    SeedOption,
    SettingOption,
    SplitOption,
    TestFromOption,
    TrackOption,
    ValidFromOption,
    app,
    examples,
)
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import PlainConsole, output
from mclrec.errors import ConfigError
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.runs.request import TrainRequest
    from mclrec.runs.run import Run

_OF_THE_MEASURED_RUN = {
    "model": "--model",
    "recipe": "--recipe",
    "setting": "--set",
    "seed": "--seed",
    "split": "--split",
    "valid_from": "--valid-from",
    "test_from": "--test-from",
    "warm_start": "--warm-start",
    "minutes": "--minutes",
}
"""Options that do not go with ``--final``, by their parameters."""


@app.command(
    epilog=examples(
        "mclrec train beauty",
        "mclrec train complete-journey --model sasrec --seed 2",
        "mclrec train log.csv --item-column sku --set beta=0.1 --set epochs=20",
        "mclrec train log.csv --split time --valid-from 2026-05-01 --test-from 2026-06-01",
        "mclrec train train.csv --valid valid.csv --test test.csv  (a split that was made before)",
        "mclrec train log.csv --minutes 10  (tries other settings too, and trains the best)",
        "mclrec train newer.csv --warm-start runs/log-mclrec-seed1",
        "mclrec train newer.csv --final runs/log-mclrec-seed1  (the same on everything, to go live)",
        "mclrec models mclrec  (lists the settings and recipes of mclrec)",
    )
)
@reads_log()
def train(
    context: typer.Context,
    data: DataArgument,
    model: ModelOption = "mclrec",
    recipe: RecipeOption = None,
    setting: SettingOption = None,
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
    final: Annotated[
        Path | None,
        typer.Option(
            "--final",
            metavar="RUN",
            help="Train the model that goes live: as that measured run, on all interactions, unmeasured.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0,
            help="Train the best model that is found in so many minutes: settings around the recipe are compared on "
            "validation, and the best are trained on. Not with --processes, --warm-start or --track.",
        ),
    ] = None,
    *,
    reading: Reading,
    track: TrackOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress.")] = False,
) -> int:
    """Train a model, evaluate it under both protocols, and write a run directory."""
    from mclrec.cli.launch import is_one_of_several, run_processes

    began = time.monotonic()
    words: list[str] = context.obj["words"]
    if processes > 1 and minutes is not None:
        raise ConfigError("--minutes does not go with --processes: a search is one process")
    if processes > 1 and not is_one_of_several():
        return run_processes(words, processes)
    command = shlex.join(["mclrec", *_deciding(words)])
    if final is not None:
        _refuse_beside_final(context)
        from mclrec.runs.final import final_request
        from mclrec.runs.run import open_run

        options = {"out": out, "device": device, "resume": resume, "shard_items": shard_items, "track": track}
        return _train(final_request(open_run(final), data, reading, command=command, **options), quiet=quiet)
    from mclrec.data.split_choice import chosen_split
    from mclrec.recipes import parse_setting
    from mclrec.runs.request import TrainRequest

    request = TrainRequest(
        data,
        model,
        recipe,
        dict(parse_setting(text) for text in setting or []),
        seed,
        out,
        device,
        resume,
        warm_start,
        chosen_split(data, reading, split, valid_from, test_from),
        command=command,
        track=track,
        shard_items=shard_items,
        reading=reading,
    )
    if minutes is not None:
        return _train_within(request, minutes, began, quiet=quiet)
    return _train(request, quiet=quiet)


def _refuse_beside_final(context: typer.Context) -> None:
    """Refuse options that a final model takes from the run that was measured.

    Raises:
        ConfigError: there is one.
    """
    for name, option in _OF_THE_MEASURED_RUN.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise ConfigError(
                f"{option} does not go with --final, which has model, settings, seed and data rules of its run; leave "
                f"{option} out"
            )


def _train_within(request: TrainRequest, minutes: float, began: float, *, quiet: bool) -> int:
    """Search, train and print the result; an interruption is told by the search."""
    from mclrec.search.within_minutes import train_within
    from mclrec.training.reporting import ProgressReporter, WarningReporter

    console = PlainConsole(stderr=True)
    with nullcontext(WarningReporter(console)) if quiet else ProgressReporter(console) as reporter:
        run = train_within(request, minutes, reporter, began=began)
    _print_run(run)
    return 0


def _deciding(words: list[str]) -> list[str]:
    """The words of the command but for those that change nothing about the run."""
    return [word for word in words if word not in ("--resume", "--quiet", "-q")]


def _train(request: TrainRequest, *, quiet: bool) -> int:
    """Train and print the result; the exit status is 130 if a signal ended it.

    Of several training processes, only the first prints.
    """
    from mclrec.cli.launch import is_main
    from mclrec.runs.training_run import train
    from mclrec.training.reporting import ProgressReporter, WarningReporter

    if not is_main():
        return 0 if train(request).record.finished else 130
    console = PlainConsole(stderr=True)
    with nullcontext(WarningReporter(console)) if quiet else ProgressReporter(console) as reporter:
        run = train(request, reporter)
    _print_run(run)
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


def _print_run(run: Run) -> None:
    """Print the test metrics of a run, its directory and its duration."""
    from mclrec.cli.scores import print_scores

    record = run.record
    if record.test:
        print_scores(run)
    measured_by = run.info.measured_by
    chosen = f", best {record.best_epoch}" if record.best_epoch and measured_by is None else ""
    epochs = f"{count_of(record.epochs, 'epoch')}{chosen}, " if record.epochs else ""
    output().print(f"{run.directory}: {epochs}{record.seconds} s", soft_wrap=True)
    if measured_by is not None:
        output().print(
            f"a final model: it learnt from everything and was not measured; {measured_by.run} was",
            soft_wrap=True,
        )
