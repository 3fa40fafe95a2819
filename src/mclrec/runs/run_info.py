"""Contents of a run's ``config.json``, and what a resumed run must share with its checkpoint."""

from __future__ import annotations

import shlex
from typing import Any

from mclrec.data.sequences import SequenceData
from mclrec.data.split import EVERYTHING, Split, looks_at_times
from mclrec.evaluation.protocol import library_versions
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.storage import FORMAT
from mclrec.recipes import Recipe
from mclrec.runs.request import TrainRequest, train_command
from mclrec.runs.run import DataInfo, MeasuredBy, RecipeInfo, RunInfo, open_run
from mclrec.training.identity import SETTING
from mclrec.training.schedule import cycle_epochs

__all__ = ["checkpoint_identity", "run_info"]

_FREE = {"epochs", "patience", "checkpoint_minutes", "graphs"}
"""Training settings that may change when a run is resumed, as may the device (which `graphs` depends on)."""


def run_info(request: TrainRequest, model: Recommender, recipe: Recipe, split: Split) -> RunInfo:
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


def checkpoint_identity(info: RunInfo) -> dict[str, Any]:
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
