"""The worked example in CONTRIBUTING.md runs as printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.helpers import tiny_data

import mclrec
from mclrec.models import registry

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


def test_a_model_of_your_own_is_a_short_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, recipe = block("python"), block("toml")
    assert len(code.splitlines()) + len(recipe.splitlines()) < 50
    (tmp_path / "average.py").write_text(code, encoding="utf-8")
    (tmp_path / "average.toml").write_text(recipe, encoding="utf-8")
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.syspath_prepend(tmp_path)
    __import__("average")
    data = tiny_data(users=60)
    run = mclrec.train(
        data, model="average", recipe=tmp_path / "average.toml", out=tmp_path / "run", progress=False
    )
    assert run.history[-1]["losses"]["rec"] < run.history[0]["losses"]["rec"]
    best = mclrec.Model.load(tmp_path / "run").recommend(["item 003", "item 004"], k=3)
    assert len(list(best)) == 3
    del sys.modules["average"]
