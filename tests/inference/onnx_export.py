"""A small run with an ONNX export and torch's answers: made with torch installed, read without it.

python -m tests.inference.onnx_export DIRECTORY
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.helpers import tiny_data

from mclrec.data.sequences import SequenceData
from mclrec.inference.exporter import OnnxReport, export_onnx
from mclrec.inference.queries import DenseQuery
from mclrec.inference.runtime import load_runtime
from mclrec.json_files import write_json
from mclrec.models import registry
from mclrec.models.storage import save_model

DATA = tiny_data(items=90)
SIZES = {"hidden_size": 8, "heads": 2, "inner_size": 16, "max_length": 6}
EXPECTED = "expected.json"


def save_run(directory: Path, name: str, settings: Mapping[str, Any] | None = None, seed: int = 5) -> Path:
    """Save a model with random weights, as training would save it."""
    model_class = registry.model_class(name)
    known = model_class.config_type.model_fields
    sizes = {key: value for key, value in SIZES.items() if key in known}
    config = model_class.config_type.of_layers(sizes, settings or {})
    torch.manual_seed(seed)
    model = model_class(config, DATA.num_items, DATA.num_users)
    model.on_fit_start(_training())
    for parameter in model.parameters():  # otherwise biases are zero, and scores hardly differ
        torch.nn.init.normal_(parameter, std=0.2)
    if model.repeats is not None and "co_occurrence" in (settings or {}):
        model.repeats.adopt({"returns": 0.3, "frequency": 0.7, "recency": 0.4})
    save_model(
        directory, name=name, model=model, items=DATA.item_ids, counts=DATA.popularity, users=DATA.user_ids
    )
    return directory


def _training() -> SequenceData:
    """Training data: `DATA` without the interactions of every seventh user."""
    lengths = np.where(np.arange(DATA.num_users) % 7, DATA.lengths, 0)
    items = DATA.items[np.repeat(lengths > 0, DATA.lengths)]
    return replace(DATA, items=items, offsets=np.concatenate([[0], np.cumsum(lengths)]), times=None)


def queries(num_items: int = DATA.num_items) -> list[DenseQuery]:
    """Queries with empty, short and overlong histories, all kinds of item lists, and users."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(40):
        history = rng.integers(1, num_items + 1, number % 10)
        allowed = rng.integers(1, num_items + 1, 12) if number % 4 == 3 else None
        excluded = rng.integers(1, num_items + 1, number % 5)
        made.append(DenseQuery(history, 1 + number % 7, number % 6, excluded, allowed, number % 3 == 0))
    return made


def write_expected(run: Path) -> None:
    """Write torch's answers to `queries`."""
    answers = load_runtime(run, engine="torch").engine.answer(queries())
    rows = [{"items": found.items.tolist(), "scores": found.scores.tolist()} for found in answers]
    write_json(run / "onnx" / EXPECTED, rows)


def make(directory: Path) -> OnnxReport:
    """Write a run with its export, index and expected answers."""
    report = export_onnx(save_run(directory, "sasrec"), index="faiss")
    write_expected(directory)
    return report


if __name__ == "__main__":
    make(Path(sys.argv[1]))
