"""Hyperparameter search with several workers: find a model's best settings, or continue an earlier search."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from mclrec.data.datasets import asked_as, known_as
from mclrec.data.loading import load
from mclrec.data.measures import split_intake
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData, is_saved
from mclrec.data.split import make_split
from mclrec.errors import ConfigError
from mclrec.files import check_writable
from mclrec.locks import is_held
from mclrec.models import registry
from mclrec.recipes import default_recipe, write_recipe
from mclrec.recipes.auto import DataSizes
from mclrec.recipes.space import Dimension, value_of
from mclrec.runs.plan import plan_lines
from mclrec.runs.precision_choice import with_precision
from mclrec.runs.recipe_choice import possible_recipes, sizes_of
from mclrec.runs.training_run import resolve_device
from mclrec.runs.workers import Workers
from mclrec.search.search_folder import folder_of
from mclrec.search.study import Plan, Search
from mclrec.search.worker import Job, command, do_trials
from mclrec.training.checkpoint import StopRequest
from mclrec.training.reporting import Reporter
from mclrec.training.trackers import check_tracker

__all__ = ["Outcome", "Progress", "TrialView", "TuneRequest", "default_storage", "look_at_space", "tune"]

_POLL = 0.5
_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "open",
}


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """A request for a hyperparameter search.

    Attributes:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a registered model.
        recipe: section of the recipes, or a file; None for the data set's own.
        settings: fixed settings, which override the recipe's and are not searched.
        seed: of the search and of every trial's run.
        storage: the journal; if None, one under ``runs/tune``, named after data and model.
        device: auto, cpu or cuda.
        split: rule by which targets are held out, as `SplitRule` writes it.
        track: name of the experiment tracker.
        reading: how a log is read; does not apply to prepared data.
    """

    data: Any
    model: str = "mclrec"
    recipe: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    storage: Path | None = None
    device: str = "auto"
    split: str = "leave-one-out"
    track: str | None = None
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True, slots=True)
class TrialView:
    """The state of one trial, read from the journal.

    Attributes:
        number: from 0; trial 0 is the recipe.
        state: open, running, left (its process was stopped or died), done, pruned or failed.
        settings: settings of the trial.
        value: the best validation metric, so far if the trial is not done.
        by_epoch: validation metric of each epoch so far.
        seconds: duration of the trial, if it has ended; else 0.
        problem: why it failed.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float | None
    by_epoch: Mapping[int, float]
    seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a search.

    Attributes:
        trials: the trials that have been started, by number.
        total: number of trials of the whole search.
        metric: the validation metric by which trials are compared.
        elapsed: seconds since the start of this call.
    """

    trials: Sequence[TrialView]
    total: int
    metric: str
    elapsed: float

    def count(self, *states: str) -> int:
        """Number of trials in any of the states."""
        return sum(trial.state in states for trial in self.trials)

    @property
    def complete(self) -> bool:
        """Whether all trials have ended."""
        return self.count("done", "pruned", "failed") >= self.total

    @property
    def best(self) -> TrialView | None:
        """The best finished trial; the first of them on a tie."""
        done = [trial for trial in self.trials if trial.state == "done"]
        return max(done, key=lambda trial: trial.value or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call of `tune`.

    Attributes:
        progress: progress of the search.
        plan: definition of the search.
        folder: folder of the trials' runs, the best recipe and the report.
        recipe: TOML file of the best trial; None while no trial is done.
        command: command line that trains the best recipe and evaluates it on the test items; None without a recipe.
        importance: of each setting, by PED-ANOVA (Watanabe et al., IJCAI 2023); empty while few trials are done.
    """

    progress: Progress
    plan: Plan
    folder: Path
    recipe: Path | None
    command: str | None
    importance: Mapping[str, float] = field(default_factory=dict)


def default_storage(data_name: str, model: str) -> Path:
    """The journal's default path."""
    return Path("runs") / "tune" / f"{data_name}-{model}.journal"


def look_at_space(request: TuneRequest) -> dict[str, tuple[Dimension, Any]]:
    """The search space and the recipe's own value, by setting; nothing is written.

    Raises:
        MclrecError: as `tune`.
    """
    data = load(request.data, **request.reading.options())
    split = make_split(data, request.split)
    plan = _plan(request, data, sizes_of(split))
    base = plan.base
    return {key: (dimension, value_of(base, key)) for key, dimension in plan.space.items()}


