"""Fixtures: a log, and a quick search on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.data.datasets import known_as
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.search.search_folder import folder_of
from mclrec.search.study import Plan
from mclrec.search.worker import Job

pytest.importorskip("optuna")

SETTINGS: dict[str, Any] = {"hidden_size": 8, "inner_size": 16, "max_length": 8, "epochs": 3}
RECIPE = """
[search]
dropout = { low = 0.1, high = 0.6, step = 0.1 }
learning_rate = { low = 1e-4, high = 1e-1, log = true }
batch_size = [16, 64, 256]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> SequenceData:
    return load(write_log(tmp_path / "tiny.csv", tiny_data(shortest=5)), min_count=1)


def job_for(
    storage: Path, data: SequenceData, recipe: Path | str, trials: int, model: str = "sasrec", **settings: Any
) -> Job:
    """A job as `mclrec.search.tuning.tune` passes it to its workers."""
    prepared = folder_of(storage) / "data"
    data.save(prepared)
    fixed = {**(SETTINGS if model == "sasrec" else {}), **settings}
    plan = Plan(model, recipe, fixed, 1, "leave-one-out", data.name, known_as(data), data.fingerprint)
    return Job(storage, plan, prepared, data.provenance, trials)
