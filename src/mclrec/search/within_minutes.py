"""Training within a number of minutes: a search among a few candidates, then the full training of the winner.

Everything is a run: a candidate is trained in ``candidates/NN`` of the run's directory and resumed with more epochs as
long as it survives, and the winner's checkpoint becomes that of the run itself. Thus no epoch is trained twice, and the
result of a search is, bit for bit, the run that its command line trains without a search. The test items are used only
once, to measure the winner.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mclrec.data.loading import load
from mclrec.data.measures import split_intake
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.data.split import looks_at_times, make_split
from mclrec.errors import ConfigError
from mclrec.locks import Lock
from mclrec.models import registry
from mclrec.recipes.auto import DataSizes
from mclrec.runs.construction import build
from mclrec.runs.plan import duration, plan_lines
from mclrec.runs.precision_choice import with_precision
from mclrec.runs.recipe_choice import recipe_for
from mclrec.runs.request import TrainRequest, run_name
from mclrec.runs.run import Run
from mclrec.runs.run_directory import RunDirectory
from mclrec.runs.saved_settings import came_later
from mclrec.runs.thread_choice import take_threads
from mclrec.runs.training_run import check_request, resolve_device, train
from mclrec.search.epoch_clock import MEASURING, Budget, EpochClock, OutOfTimeError
from mclrec.search.halving import RECIPE, first_rung
from mclrec.search.rungs import search_rungs
from mclrec.search.search_job import FOLDER, Job
from mclrec.search.search_record import Candidate, SearchRecord
from mclrec.training.checkpoint import CHECKPOINT, has_checkpoint
from mclrec.training.identity import SETTING
from mclrec.training.kept_threads import kept_threads
from mclrec.training.reporting import Reporter, SilentReporter, read_history
from mclrec.wording import count_of

__all__ = ["train_within"]

_HISTORY = "history.jsonl"
_MOST_MINUTES = 1e6
_MARGIN = 1.25
"""Safety factor on an epoch's time as estimated from a few batches, to include validation."""


def train_within(
    request: TrainRequest, minutes: float, reporter: Reporter | None = None, *, began: float | None = None
) -> Run:
    """Search for the best model within a time limit, train it, and measure it.

    Args:
        request: what to train; the search starts from its recipe and settings.
        minutes: wall-clock time for everything, summed over all sessions if the search is interrupted and resumed.
        reporter: receives progress.
        began: start of the time, as given by `time.monotonic`; now if None.

    Raises:
        MclrecError: of any kind that the data, the recipe or the training can cause.
        KeyboardInterrupt: a signal ended it; with ``resume`` it can be continued.
    """
    if not 0 < minutes < _MOST_MINUTES:
        raise ConfigError(f"minutes = {minutes:g}: should be a number of minutes above 0")
    budget = Budget(60 * minutes, time.monotonic() if began is None else began)
    device = resolve_device(request.device)
    _check(request)
    place = RunDirectory(request.out, resume=request.resume, search=True)
    try:
        place.claim_given()
        data = load(request.data, **request.reading.options())
        directory = place.claim(run_name(data.name, request.model, request.seed))
        earlier = SearchRecord.load(directory) if place.resume else None
        job = _job(request, data, device, directory, place.lock, reporter or SilentReporter(), earlier)
        with kept_threads():
            job, record = _begun(job, budget) if earlier is None else _resumed(job, earlier, budget)
            torch.set_num_threads(record.threads)
            return _train(job, record, budget)
    finally:
        place.release()


def _check(request: TrainRequest) -> None:
    """Check, before the data are read, that a search supports the request.

    Raises:
        ConfigError: it does not.
    """
    reasons = {
        "--warm-start": (request.warm_start is not None, "candidates start from scratch"),
        "--track": (request.track is not None, "candidates are not tracked; repeat the run with its command"),
        "--shard-items": (request.shard_items, "a search runs in one process"),
        "--processes": (os.environ.get("WORLD_SIZE", "1") != "1", "a search runs in one process"),
    }
    for name, (given, reason) in reasons.items():
        if given:
            raise ConfigError(f"--minutes does not go with {name}: {reason}; leave one of them out")
    if registry.entry(request.model).only_counts:
        raise ConfigError(f"{request.model} only counts: leave --minutes out")
    check_request(request)


def _job(
    request: TrainRequest,
    data: SequenceData,
    device: torch.device,
    directory: Path,
    lock: Lock | None,
    reporter: Reporter,
    earlier: SearchRecord | None,
) -> Job:
    """Make the job of a search; ``earlier`` is the record of a resumed search, whose precision is kept.

    Raises:
        ConfigError: the model is trained in several phases.
    """
    split = make_split(data, request.split)
    intake = split_intake(split)
    reporter.data_taken(intake)
    sizes = DataSizes.of(split, intake.left.returns)
    base = recipe_for(request.model, data, sizes, request.recipe, request.settings)
    own = base.training.on(device).precision
    base, lines = with_precision(base, device, earlier and earlier.precision)
    if len(build(base, split.training, request.seed).phases()) > 1:
        raise ConfigError(
            f"{request.model} is trained in several phases, which --minutes cannot do; use mclrec tune"
        )
    settings = request.settings
    if base.training.precision != own:  # chosen by another machine: new candidates have to be given it
        settings = {**(settings or {}), "precision": base.training.precision}
    request = replace(request, data=data, reading=Reading(), recipe=base.section, settings=settings)
    reporter.planned(lines)
    return Job(request, base, split, sizes, device, directory, lock, reporter)


