"""A training run: train a model with a recipe, measure it under both protocols, and write its directory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mclrec.data.intake import Intake
from mclrec.data.loading import load
from mclrec.data.measures import split_intake
from mclrec.data.sequences import SequenceData
from mclrec.data.split import EVERYTHING, Split, make_split
from mclrec.data.split_rules import SplitRule
from mclrec.distributed.group import process_group
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import sharded
from mclrec.errors import ConfigError
from mclrec.evaluation.protocol import SEEN_OF, load_ranks
from mclrec.files import write_text
from mclrec.json_files import write_json
from mclrec.locks import Lock
from mclrec.machine import processor
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.directory import METRICS, TENSORS, weights_checksum
from mclrec.models.storage import load_model, resolve_device, save_model
from mclrec.recipes import Recipe
from mclrec.recipes.auto import DataSizes
from mclrec.runs.baselines import BASELINES, measure_baselines, system_name
from mclrec.runs.construction import build
from mclrec.runs.intake_file import INTAKE
from mclrec.runs.measurement import Chosen, choose, measure
from mclrec.runs.model_card import model_card
from mclrec.runs.plan import plan_lines
from mclrec.runs.precision_choice import with_precision
from mclrec.runs.recipe_choice import possible_recipes, recipe_for, recipe_of
from mclrec.runs.request import TrainRequest, run_name
from mclrec.runs.run import (
    Run,
    RunInfo,
    RunRecord,
    open_run,
    ranks_path,
)
from mclrec.runs.run_directory import RunDirectory, discard_stale
from mclrec.runs.run_info import checkpoint_identity, run_info
from mclrec.runs.saved_settings import came_later
from mclrec.runs.thread_choice import take_threads
from mclrec.runs.warm_start import check_earlier, warm_start
from mclrec.sealed_json import sealed
from mclrec.training.checkpoint import began_with
from mclrec.training.fit_result import FitResult
from mclrec.training.kept_threads import kept_threads
from mclrec.training.reporting import Reporter, Reporters, SilentReporter
from mclrec.training.trackers import check_tracker, tracker
from mclrec.training.trainer import Trainer

__all__ = ["check_request", "resolve_device", "train"]


def train(request: TrainRequest, reporter: Reporter | None = None, lock: Lock | None = None) -> Run:
    """Train as requested. If torchrun started several processes, they train one model together.

    Args:
        request: the request.
        reporter: receives the progress.
        lock: lock of ``request.out``, if the caller holds it already.

    Raises:
        MclrecError: any error that the data, the recipe or the training can cause.
    """
    device = resolve_device(request.device)
    check_request(request)
    place = RunDirectory(request.out, resume=request.resume, lock=lock)
    with process_group(device) as processes, kept_threads():
        try:
            if processes.main:
                return _train(request, place, device, processes, reporter)
            return _train(replace(request, track=None), place, device, processes, None)
        finally:
            place.release()


@dataclass(frozen=True)
class _Job:
    """What a training process works with, once the data are read and the settings are known.

    Attributes:
        request: the request.
        intake: what was read and kept of the log.
        sizes: sizes of the training part.
        split: split of the data.
        recipe: the recipe, without anything left open.
        model: the model, with its initial weights.
        info: contents of the run's ``config.json``.
        directory: directory of the run.
        device: device of the model.
        processes: the processes that train together.
        resume: whether to continue the run in the directory.
        timed: whether batches are timed to estimate the duration and to choose threads.
        choices: lines on the precision and the number of threads.
    """

    request: TrainRequest
    intake: Intake
    sizes: DataSizes
    split: Split
    recipe: Recipe
    model: Recommender
    info: RunInfo
    directory: Path
    device: torch.device
    processes: Processes
    resume: bool
    timed: bool
    choices: Sequence[str]


def _train(
    request: TrainRequest,
    place: RunDirectory,
    device: torch.device,
    processes: Processes,
    reporter: Reporter | None,
) -> Run:
    """Do the part of one training process."""
    processes.broadcast_text(place.claim_given)
    job = _prepare(request, place, device, processes, reporter)
    started = time.perf_counter()
    fit, chosen = _fit(job, reporter)
    _save(job)
    if processes.main:
        discard_stale(job.directory)
    results: dict[str, Any] = {}
    if request.measured and len(job.split.test) and not fit.interrupted:
        results = measure(job.model, job.split, job.recipe, job.directory, request.seed, device, processes)
    if processes.main:
        _write_records(job, fit, chosen, results, fit.seconds_before + time.perf_counter() - started)
    processes.barrier()
    return Run(job.directory)


def _prepare(
    request: TrainRequest,
    place: RunDirectory,
    device: torch.device,
    processes: Processes,
    reporter: Reporter | None,
) -> _Job:
    """Read the data, settle the recipe, claim the directory and build the model."""
    data = load(request.data, **request.reading.options())
    split = make_split(data, request.split)
    intake = split_intake(split)
    if reporter is not None:
        reporter.data_taken(intake)
    sizes = DataSizes.of(split, intake.left.returns)
    recipe = _recipe(request, data, sizes)
    recipe.training.check_device(device)
    stem = run_name(data.name, request.model, request.seed)
    stem += "-final" if request.split == EVERYTHING else ""
    directory = Path(processes.broadcast_text(lambda: str(place.claim(stem))))
    resume = processes.broadcast_text(lambda: str(place.resume)) == str(True)
    begun = began_with(directory).get("precision") if resume else None
    recipe, choices = with_precision(recipe, device, begun, processes)
    timed = processes.size == 1 and not resume and request.measured
    threads = take_threads(split, recipe, device, measure=timed)
    model = _build(request, split, recipe, processes)
    return _Job(
        request=request,
        intake=intake,
        sizes=sizes,
        split=split,
        recipe=recipe,
        model=model,
        info=run_info(request, model, recipe, split),
        directory=directory,
        device=device,
        processes=processes,
        resume=resume,
        timed=timed,
        choices=[*choices, *([threads] if timed else [])],
    )


def _build(request: TrainRequest, split: Split, recipe: Recipe, processes: Processes) -> Recommender:
    """The model with initial weights, or with those of the run that it starts from."""
    with sharded(processes if request.shard_items else SINGLE_PROCESS):
        model = build(recipe, split.training, request.seed)
    if request.warm_start is not None:
        earlier = open_run(request.warm_start)
        check_earlier(earlier, split.data, request.split)
        warm_start(model, split.data.item_ids, split.data.user_ids, load_model(earlier.directory))
    return model


def _fit(job: _Job, reporter: Reporter | None) -> tuple[FitResult, Chosen]:
    """Train, then let validation choose what no loss tunes."""
    request, recipe, processes = job.request, job.recipe, job.processes
    with _tracked(request, recipe, job.directory, reporter, resume=job.resume) as told:
        if reporter is not None:
            plan = plan_lines(recipe, job.split, job.sizes, job.device, timed=job.timed)
            told.planned([*plan, *job.choices])
        trainer = Trainer(
            job.model,
            job.split,
            recipe.training,
            seed=request.seed,
            directory=job.directory,
            device=job.device,
            identity=checkpoint_identity(job.info),
            came_later=came_later(job.info.model),
            reporter=told,
            processes=processes,
        )
        fit = trainer.fit(resume=job.resume)
        if fit.interrupted or not request.measured:
            return fit, Chosen()
        return fit, choose(request, job.model, job.split, recipe, job.device, processes)


def _save(job: _Job) -> None:
    data = job.split.data
    save_model(
        job.directory,
        name=job.recipe.model,
        model=job.model,
        items=data.item_ids,
        counts=job.split.training.popularity,
        users=data.user_ids,
        extra=job.info.extra(),
        processes=job.processes,
    )


def _write_records(
    job: _Job, fit: FitResult, chosen: Chosen, results: dict[str, Any], seconds: float
) -> None:
    """Write what was measured, the baselines beside it, what was read, and the model card."""
    directory, request = job.directory, job.request
    record = _record(job, fit, chosen, results, seconds)
    baselines = None
    if results:
        ranks = {label: load_ranks(ranks_path(directory, "test", label)) for label in SEEN_OF}
        own = system_name(job.info.model, job.info.config)
        baselines = measure_baselines(job.split, own, ranks, request.seed)
        write_json(directory / BASELINES, baselines.to_json())
    write_json(directory / METRICS, sealed(record.model_dump(mode="json")))
    write_json(directory / INTAKE, job.intake.to_json())
    card = model_card(job.info, record, job.recipe, job.intake, baselines, request.found)
    write_text(directory / "README.md", card)


def check_request(request: TrainRequest) -> None:
    """Check what can be checked before data are read."""
    if request.like is None:
        SplitRule.of(request.split)
    recipes = (
        possible_recipes(request.model, request.data, request.recipe, request.settings)
        if request.like is None
        else [recipe_of(request.like, request.split)]
    )
    for recipe in recipes:
        registry.require_extra(request.model, recipe.config)
    if request.shard_items and not registry.model_class(request.model).supports_sharding:
        able = [name for name in registry.names() if registry.model_class(name).supports_sharding]
        raise ConfigError(
            f"--shard-items: {request.model} needs its whole item table in each process; leave it out, "
            f"or train {', '.join(able[:-1])} or {able[-1]}"
        )
    if request.track is not None:
        check_tracker(request.track)


def _recipe(request: TrainRequest, data: SequenceData, sizes: DataSizes) -> Recipe:
    """The settings of the run, from another run or from a recipe."""
    if request.like is not None:
        return recipe_of(request.like, request.split)
    return recipe_for(request.model, data, sizes, request.recipe, request.settings)


@contextmanager
def _tracked(
    request: TrainRequest, recipe: Recipe, directory: Path, reporter: Reporter | None, *, resume: bool
) -> Iterator[Reporter]:
    """Yield the reporter of the run: the given one, combined with the requested tracker."""
    given = reporter or SilentReporter()
    if request.track is None:
        yield given
        return
    settings = {
        "model": recipe.model,
        **recipe.config.model_dump(mode="json", by_alias=True),
        **recipe.training.model_dump(mode="json"),
        "seed": request.seed,
    }
    over = [(epoch["phase"], epoch["epoch"]) for epoch in Run(directory).history] if resume else []
    with tracker(request.track, directory, settings, recipe.training.metric, over) as tracking:
        yield Reporters(tracking, given)


def _record(job: _Job, fit: FitResult, chosen: Chosen, results: dict[str, Any], seconds: float) -> RunRecord:
    """Contents of ``metrics.json``."""
    return RunRecord(
        status="interrupted" if fit.interrupted else "finished",
        best_epoch=fit.best_epoch,
        best_validation=fit.best_value,
        epochs=len(fit.history),
        training_seconds=round(sum(record.seconds for record in fit.history), 1),
        seconds=round(seconds, 1),
        ended=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        device=job.device.type,
        processor=processor(job.device),
        threads=torch.get_num_threads(),
        processes=job.processes.size,
        weights=weights_checksum(job.directory / TENSORS),
        near_items=chosen.near_items,
        calibration=chosen.calibration,
        results=results,
    )
