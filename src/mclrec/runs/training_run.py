"""A training run: train a model with a recipe, measure it under both protocols, and write its directory."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mclrec.data.loading import load
from mclrec.data.measures import split_intake
from mclrec.data.sequences import SequenceData
from mclrec.data.split import EVERYTHING, Split, looks_at_times, make_split
from mclrec.data.split_rules import SplitRule
from mclrec.distributed.group import process_group
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import sharded
from mclrec.errors import ConfigError
from mclrec.evaluation.protocol import SEEN_OF, library_versions, load_ranks
from mclrec.evaluation.ranking import evaluate
from mclrec.files import write_text
from mclrec.json_files import write_json
from mclrec.locks import Lock
from mclrec.machine import processor
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.directory import METRICS, TENSORS, weights_checksum
from mclrec.models.storage import FORMAT, load_model, resolve_device, save_model
from mclrec.progress import advancing
from mclrec.recipes import Recipe
from mclrec.recipes.auto import DataSizes
from mclrec.runs.baselines import BASELINES, measure_baselines, system_name
from mclrec.runs.calibration import calibrate, weigh_near_items
from mclrec.runs.construction import build
from mclrec.runs.file_record import Calibration
from mclrec.runs.intake_file import INTAKE
from mclrec.runs.long_test import telling_if_long
from mclrec.runs.model_card import model_card
from mclrec.runs.plan import plan_lines
from mclrec.runs.precision_choice import with_precision
from mclrec.runs.recipe_choice import possible_recipes, recipe_for, recipe_of
from mclrec.runs.request import TrainRequest, run_name, train_command
from mclrec.runs.run import (
    DataInfo,
    MeasuredBy,
    RecipeInfo,
    Run,
    RunInfo,
    RunRecord,
    open_run,
    ranks_path,
)
from mclrec.runs.run_directory import RunDirectory, discard_stale
from mclrec.runs.saved_settings import came_later
from mclrec.runs.thread_choice import take_threads
from mclrec.runs.warm_start import check_earlier, warm_start
from mclrec.sealed_json import sealed
from mclrec.training.checkpoint import began_with
from mclrec.training.fit_result import FitResult
from mclrec.training.identity import SETTING
from mclrec.training.kept_threads import kept_threads
from mclrec.training.reporting import Reporter, Reporters, SilentReporter
from mclrec.training.schedule import cycle_epochs
from mclrec.training.trackers import check_tracker, tracker
from mclrec.training.trainer import Trainer

__all__ = ["check_request", "resolve_device", "train"]

_FREE = {"epochs", "patience", "checkpoint_minutes", "graphs"}
"""Training settings that may change when a run is resumed, as may the device (which `graphs` depends on)."""


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


def _train(
    request: TrainRequest,
    place: RunDirectory,
    device: torch.device,
    processes: Processes,
    reporter: Reporter | None,
) -> Run:
    """Do the part of one training process."""
    processes.broadcast_text(place.claim_given)
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
    recipe, lines = with_precision(recipe, device, begun, processes)
    timed = processes.size == 1 and not resume and request.measured
    threads = take_threads(split, recipe, device, measure=timed)
    with sharded(processes if request.shard_items else SINGLE_PROCESS):
        model = build(recipe, split.training, request.seed)
    if request.warm_start is not None:
        earlier = open_run(request.warm_start)
        check_earlier(earlier, data, request.split)
        warm_start(model, data.item_ids, data.user_ids, load_model(earlier.directory))
    started = time.perf_counter()
    info = _info(request, model, recipe, split)
    with _tracked(request, recipe, directory, reporter, resume=resume) as told:
        if reporter is not None:
            plan = plan_lines(recipe, split, sizes, device, timed=timed)
            told.planned([*plan, *lines, *([threads] if timed else [])])
        trainer = Trainer(
            model,
            split,
            recipe.training,
            seed=request.seed,
            directory=directory,
            device=device,
            identity=_identity(info),
            came_later=came_later(info.model),
            reporter=told,
            processes=processes,
        )
        fit = trainer.fit(resume=resume)
        chosen = _Chosen()
        if request.measured and not fit.interrupted:
            chosen = _choose(request, model, split, recipe, device, processes)
    save_model(
        directory,
        name=recipe.model,
        model=model,
        items=data.item_ids,
        counts=split.training.popularity,
        users=data.user_ids,
        extra=info.extra(),
        processes=processes,
    )
    if processes.main:
        discard_stale(directory)
    results: dict[str, Any] = {}
    if request.measured and len(split.test) and not fit.interrupted:
        results = measure(model, split, recipe, directory, request.seed, device, processes)
    if processes.main:
        seconds = fit.seconds_before + time.perf_counter() - started
        weights = weights_checksum(directory / TENSORS)
        record = _record(fit, results, seconds, device, processes.size, weights, chosen)
        baselines = None
        if results:
            ranks = {label: load_ranks(ranks_path(directory, "test", label)) for label in SEEN_OF}
            baselines = measure_baselines(split, system_name(info.model, info.config), ranks, request.seed)
            write_json(directory / BASELINES, baselines.to_json())
        write_json(directory / METRICS, sealed(record.model_dump(mode="json")))
        write_json(directory / INTAKE, intake.to_json())
        write_text(
            directory / "README.md", model_card(info, record, recipe, intake, baselines, request.found)
        )
    processes.barrier()
    return Run(directory)


class _Chosen(NamedTuple):
    """What validation chose for a trained model; see `RunRecord`."""

    near_items: Calibration | None = None
    calibration: Calibration | None = None


def _choose(
    request: TrainRequest,
    model: Recommender,
    split: Split,
    recipe: Recipe,
    device: torch.device,
    processes: Processes,
) -> _Chosen:
    """Calibrate a model on validation; a final model has no validation and takes the values of its measured run."""
    if not recipe.training.calibrate_scores:
        return _Chosen()
    if request.split != EVERYTHING:
        return _Chosen(
            weigh_near_items(model, split, recipe.training, request.seed, device, processes),
            calibrate(model, split, recipe.training.metric, request.seed, device, processes),
        )
    if request.like is None:
        return _Chosen()
    record = request.like.record
    found = _Chosen(record.near_items, record.calibration)
    for part, chosen in zip((model.co_occurrence, model.repeats), found, strict=True):
        if part is not None and chosen is not None:
            part.adopt(chosen.chosen)
    return found


def measure(
    model: Recommender,
    split: Split,
    recipe: Recipe,
    directory: Path,
    seed: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Measure test metrics under both protocols, and write the exact ranks beside the model."""
    results = {}
    total = len(SEEN_OF) * len(split.test)
    with advancing("test targets", total) as advance:
        ranked = telling_if_long(total // processes.size, advance) if processes.main else advance
        for label, seen in SEEN_OF.items():
            result = evaluate(
                model,
                split,
                name=recipe.model,
                seen=seen,
                seed=seed,
                device=device,
                progress=ranked,
                processes=processes,
            )
            if processes.main:
                result.save_ranks(ranks_path(directory, "test", label), weights_checksum(directory / TENSORS))
            results[label] = result.to_json()
    return {"test": results}


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


def _info(request: TrainRequest, model: Recommender, recipe: Recipe, split: Split) -> RunInfo:
    """Contents of ``config.json``."""
    data = split.data
    return RunInfo(
        format=FORMAT,
        model=recipe.model,
        config=recipe.config.model_dump(mode="json", by_alias=True),
        num_items=model.num_items,
        num_users=model.num_users if model.needs_users else 0,
        recipe=RecipeInfo(section=recipe.section, source=recipe.source),
        training=recipe.training.model_dump(mode="json"),
        seed=request.seed,
        split=request.split,
        warm_start=_earlier(request),
        data=DataInfo(name=data.name, **data.provenance.model_dump()),
        command=request.command or _command(request, data),
        versions=library_versions(),
        measured_by=_measured_by(request),
    )


def _measured_by(request: TrainRequest) -> MeasuredBy | None:
    """The measured run behind a final model; None for other runs."""
    if request.like is None or request.split != EVERYTHING:
        return None
    run, record = request.like, request.like.record
    return MeasuredBy(
        run=str(run.directory),
        weights=record.weights,
        split=run.info.split,
        best_epoch=record.best_epoch,
        metric=str(run.info.training["metric"]),
        best_validation=record.best_validation,
        test=run.metrics,
    )


def _identity(info: RunInfo) -> dict[str, Any]:
    """What a resumed run must share with its checkpoint, as a flat mapping so that a difference can be named."""
    training = {key: value for key, value in info.training.items() if key not in _FREE}
    training["cycle"] = cycle_epochs(training.get("cycle"), info.training["epochs"])
    config = registry.model_class(info.model).config_type.of_stored(info.config)
    return {
        "model": info.model,
        **{f"{SETTING}{key}": value for key, value in (config.identity() | training).items()},
        "seed": info.seed,
        "split": info.split,
        "warm_start": info.warm_start,
        "data": info.data.fingerprint,
        **({"times": info.data.times} if looks_at_times(info.split) else {}),
        **({} if info.measured_by is None else {"measuring run": info.measured_by.weights}),
    }


def _record(
    fit: FitResult,
    results: dict[str, Any],
    seconds: float,
    device: torch.device,
    processes: int,
    weights: str,
    chosen: _Chosen,
) -> RunRecord:
    """Contents of ``metrics.json``."""
    return RunRecord(
        status="interrupted" if fit.interrupted else "finished",
        best_epoch=fit.best_epoch,
        best_validation=fit.best_value,
        epochs=len(fit.history),
        training_seconds=round(sum(record.seconds for record in fit.history), 1),
        seconds=round(seconds, 1),
        ended=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        device=device.type,
        processor=processor(device),
        threads=torch.get_num_threads(),
        processes=processes,
        weights=weights,
        near_items=chosen.near_items,
        calibration=chosen.calibration,
        results=results,
    )


def _earlier(request: TrainRequest) -> str | None:
    return None if request.warm_start is None else str(open_run(request.warm_start).directory)


def _command(request: TrainRequest, data: SequenceData) -> str:
    """Command line that repeats a run that was started from Python."""
    if request.like is not None and request.split == EVERYTHING:
        return shlex.join(
            ["mclrec", "train", *data.provenance.words(), "--final", str(request.like.directory)]
        )
    return train_command(
        data.provenance,
        request.model,
        request.seed,
        recipe=request.recipe,
        settings=request.settings,
        split=request.split,
        warm_start=_earlier(request),
    )