def _resumed(job: Job, record: SearchRecord, budget: Budget) -> tuple[Job, SearchRecord]:
    """Job and record of a resumed search.

    Raises:
        ConfigError: the record is of a search with other data or settings, or is finished.
    """
    if record.epochs is not None and "epochs" not in job.settings:
        job = job.of_epochs(record.epochs)
    record.check(_identity(job), job.directory, came_later(job.base.model))
    budget.before = record.spent
    return job, record


def _begun(job: Job, budget: Budget) -> tuple[Job, SearchRecord]:
    """Job and record of a new search.

    Raises:
        ConfigError: the time is too short for one epoch.
    """
    for line in plan_lines(job.base, job.split, job.sizes, job.device, timed=False):
        job.say(line)
    job.say(take_threads(job.split, job.base, job.device, measure=True))
    recipe = Candidate(RECIPE, {})
    recipe.seconds = job.epoch_time(recipe)
    if recipe.seconds > budget.left:
        least = (budget.spent + 2 * recipe.seconds + MEASURING[0]) / 60
        raise ConfigError(
            f"minutes = {budget.seconds / 60:g}: an epoch alone takes about {duration(recipe.seconds)}; "
            f"give {least:.1f} or more"
        )
    fitting = _fitting(job, budget, recipe.seconds)
    if fitting is not None:
        job.say(f"{count_of(fitting, 'epoch')} instead of {job.epochs}, which would not finish in time")
        job = job.of_epochs(fitting)
    training = job.base.training
    rung = first_rung(training.patience, training.epochs)
    record = SearchRecord(
        _identity(job), training.metric, rung, [recipe], torch.get_num_threads(), epochs=fitting
    )
    return job, record


def _fitting(job: Job, budget: Budget, seconds: float) -> int | None:
    """Epochs of a whole learning rate cycle that fits into the time; None to keep the recipe's.

    A truncated cycle does not reach its low rates, which improve the model most; a shorter cycle does.
    """
    if job.base.training.cycle != "whole" or "epochs" in job.settings:
        return None
    fitting = max(1, int(budget.left / (_MARGIN * seconds))) if seconds else job.epochs
    return fitting if fitting < job.epochs else None


def _identity(job: Job) -> dict[str, Any]:
    """Values that must be the same in a resumed search as in the original one."""
    training = job.base.training.model_dump(mode="json", exclude={"checkpoint_minutes"})
    data, settings = job.split.data, training | job.base.config.identity()
    return {
        "model": job.base.model,
        "data": data.fingerprint,
        "split": job.request.split,
        **({"times": data.times_checksum} if looks_at_times(job.request.split) else {}),
        "seed": job.request.seed,
        "recipe": job.base.section,
        **{f"{SETTING}{key}": value for key, value in settings.items()},
    }


def _train(job: Job, record: SearchRecord, budget: Budget) -> Run:
    """Search, then train the winner to the end."""
    job.directory.mkdir(parents=True, exist_ok=True)
    record.save(job.directory, budget.spent)
    try:
        if record.winner is None:
            record.winner = search_rungs(job, record, budget)
            record.save(job.directory, budget.spent)
            job.say(record.verdict())
        run = _finish(job, record, budget)
    except KeyboardInterrupt:
        record.save(job.directory, budget.spent)
        job.say(f"interrupted; the same command with --out {job.directory} --resume continues")
        raise
    record.finished = True
    record.save(job.directory, budget.spent)
    shutil.rmtree(job.directory / FOLDER, ignore_errors=True)
    job.say(
        f"{budget.spent / 60:.1f} of {budget.seconds / 60:g} minutes; without the search: {run.info.command}"
    )
    return run


def _finish(job: Job, record: SearchRecord, budget: Budget) -> Run:
    """Train the winner to the end, or until the time is up, and measure it."""
    winner = record.of(record.winner or RECIPE)
    _promote(job, winner)
    settings = {**job.settings, **winner.settings}
    clock = EpochClock(job.reporter, budget, 0.0, winner.seconds, lines=True)
    try:
        run = train(_final(job, record, settings), clock, job.lock)
    except OutOfTimeError:
        epochs = len(read_history(job.directory / _HISTORY))
        job.say(f"the time is up after {count_of(epochs, 'epoch')}; measuring")
        run = train(_final(job, record, {**settings, **job.limited(epochs)}), SilentReporter(), job.lock)
    if not run.record.finished:
        raise KeyboardInterrupt
    return run


def _final(job: Job, record: SearchRecord, settings: Mapping[str, Any]) -> TrainRequest:
    """The request for the run that results from the search."""
    return replace(
        job.request,
        settings=settings,
        out=job.directory,
        resume=has_checkpoint(job.directory),
        command=job.command(settings),
        found=record.card_lines(),
    )


def _promote(job: Job, winner: Candidate) -> None:
    """Move the winner's checkpoint to the run's directory, unless that has one already."""
    folder = job.folder(winner)
    if has_checkpoint(folder) and not has_checkpoint(job.directory):
        shutil.copyfile(folder / _HISTORY, job.directory / _HISTORY)
        (folder / CHECKPOINT).rename(job.directory / CHECKPOINT)
