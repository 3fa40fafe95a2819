"""A log as a file, and what it takes to train on it in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import at_random_times, tiny_data, write_log

from mclrec.runs.run import Run
from mclrec.runs.sources import DataSource
from mclrec.runs.train import TrainRequest, train

SASREC: dict[str, Any] = {"hidden_size": 8, "inner_size": 16, "max_length": 8, "batch_size": 16, "epochs": 2}
OPTIONS = {"min_count": 1, "columns": {"user": "user", "item": "item", "time": "time"}}

Start = Callable[..., Run]


def log_source(log: Path) -> DataSource:
    """The log with every row kept."""
    return DataSource(str(log), OPTIONS)


def start(log: Path, out: Path | None, model: str = "sasrec", **request: Any) -> Run:
    """Train on a log."""
    settings = {**(SASREC if model == "sasrec" else {}), **request.pop("settings", {})}
    return train(TrainRequest(log_source(log), model, settings=settings, out=out, **request))


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of `tiny_data`; not to be changed."""
    return write_log(tmp_path_factory.mktemp("log") / "small.csv", at_random_times(tiny_data()))


@pytest.fixture(scope="session")
def trained(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """SASRec on the log, seed 1; not to be changed."""
    return start(log, tmp_path_factory.mktemp("trained") / "run")
