"""Data from every kind of source: training, re-evaluation from the run alone, reports and comparisons."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from tests.cli.conftest import run_main
from tests.helpers import at_random_times, tiny_data, write_log

import mclrec
from mclrec.errors import ConfigError, DataError, MclrecError, ModelFileError
from mclrec.recipes import resolve

TINY = at_random_times(tiny_data(shortest=6))
SMALL: dict[str, Any] = {"hidden_size": 8, "inner_size": 16, "epochs": 1, "max_length": 8, "progress": False}


def file(folder: Path) -> Any:
    return write_log(folder / "log.csv", TINY)


def relative_file(folder: Path) -> Any:
    write_log(folder / "log.csv", TINY)
    return "log.csv"


def own_beauty(folder: Path) -> Any:
    return write_log(folder / "beauty.csv", TINY)


def read_file(folder: Path) -> Any:
    return mclrec.load(write_log(folder / "log.csv", TINY), min_count=1, columns=mclrec.Columns(user="user"))


def prepared(folder: Path) -> Any:
    mclrec.prepare(write_log(folder / "log.csv", TINY), min_count=1, directory=folder / "prepared")
    return str(folder / "prepared")


def frame(folder: Path) -> Any:
    return pd.read_csv(write_log(folder / "log.csv", TINY))


def lazy_frame(folder: Path) -> Any:
    return pl.scan_csv(write_log(folder / "log.csv", TINY))


SOURCES: list[Callable[[Path], Any]] = [
    file,
    relative_file,
    own_beauty,
    read_file,
    prepared,
    frame,
    lazy_frame,
]
COMMANDS = {
    "file": "{folder}/log.csv",
    "relative_file": "log.csv",
    "own_beauty": "{folder}/beauty.csv",
    "read_file": "{folder}/log.csv --min-count 1 --user-column user",
    "prepared": "{folder}/prepared",
    "frame": "DATA",
    "lazy_frame": "DATA",
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_trained_evaluated_reported_and_compared(
    source: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = source(tmp_path)
    run = mclrec.train(data, "sasrec", out=tmp_path / "run", **SMALL)
    baseline = mclrec.train(data, "markov", out=tmp_path / "baseline", progress=False)
    place = COMMANDS[source.__name__].format(folder=tmp_path)
    assert run.info.command.startswith(f"mclrec train {place} --model sasrec")
    assert run.info.command in (run.directory / "README.md").read_text(encoding="utf-8")
    assert run.info.recipe.section == "auto"

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    in_memory = "frame" in source.__name__
    if in_memory:
        with pytest.raises(DataError, match=r"^data: came from memory \(\w+ frame, fingerprint") as caught:
            mclrec.evaluate(run)
        assert "\n" not in str(caught.value)
    given = {"data": data} if in_memory else {}
    for which in (run, run.directory, str(run.directory)):
        assert mclrec.evaluate(which, **given).metrics == run.metrics["U"]
    assert [row.label for row in mclrec.compare([baseline, run])] == ["markov", "sasrec"]
    page = mclrec.write_report(baseline, run).read_text(encoding="utf-8")
    assert run.info.command in page.replace("&#39;", "'")
    assert ("came from memory" in page) == in_memory

    if not in_memory:  # the command on the card trains the same model
        monkeypatch.chdir(tmp_path)
        assert run_main(*shlex.split(run.info.command)[1:], "--out", tmp_path / "again", "-q") == 0
        assert mclrec.Run(tmp_path / "again").metrics == run.metrics


def test_a_file_called_like_a_data_set_gets_neither_its_recipe_nor_its_interval(tmp_path: Path) -> None:
    run = mclrec.train(own_beauty(tmp_path), "mclrec", out=tmp_path / "run", beta=0.5, **SMALL)
    assert (run.info.data.name, run.info.data.kind) == ("beauty", "file")
    assert resolve("mclrec", "beauty").section == "beauty"
    assert run.info.recipe.section == "auto"
    run = mclrec.train(own_beauty(tmp_path), "popularity", out=tmp_path / "other", progress=False)
    assert "To expect" not in (run.directory / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_tune_and_reproduce_take_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = frame(tmp_path)
    pytest.importorskip("optuna")
    found = mclrec.tune(data, "sasrec", trials=1, hidden_size=8, inner_size=16, epochs=1)
    assert found.progress.complete
    assert found.command is not None
    place = shlex.split(found.command)[2]
    assert mclrec.load(place).fingerprint == mclrec.load(data).fingerprint
    made = mclrec.reproduce("table3", datasets=[data], models=["markov"], out="out", workers=1)
    assert made.progress.complete


@pytest.mark.parametrize(
    "program",
    [
        "import mclrec; print(type(mclrec.models()).__name__)",
        "import mclrec.models.mclrec; import mclrec; print(type(mclrec.models()).__name__)",
        "import mclrec; mclrec.models(); import mclrec.models.registry; print(type(mclrec.models()).__name__)",
        "from mclrec import models; import mclrec.models.registry; print(type(models()).__name__)",
        "from mclrec.models import registry; from mclrec import models; print(type(models()).__name__)",
    ],
)
def test_the_package_of_models_is_also_their_list(program: str) -> None:
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("Records\n", "")


def test_lists_are_tables_of_frozen_records() -> None:
    models, datasets = mclrec.models(), mclrec.datasets()
    assert [model.name for model in models][:2] == ["mclrec", "bpr"]
    assert models[0].title == "MCLRec"
    assert len(models[:3]) == 3
    assert str(datasets).splitlines()[0].split() == ["name", "users", "items", "interactions", "about"]
    assert "22,363" in str(datasets)
    assert "<td>2023</td>" in models._repr_html_()
    with pytest.raises(AttributeError):
        models[0].name = "mine"  # type: ignore[misc]
    with pytest.raises(TypeError):
        models[0] = models[1]  # type: ignore[index]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: mclrec.train(3), DataError, "cannot read a int: give the name of a data set, a path, or a"),
        (lambda: mclrec.train("x" * 300), DataError, "neither the name of a data set nor a path"),
        (lambda: mclrec.tune(None), DataError, "cannot read a NoneType"),
        (lambda: mclrec.evaluate(3), ConfigError, "expected a run or the directory of one, not a int"),
        (lambda: mclrec.evaluate("x" * 5000), ModelFileError, "no such run directory"),
        (lambda: mclrec.evaluate(""), ConfigError, "not empty text"),
        (lambda: mclrec.compare("runs/a"), ConfigError, "compare takes a list of runs"),
        (lambda: mclrec.compare([]), ConfigError, "at least one run"),
        (lambda: mclrec.compare([None]), ConfigError, "not a NoneType"),
        (lambda: mclrec.write_report(3), ConfigError, "not a int"),  # type: ignore[arg-type]
        (lambda: mclrec.train(TINY, warm_start=3), ConfigError, "not a int"),  # type: ignore[arg-type]
        (lambda: mclrec.export("gone"), ModelFileError, "gone: no such run directory"),
        (lambda: mclrec.serve("gone"), ModelFileError, "gone: no such run directory"),
    ],
)
def test_anything_else_is_one_clear_error(
    call: Callable[[], object],
    kind: type[MclrecError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_words_get_the_nearest(tmp_path: Path) -> None:
    run = mclrec.train(TINY, "markov", out=tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match="unknown part 'tset'; did you mean 'test'"):
        mclrec.evaluate(run, part="tset", data=TINY)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown rule for seen items 'dorp'; did you mean 'drop'"):
        mclrec.evaluate(run, seen="dorp", data=TINY)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown rule for seen items 'F'"):
        mclrec.compare([run], seen="F")
