"""Fixtures: a log file, and helpers that train on it quickly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import at_random_times, tiny_data, write_log

from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train
from mclrec.training.reporting import Reporter

SASREC: dict[str, Any] = {"hidden_size": 8, "inner_size": 16, "max_length": 8, "batch_size": 16, "epochs": 2}
SASREC |= {"learning_rate": 2e-3, "cycle": None}  # no cycle, so that a run can be extended
READING = Reading(min_count=1, columns=Columns(user="user", item="item", time="time"))

Start = Callable[..., Run]


def log_source(log: Path) -> SequenceData:
    """Load the log, keeping every row."""
    return load(log, **READING.options())


def start(
    log: Path, out: Path | None, model: str = "sasrec", reporter: Reporter | None = None, **request: Any
) -> Run:
    """Train on a log, keeping every row."""
    settings = {**(SASREC if model == "sasrec" else {}), **request.pop("settings", {})}
    return train(TrainRequest(log, model, reading=READING, settings=settings, out=out, **request), reporter)


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of `tiny_data`; tests must not change it."""
    return write_log(tmp_path_factory.mktemp("log") / "small.csv", at_random_times(tiny_data()))


@pytest.fixture(scope="session")
def trained(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """SASRec trained on the log with seed 1; tests must not change it."""
    return start(log, tmp_path_factory.mktemp("trained") / "run")
