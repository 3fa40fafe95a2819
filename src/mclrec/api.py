"""The public Python interface: train, tune, reproduce, report; each name is also available as ``mclrec.NAME``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mclrec.arguments import (
    LARGEST_SEED,
    check_callable,
    check_flag,
    list_of,
    mapping_of,
    minutes_of,
    path_of,
    settings_of,
    text_of,
    whole_number,
)
from mclrec.crashes import refusals_as_ours
from mclrec.data.columns import Columns
from mclrec.data.datasets import datasets, register_dataset
from mclrec.data.loading import load, prepare
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData, is_saved
from mclrec.data.split_choice import chosen_split
from mclrec.errors import ConfigError, quoted
from mclrec.inference.model import Model
from mclrec.inference.queries import Query
from mclrec.models.registry import Entry
from mclrec.models.registry import register as register_model
from mclrec.runs.comparison import compare_runs as compare
from mclrec.runs.remeasure import evaluate_run as evaluate
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, open_run
from mclrec.runs.shown_progress import shown
from mclrec.runs.training_run import train as run_request

if TYPE_CHECKING:
    from mclrec.experiments.campaign import Progress
    from mclrec.experiments.reproduction import Reproduction
    from mclrec.search.tuning import Outcome

__all__ = [
    "Columns",
    "Entry",
    "Model",
    "Query",
    "Reading",
    "Run",
    "SequenceData",
    "compare",
    "datasets",
    "evaluate",
    "load",
    "prepare",
    "register_dataset",
    "register_model",
    "reproduce",
    "train",
    "tune",
    "write_report",
]


@refusals_as_ours()
def train(
    data: Any,
    model: str = "mclrec",
    *,
    recipe: str | Path | None = None,
    seed: int = 1,
    out: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    warm_start: Run | str | Path | None = None,
    split: str | None = None,
    valid_from: int | str | date | None = None,
    test_from: int | str | date | None = None,
    test_until: int | str | date | None = None,
    targets: str | None = None,
    reading: Reading | None = None,
    progress: bool = True,
    track: str | None = None,
    shard_items: bool = False,
    minutes: float | None = None,
    **settings: Any,
) -> Run:
    """Train a model and evaluate it.

    Args:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a model; ``mclrec models`` lists them.
        recipe: section of the model's recipes, or a TOML file; the data set's own by default.
        seed: seed of all random numbers.
        out: directory of the run; an unused one under ``runs/`` by default.
        device: auto, cpu or cuda.
        resume: continue an interrupted run.
        warm_start: earlier run (or its directory) whose weights training starts from, on a newer log.
        split: ``leave-one-out`` (the default), ``time``, or ``files`` (the default for data in separate files for
            training, validation and test).
        valid_from: with ``time``: the moment from which validation targets are taken, an ISO date or an integer in the
            log's unit; by default the moment before which 80 % of all rows lie.
        test_from: likewise for the test; 90 % by default.
        test_until: likewise for the end of the test.
        targets: with ``time``: which of a user's interactions: ``first``, ``last``, ``all``, ``random``, ``random-7``.
        reading: how a log becomes sequences; see `mclrec.load`.
        progress: whether to show progress bars.
        track: ``tensorboard``, ``mlflow`` or ``wandb`` (offline): also write the curves in its format, into the run.
        shard_items: whether the processes that torchrun started shard the item table by rows.
        minutes: time limit within which settings around the recipe are compared on validation and the best is trained.
        settings: any setting of the model or of the training, such as ``beta=0.05`` or ``lambda_=0.1``.

    Returns:
        The run: ``run.metrics``, ``run.history``, ``run.model``.

    Raises:
        MclrecError: in the subclass for the cause.
    """
    resume = check_flag("resume", resume)
    bars = shown(progress)
    shard_items = check_flag("shard_items", shard_items)
    request = TrainRequest(
        data,
        text_of("model", model),
        _recipe(recipe),
        settings_of(settings),
        whole_number("seed", seed, 0, LARGEST_SEED),
        None if out is None else path_of("out", out),
        text_of("device", device),
        resume,
        warm_start,
        chosen_split(data, Reading.of(reading), split, valid_from, test_from, test_until, targets),
        track=None if track is None else text_of("track", track),
        shard_items=shard_items,
        reading=Reading.of(reading),
    )
    limit = minutes_of(minutes)
    with bars as reporter:
        if limit is None:
            return run_request(request, reporter)
        from mclrec.search.within_minutes import train_within

        return train_within(request, limit, reporter)


@refusals_as_ours()
def tune(
    data: Any,
    model: str = "mclrec",
    *,
    trials: int = 50,
    workers: int = 1,
    storage: str | Path | None = None,
    recipe: str | Path | None = None,
    seed: int = 1,
    minutes: float | None = None,
    device: str = "auto",
    split: str | None = None,
    valid_from: int | str | date | None = None,
    test_from: int | str | date | None = None,
    test_until: int | str | date | None = None,
    targets: str | None = None,
    reading: Reading | None = None,
    track: str | None = None,
    **settings: Any,
) -> Outcome:
    """Search for a model's best settings by validation; called again with the same storage, the search continues.

    Workers are processes: a script must call this under ``if __name__ == "__main__":``.

    Args:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a model.
        trials: number of trials of the whole search, over all calls with the same storage.
        workers: number of processes in this call.
        storage: the journal; by default under ``runs/tune``, named after data and model.
        recipe: section of the model's recipes, or a TOML file, whose ``search`` defines the search space.
        seed: seed of all random numbers.
        minutes: time limit.
        device: auto, cpu or cuda.
        split: as in `train`.
        valid_from: as in `train`; likewise ``test_from``, ``test_until`` and ``targets``.
        reading: how a log becomes sequences; see `mclrec.load`.
        track: ``tensorboard``, ``mlflow`` or ``wandb``, for the curves of each trial.
        settings: settings held fixed, which are not searched.

    Returns:
        The outcome: ``outcome.progress.best``, ``outcome.recipe`` (a TOML file), ``outcome.command``.

    Raises:
        MclrecError: in the subclass for the cause.
    """
    from mclrec.search import check_installed

    check_installed()
    from mclrec.search.tuning import TuneRequest
    from mclrec.search.tuning import tune as run_search

    request = TuneRequest(
        data,
        text_of("model", model),
        _recipe(recipe),
        settings_of(settings),
        whole_number("seed", seed, 0, LARGEST_SEED),
        None if storage is None else path_of("storage", storage),
        text_of("device", device),
        chosen_split(data, Reading.of(reading), split, valid_from, test_from, test_until, targets),
        None if track is None else text_of("track", track),
        reading=Reading.of(reading),
    )
    return run_search(
        request,
        trials=whole_number("trials", trials, 1),
        workers=whole_number("workers", workers, 1),
        minutes=minutes_of(minutes),
    )


@refusals_as_ours()
def reproduce(
    what: str,
    *,
    datasets: Sequence[Any] | None = None,
    models: Sequence[str] = (),
    seeds: int = 1,
    recipe: str | Mapping[str, str] | None = None,
    points: int | None = None,
    out: str | Path = "runs/reproduce",
    workers: int | None = None,
    minutes: float | None = None,
    show: Callable[[Progress], None] | None = None,
    track: str | None = None,
    **settings: Any,
) -> Reproduction:
    """Reproduce a table or figure of the paper; finished runs are kept, and an interrupted campaign continues.

    Workers are processes: a script must call this under ``if __name__ == "__main__":``.

    Args:
        what: ``table2`` to ``table5``, ``figure2`` to ``figure8``, ``claim-regularizer``, ``all`` of these, or
            ``encoders``.
        datasets: names, paths, frames or `SequenceData`; the paper's three by default. Data in memory are
            saved under ``out``, where the workers read them.
        models: the models to compare, if the target compares models; the paper's by default.
        seeds: number of runs of each, with seeds from 1.
        recipe: section of every model's recipes, such as ``sequences``, or one per model ``{"mclrec": "sequences"}``;
            the data set's own by default.
        points: maximum number of points of a curve, evenly spread; all by default.
        out: directory of runs and tables.
        workers: number of processes; by default as many as there are cores, at most four.
        minutes: time limit.
        show: called with the progress every second.
        track: ``tensorboard``, ``mlflow`` or ``wandb``, for the curves of each run.
        settings: settings of all runs, such as ``epochs=3`` for a quick look.

    Returns:
        The results so far: ``.frame().to_pandas()`` for all numbers, ``.outcomes`` with tables, ``.progress``.

    Raises:
        MclrecError: in the subclass for the cause.
    """
    from mclrec.experiments.reproduction import reproduce as run_targets
    from mclrec.experiments.target import PAPER_DATASETS, Scope

    folder = path_of("out", out)
    seeds = whole_number("seeds", seeds, 1)
    points = None if points is None else whole_number("points", points, 2)
    workers = None if workers is None else whole_number("workers", workers, 1)
    if show is not None:
        check_callable("show", show)
    wanted = [datasets] if isinstance(datasets, str) else PAPER_DATASETS if datasets is None else datasets
    places = [
        _place(data, folder / "data") for data in list_of("data sets", "datasets", wanted, ordered=True)
    ]
    scope = Scope(
        tuple(places),
        list_of("names", "models", models, ordered=True),
        seeds,
        settings_of(settings),
        _recipe_or_several(recipe),
        points,
    )
    return run_targets(
        what, scope, folder, workers=workers, minutes=minutes_of(minutes), show=show, track=track
    )


@refusals_as_ours()
def write_report(*places: Run | str | Path, out: str | Path | None = None) -> Path:
    """Write a self-contained HTML report about runs or about the results of `reproduce`.

    Args:
        places: runs (or their directories), or one output directory of `reproduce`.
        out: HTML file; ``report.html`` in the first directory by default.

    Raises:
        MclrecError: a directory is neither; jinja2 or matplotlib is not installed.
    """
    from mclrec.report.page import write_report as write

    if not places:
        raise ConfigError(
            "write_report needs a run, the directory of a run, or the output directory of `reproduce`"
        )
    return write(
        [open_run(place).directory for place in places], None if out is None else path_of("out", out)
    )


def _recipe(value: Any) -> str | Path | None:
    return None if value is None else value if isinstance(value, str) else path_of("recipe", value)


def _recipe_or_several(recipe: Any) -> str | dict[str, str] | None:
    """One recipe for all models, or a recipe per model.

    Raises:
        ConfigError: the value is neither.
    """
    if isinstance(recipe, Mapping):
        return {
            model: text_of(f"recipe of {model}", name) for model, name in mapping_of("recipe", recipe).items()
        }
    if recipe is None or isinstance(recipe, str | Path):
        return None if recipe is None else str(recipe)
    raise ConfigError(
        f"recipe = {quoted(recipe)}: should be a section's name, a file, or one of these for each model"
    )


def _place(data: Any, folder: Path) -> str:
    """Name or path of data for workers; data in memory are first prepared and saved into a folder."""
    if isinstance(data, str | Path):
        return str(data)
    found = load(data)
    directory = folder / f"{found.name}-{found.fingerprint[:12]}"
    if not is_saved(directory) or not found.same_rows(SequenceData.load(directory)):
        found.save(directory)
    return str(directory)
