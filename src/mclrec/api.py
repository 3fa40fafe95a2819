"""The library in a handful of functions; everything here is also reachable as ``mclrec.NAME``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mclrec.data.columns import Columns
from mclrec.data.loading import load, prepare
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError
from mclrec.runs.comparison import compare_runs as compare
from mclrec.runs.remeasure import evaluate_run as evaluate
from mclrec.runs.run import Run
from mclrec.runs.training_run import TrainRequest
from mclrec.runs.training_run import train as run_request
from mclrec.serving.predictor import Model
from mclrec.training.reporting import ProgressReporter

if TYPE_CHECKING:
    from mclrec.experiments.campaign import Progress
    from mclrec.experiments.reproduction import Reproduction
    from mclrec.search.tuning import Outcome

__all__ = [
    "Columns",
    "Model",
    "Run",
    "SequenceData",
    "compare",
    "evaluate",
    "load",
    "prepare",
    "reproduce",
    "train",
    "tune",
    "write_report",
]


def train(
    data: Any,
    model: str = "mclrec",
    *,
    recipe: str | Path | None = None,
    seed: int = 1,
    out: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    base: str | Path | None = None,
    split: str = "leave-one-out",
    progress: bool = True,
    track: str | None = None,
    shard_items: bool = False,
    **settings: Any,
) -> Run:
    """Train a model and measure it.

    Args:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a model; ``mclrec models`` lists them.
        recipe: section of the model's recipes, or a TOML file; the data set's own by default.
        seed: of everything random.
        out: directory of the run; a free one under ``runs/`` by default.
        device: auto, cpu or cuda.
        resume: go on with an interrupted run.
        base: directory of an earlier model to go on from, on a newer log.
        split: ``leave-one-out`` or ``time``.
        progress: whether to show progress bars.
        track: ``tensorboard`` to write its curves into the run, beside the history.
        shard_items: whether the processes that torchrun started share out the rows of the item table.
        settings: any setting of the model or of the training, such as ``beta=0.05`` or ``lambda_=0.1``.

    Returns:
        The run: ``run.metrics``, ``run.history``, ``run.model``.

    Raises:
        MclrecError: of the kind that says what is wrong.
    """
    request = TrainRequest(
        data,
        model,
        recipe,
        settings,
        seed,
        None if out is None else Path(out),
        device,
        resume,
        None if base is None else Path(base),
        split,
        track=track,
        shard_items=shard_items,
    )
    with ProgressReporter(Console(stderr=True)) if progress else nullcontext() as reporter:
        return run_request(request, reporter)


def tune(
    data: Any,
    model: str = "mclrec",
    *,
    trials: int = 50,
    workers: int = 1,
    storage: str | Path | None = None,
    recipe: str | Path | None = None,
    seed: int = 1,
    budget: float | None = None,
    device: str = "auto",
    split: str = "leave-one-out",
    track: str | None = None,
    **settings: Any,
) -> Outcome:
    """Search for a model's best settings by validation; called again, it goes on. See `mclrec.search.tuning.tune`.

    Workers are processes: a script that calls this does so under ``if __name__ == "__main__":``.

    Args:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a model.
        trials: of the whole search, over all calls with the same storage.
        workers: processes of this call.
        storage: the journal; by data and model under ``runs/tune`` by default.
        recipe: section of the model's recipes, or a TOML file, whose ``search`` says where to look.
        seed: of everything random.
        budget: minutes after which it stops.
        device: auto, cpu or cuda.
        split: ``leave-one-out`` or ``time``.
        track: ``tensorboard`` to write the curves of each trial.
        settings: fixed; they are not searched.

    Returns:
        The outcome: ``outcome.progress.best``, ``outcome.recipe`` (a TOML file), ``outcome.command``.

    Raises:
        MclrecError: of the kind that says what is wrong.
    """
    from mclrec.search import check_installed

    check_installed()
    from mclrec.search.tuning import TuneRequest
    from mclrec.search.tuning import tune as run_search

    request = TuneRequest(
        data, model, recipe, settings, seed, None if storage is None else Path(storage), device, split, track
    )
    return run_search(request, trials=trials, workers=workers, budget=None if budget is None else 60 * budget)


def reproduce(
    what: str,
    *,
    datasets: Sequence[str] | None = None,
    models: Sequence[str] = (),
    seeds: int = 1,
    recipe: str | Mapping[str, str] | None = None,
    points: int | None = None,
    out: str | Path = "runs/reproduce",
    workers: int | None = None,
    budget: float | None = None,
    show: Callable[[Progress], None] | None = None,
    track: str | None = None,
    **settings: Any,
) -> Reproduction:
    """Make a table or figure of the paper; what is done is not run again, and an interrupted campaign goes on.

    Workers are processes: a script that calls this does so under ``if __name__ == "__main__":``.

    Args:
        what: ``table2`` to ``table5``, ``figure2`` to ``figure8``, ``claim-regularizer``, or ``all``.
        datasets: names or paths; the paper's three by default.
        models: which to compare, where the target compares models; the paper's by default.
        seeds: runs of each, with seeds from 1.
        recipe: section of every model's recipes, such as ``sequences``, or by model ``{"mclrec": "sequences"}``; the
            data set's own by default.
        points: of a curve at most, spread evenly; all by default.
        out: directory of runs and tables.
        workers: processes; as many as there are cores, four at most, if not given.
        budget: minutes after which it stops.
        show: told about progress every second.
        track: ``tensorboard`` to write the curves of each run.
        settings: of all runs, such as ``epochs=3`` for a quick look.

    Returns:
        What is there: ``.frame().to_pandas()`` for all numbers, ``.outcomes`` with tables, ``.progress``.

    Raises:
        MclrecError: of the kind that says what is wrong.
    """
    from mclrec.experiments.reproduction import reproduce as run_targets
    from mclrec.experiments.target import PAPER_DATASETS, Scope

    scope = Scope(tuple(datasets or PAPER_DATASETS), tuple(models), seeds, settings, recipe, points)
    seconds = None if budget is None else 60 * budget
    return run_targets(what, scope, Path(out), workers=workers, budget=seconds, show=show, track=track)


def write_report(*places: str | Path, out: str | Path | None = None) -> Path:
    """Write one HTML file, which needs no network, about runs or about what `reproduce` wrote.

    Args:
        places: directories of runs, or one that `reproduce` has written to.
        out: HTML file; ``report.html`` in the first directory by default.

    Raises:
        MclrecError: a directory is neither; jinja2 or matplotlib is not installed.
    """
    from mclrec.report.page import write_report as write

    if not places:
        raise ConfigError("write_report needs the directory of a run, or of what `reproduce` wrote")
    return write([Path(place) for place in places], None if out is None else Path(out))
