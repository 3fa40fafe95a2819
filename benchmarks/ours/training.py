"""Train for some batches with the real trainer, and report the time of each.

Request: ``data`` and ``newest`` (see `benchmarks.ours.sources`), ``model``, ``recipe``, ``settings``, ``seed``,
``device``, ``batches`` (timed) after ``warmup``, ``compile`` (compile parts of the encoder),
``validate`` (also rank the validation targets), ``shard`` (shard the item table over the processes, if there are
several), ``save`` (also write the weights).
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.ours.sources import open_split
from mclrec.data.datasets import known_as
from mclrec.data.examples import Examples
from mclrec.data.split import Split
from mclrec.distributed.group import process_group
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import sharded
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.models.tensors import save_tensors
from mclrec.nn.transformer import TransformerEncoder
from mclrec.recipes import Recipe, resolve
from mclrec.runs.construction import build
from mclrec.training.reporting import EpochStart, SilentReporter
from mclrec.training.trainer import Trainer

__all__ = ["StopWatch", "fit_some", "measure", "timings"]


class _Enough(Exception):
    """Ends training once the requested batches are done."""


class StopWatch(SilentReporter):
    """Measures the time between two batches, including the wait for the next one; ends training after the last."""

    def __init__(self, batches: int) -> None:
        self.seconds: list[float] = []
        self.first_losses: dict[str, float] = {}
        self.batches_per_epoch = 0
        self.epoch_began: float | None = None
        self.made = time.perf_counter()
        self._batches, self._last = batches, 0.0

    def epoch_started(self, start: EpochStart) -> None:
        """Start the watch; implements `Reporter.epoch_started`."""
        self.batches_per_epoch = start.steps
        self._last = time.perf_counter()
        self.epoch_began = self.epoch_began or self._last

    def stepped(self, losses: dict[str, float]) -> None:
        """Record the time since the last batch; implements `Reporter.stepped`."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
        self.first_losses = self.first_losses or dict(losses)
        if len(self.seconds) == self._batches:
            raise _Enough


def fit_some(request: Request, processes: Processes = SINGLE_PROCESS) -> tuple[Recommender, StopWatch, Split]:
    """Train for the requested number of batches."""
    split = open_split(request["data"], newest=request.get("newest"))
    recipe = _recipe(request, split)
    with sharded(processes if request.get("shard") else SINGLE_PROCESS):
        model = build(recipe, split.training, request["seed"])
    if request.get("compile"):
        _compile(model)
    watch = StopWatch(request["warmup"] + request["batches"])
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model,
            split,
            recipe.training,
            seed=request["seed"],
            directory=Path(directory),
            device=torch.device(request.get("device", "cpu")),
            identity={},
            reporter=watch,
            processes=processes,
        )
        with suppress(_Enough):
            trainer.fit()
    return model, watch, split


def timings(request: Request, watch: StopWatch) -> Document:
    """Timings of the watch, without the warm-up."""
    return {
        "setup_seconds": (watch.epoch_began or watch.made) - watch.made,
        "warmup": request["warmup"],
        "batch_seconds": [round(seconds, 6) for seconds in watch.seconds[request["warmup"] :]],
        "batches_per_epoch": watch.batches_per_epoch,
    }


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    with process_group(torch.device(request.get("device", "cpu"))) as processes:
        return _measure(request, processes)


def _measure(request: Request, processes: Processes) -> Document:
    model, watch, split = fit_some(request, processes)
    recipe = _recipe(request, split)
    saving = _save(model, processes) if request.get("save") else {}
    if request.get("validate"):
        rank_targets(model, split.validation, seen=recipe.training.seen, processes=processes)
    [phase] = model.phases()
    return {
        "work": _work(model, recipe, phase.examples(split.training)),
        "settings": {
            "model": recipe.model,
            "recipe": recipe.section,
            **recipe.config.model_dump(mode="json", by_alias=True),
            **recipe.training.model_dump(mode="json"),
        },
        "updates": len(phase.updates),
        "dtype": recipe.training.precision,
        "threads": torch.get_num_threads(),
        "versions": versions(["mclrec", "torch", "numpy"]),
        "classes": split.training.num_items + 1,  # including the padding id
        "first_loss": next(value for name, value in watch.first_losses.items() if name.endswith("rec")),
        "device_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "parameter_bytes": sum(parameter.nbytes for parameter in model.parameters()),
        **timings(request, watch),
        **saving,
    }


def _compile(model: Recommender) -> None:
    """Compile the feed-forward part of each transformer block."""
    block: Any
    for module in model.modules():
        if isinstance(module, TransformerEncoder):
            for block in module.blocks:
                block._finish = torch.compile(block._finish, dynamic=True)


def _save(model: Recommender, processes: Processes) -> Document:
    """Measure how long it takes to write the weights."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "weights.safetensors"
        save_tensors(path, model.state_dict(), layout=model.layout(processes))
        return {"save_seconds": round(time.perf_counter() - started, 3)}


def _recipe(request: Request, split: Split) -> Recipe:
    settings = {**request["settings"], "checkpoint_minutes": 60}
    return resolve(request["model"], known_as(split.data), request.get("recipe"), settings)


def _work(model: Recommender, recipe: Recipe, examples: Examples) -> dict[str, Any]:
    """The work of an epoch, read from the objects that do it."""
    config = recipe.config.model_dump()
    same = (
        "max_length",
        "hidden_size",
        "layers",
        "heads",
        "inner_size",
        "dropout",
        "attention_dropout",
        "loss",
    )
    rows = np.arange(len(examples))
    return {
        "examples": len(examples),
        "targets": examples.num_targets,
        "distinct_targets": len(np.unique(examples.targets(rows))),
        "tokens": int(examples.at(rows).lengths.sum()),
        "items": model.num_items,
        "batch": recipe.training.batch_size,
        **{key: config[key] for key in same},
    }


if __name__ == "__main__":
    answer(measure)
