"""The library in a handful of functions; everything here is also reachable as ``mclrec.NAME``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mclrec.data.columns import Columns
from mclrec.data.prepare import prepare
from mclrec.data.sequences import SequenceData
from mclrec.data.sources import load
from mclrec.runs.compare import compare_runs as compare
from mclrec.runs.evaluate import evaluate_run as evaluate
from mclrec.runs.run import Run
from mclrec.runs.sources import DataSource
from mclrec.runs.train import TrainRequest
from mclrec.runs.train import train as run_request
from mclrec.serving.predictor import Model
from mclrec.training.reporting import ProgressReporter

if TYPE_CHECKING:
    from mclrec.search.tune import Outcome

__all__ = [
    "Columns",
    "Model",
    "Run",
    "SequenceData",
    "compare",
    "evaluate",
    "load",
    "prepare",
    "train",
    "tune",
]


def train(
    data: SequenceData | DataSource | str | Path,
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
        data: as `load` returns it, or what `load` takes.
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
    data: SequenceData | DataSource | str | Path,
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
    """Search for a model's best settings by validation; called again, it goes on. See `mclrec.search.tune.tune`.

    Workers are processes: a script that calls this does so under ``if __name__ == "__main__":``.

    Args:
        data: as `load` returns it, or what `load` takes.
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
    from mclrec.search.tune import TuneRequest
    from mclrec.search.tune import tune as run_search

    request = TuneRequest(
        data, model, recipe, settings, seed, None if storage is None else Path(storage), device, split, track
    )
    return run_search(request, trials=trials, workers=workers, budget=None if budget is None else 60 * budget)