def tune(
    request: TuneRequest,
    *,
    trials: int = 50,
    workers: int = 1,
    minutes: float | None = None,
    show: Callable[[Progress], None] | None = None,
    reporter: Reporter | None = None,
) -> Outcome:
    """Search until there are ``trials`` trials, counted over all calls with the same journal.

    The first trial is the recipe. On Ctrl-C, on SIGTERM and when the time is up, running trials write a checkpoint,
    from which the next call resumes; if a worker dies, another one resumes its trial. Trials are compared by their best
    validation metric; the test items are never used.

    Args:
        request: what is searched.
        trials: number of trials of the whole search.
        workers: processes of this call; they share the processor's cores, and the journal with any other call.
        minutes: time after which this call stops; None for no limit.
        show: called with the progress twice a second.
        reporter: receives the data that were read, and the recipe that the search starts from.

    Raises:
        MclrecError: the request, the data or the journal cannot be used.
    """
    started = time.monotonic()
    _check_request(request)
    data = load(request.data, **request.reading.options())
    split = make_split(data, request.split)
    intake = split_intake(split)
    sizes = DataSizes.of(split, intake.left.returns)
    plan = _plan(request, data, sizes)
    if reporter is not None:
        reporter.data_taken(intake)
        device = resolve_device(request.device)
        recipe, lines = with_precision(plan.base, device)
        reporter.planned([*plan_lines(recipe, split, sizes, device, timed=False), *lines])
    storage = request.storage or default_storage(data.name, request.model)
    search = Search(storage, plan)
    prepared = _prepared(data, search.folder / "data")
    origin = data.provenance
    if origin.kind == "memory":
        origin = SequenceData.load(prepared).provenance
    job = Job(storage, plan, prepared, origin, trials, request.device, request.track)
    metric = plan.base.training.metric

    def progress() -> Progress:
        return Progress(_views(search), trials, metric, time.monotonic() - started)

    count = 0 if search.over(trials) else workers
    with Workers(do_trials, (job,), count, trials) as team, StopRequest() as stop:
        while team.working():
            if show:
                show(progress())
            if stop.requested or (minutes is not None and time.monotonic() - started > 60 * minutes):
                break
            time.sleep(_POLL)
    return _outcome(progress(), job, search)


def _check_request(request: TuneRequest) -> None:
    """Check what can be checked before the data are read."""
    for recipe in possible_recipes(request.model, request.data, request.recipe, request.settings):
        section = recipe.section if request.recipe is None else request.recipe
        Plan(request.model, section, request.settings, request.seed, request.split, "", None, "").identity()
        registry.require_extra(request.model, recipe.config)
    _check_place(request.storage)
    resolve_device(request.device)
    if request.track is not None:
        check_tracker(request.track)


def _check_place(storage: Path | None) -> None:
    """Check that a journal, and the folder beside it, can be written.

    Raises:
        OutputError: they cannot.
    """
    if storage is None:
        check_writable(default_storage("", "").parent, "folder")
    else:
        check_writable(storage)
        check_writable(folder_of(storage), "folder")


def _plan(request: TuneRequest, data: SequenceData, sizes: DataSizes) -> Plan:
    recipe = request.recipe
    return Plan(
        request.model,
        default_recipe(request.model, asked_as(data)) if recipe is None else recipe,
        request.settings,
        request.seed,
        request.split,
        data.name,
        known_as(data),
        data.fingerprint,
        sizes,
    )


def _prepared(data: SequenceData, folder: Path) -> Path:
    """Directory of the prepared data, which workers memory-map; written by the first call, for which others wait.

    Raises:
        ConfigError: the directory holds other data.
    """
    with FileLock(folder.with_name(f".{folder.name}.turn")):
        if not is_saved(folder):
            data.save(folder)
            return folder
    if not data.same_rows(SequenceData.load(folder)):
        raise ConfigError(f"{folder}: holds other data; give another --storage")
    return folder


def _views(search: Search) -> list[TrialView]:
    return [
        _view(trial, search.directory(trial.number))
        for trial in search.trials()
        if trial.state != TrialState.WAITING
    ]


def _view(trial: FrozenTrial, directory: Path) -> TrialView:
    state = _STATES.get(trial.state) or ("running" if is_held(directory) else "left")
    reached = list(trial.intermediate_values.values())
    value = trial.value if trial.state == TrialState.COMPLETE else max(reached, default=None)
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return TrialView(
        trial.number,
        state,
        trial.params,
        value,
        dict(sorted(trial.intermediate_values.items())),
        seconds,
        trial.user_attrs.get("problem", ""),
    )


def _outcome(progress: Progress, job: Job, search: Search) -> Outcome:
    folder, best = search.folder, progress.best
    if best is None:
        return Outcome(progress, job.plan, folder, None, None)
    path = folder / "best.toml"
    source = (
        f"mclrec tune {shlex.join(job.origin.words())}: trial {best.number} of {len(progress.trials)}, "
        f"validation {progress.metric} {best.value:.4f}, seed {job.plan.seed}"
    )
    write_recipe(path, job.plan.recipe_with(best.settings), source)
    return Outcome(progress, job.plan, folder, path, command(job, path), search.importance())
