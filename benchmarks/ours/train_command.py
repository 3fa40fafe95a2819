"""Where the time of `mclrec train LOG` goes: the command itself, with a clock around its stages.

Request: ``path``, ``model``, ``settings`` (as ``--set`` takes them), ``batches``, ``targets``, ``seed``.
An epoch ends after ``batches`` batches, and validation and test have at most ``targets`` targets; the document states
how many there would have been.
"""

from __future__ import annotations

import io
import pkgutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.child import Document, Request, answer, versions
from benchmarks.processes import BenchmarkError
from mclrec.cli import main
from mclrec.data.split import Split, Targets, make_split
from mclrec.runs.calibration import CALIBRATION_TARGETS
from mclrec.training.config import TrainingConfig
from mclrec.training.loader import EpochBatches
from mclrec.training.validation import drawn

__all__ = ["STAGES", "measure"]

STAGES = {
    "finding the split's rule": ("mclrec.data.split_choice.chosen_split",),
    "reading": ("mclrec.runs.training_run.load",),
    "preparing": ("mclrec.data.loading.prepare_log",),
    "splitting": ("mclrec.runs.training_run.make_split",),
    "counting what was taken": ("mclrec.runs.training_run.split_intake",),
    "choosing threads, estimating": (
        "mclrec.runs.training_run.take_threads",
        "mclrec.runs.training_run.plan_lines",
    ),
    "building the model": ("mclrec.runs.training_run.build",),
    "steps": ("mclrec.runs.training_run.Trainer.fit",),
    "validation": ("mclrec.training.validation.rank_targets",),
    "calibration": ("mclrec.runs.measurement.weigh_near_items", "mclrec.runs.measurement.calibrate"),
    "test": ("mclrec.runs.training_run.measure",),
    "baselines": ("mclrec.runs.training_run.measure_baselines",),
    "saving": (
        "mclrec.runs.training_run.save_model",
        "mclrec.training.trainer.Checkpoints.save",
        "mclrec.training.trainer.Checkpoints.save_best",
    ),
}
"""Functions of each stage; time in a nested stage counts only for that one. A name that no longer exists fails."""


class _Clock:
    """Seconds of nested stages, each without the stages inside it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys([*STAGES, "the rest"], 0.0)
        self._open = ["the rest"]
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        self._turn(lambda: self._open.append(name))
        try:
            yield
        finally:
            self._turn(self._open.pop)

    def stop(self) -> None:
        """Count the time until now."""
        self._turn(lambda: None)

    def _turn(self, change: Callable[[], object]) -> None:
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now
        change()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its calls count for a stage."""

        def timed(*given: Any, **named: Any) -> Any:
            with self.stage(name):
                return function(*given, **named)

        return timed


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    clock, whole = _Clock(), {"batches": 0, "validation": 0, "calibration": 0, "test": 0}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(_cut(request, whole))
        for name, places in STAGES.items():
            for place in places:
                stack.enter_context(_timed(clock, name, place))
        words = [
            "train",
            request["path"],
            "--model",
            request["model"],
            "--seed",
            str(request["seed"]),
            "--quiet",
        ]
        words += [word for setting in (*request["settings"], "epochs=1") for word in ("--set", setting)]
        with redirect_stdout(io.StringIO()) as said:
            status = _status([*words, "--out", f"{folder}/run"])
        clock.stop()
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if status:
        raise BenchmarkError(f"mclrec train ended with status {status}: {said.getvalue()[-1000:]}")
    return {
        "seconds": {name: round(seconds, 6) for name, seconds in clock.seconds.items()},
        "whole": whole,
        "cut": {
            "batches": min(request["batches"], whole["batches"]),
            **{part: min(request["targets"], whole[part]) for part in ("validation", "calibration", "test")},
        },
        "run_bytes": size,
        "versions": versions(["mclrec", "torch", "numpy", "duckdb", "pyarrow"]),
    }


def _status(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@contextmanager
def _timed(clock: _Clock, name: str, place: str) -> Iterator[None]:
    module, _, attribute = place.rpartition(".")
    with patch(place, clock.around(name, getattr(pkgutil.resolve_name(module), attribute))):
        yield


@contextmanager
def _cut(request: Request, whole: dict[str, int]) -> Iterator[None]:
    """End epochs early and sample the targets; ``whole`` receives the numbers without these limits."""

    class Fewer(EpochBatches):
        def __len__(self) -> int:
            whole["batches"] = super().__len__()
            return min(int(request["batches"]), whole["batches"])

    def split(*given: Any) -> Split:
        made = make_split(*given)
        there = len(made.validation)
        whole["validation"] = min(there, TrainingConfig().validation_targets or there)
        whole["calibration"] = min(there, CALIBRATION_TARGETS)
        whole["test"] = len(made.test)
        return replace(made, validation=some(made.validation), test=some(made.test))

    def some(targets: Targets) -> Targets:
        return drawn(targets, request["targets"], np.random.default_rng(request["seed"]))

    with (
        patch("mclrec.training.trainer.EpochBatches", Fewer),
        patch("mclrec.runs.training_run.make_split", split),
    ):
        yield


if __name__ == "__main__":
    answer(measure)
