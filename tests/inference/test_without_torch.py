"""onnxruntime alone answers from an export, in an environment without torch: see ``make test-onnx``."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mclrec.inference.model import Model
from mclrec.inference.queries import DenseQuery
from mclrec.inference.runtime import load_runtime

pytestmark = pytest.mark.onnx

PLACE = os.environ.get("MCLREC_ONNX_EXPORT")


@pytest.fixture
def export() -> Path:
    if PLACE is None:
        pytest.skip("MCLREC_ONNX_EXPORT names no export: run `make test-onnx`")
    return Path(PLACE)


def test_this_environment_has_no_torch(export: Path) -> None:
    assert importlib.util.find_spec("torch") is None


def test_the_answers_are_those_of_torch(export: Path) -> None:
    runtime = load_runtime(export)
    assert runtime.card["engine"] == "onnx"
    rng = np.random.default_rng(3)
    asked = []
    for number in range(40):  # the queries of `tests.inference.onnx_export`, which needs torch
        history = rng.integers(1, runtime.engine.num_items + 1, number % 10)
        allowed = rng.integers(1, runtime.engine.num_items + 1, 12) if number % 4 == 3 else None
        excluded = rng.integers(1, runtime.engine.num_items + 1, number % 5)
        asked.append(DenseQuery(history, 1 + number % 7, number % 6, excluded, allowed, number % 3 == 0))
    wanted = json.loads((export / "expected.json").read_text(encoding="utf-8"))
    for found, row in zip(runtime.engine.answer(asked), wanted, strict=True):
        assert found.items.tolist() == row["items"]
        assert found.scores.tolist() == pytest.approx(row["scores"], abs=1e-5)
    assert "torch" not in sys.modules


def test_a_model_in_python(export: Path) -> None:
    model = Model.load(export)
    [one, other] = model.recommend_batch([["item 001", "item 002"], ["item 003"]], 4, exclude=["item 004"])
    assert model.info["engine"] == "onnx"
    assert len(one) == len(other) == 4
    assert "torch" not in sys.modules
