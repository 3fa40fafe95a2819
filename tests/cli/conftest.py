"""Fixtures: the command line in this process, a log with difficult ids, and two runs on it."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.helpers import edit_sealed, tiny_data

from mclrec.cli import main
from mclrec.errors import MclrecWarning

ODD = {3: "ä, é [bold] :smile:", 7: "日本"}
"""Ids with characters that CSV parsing, markup or an encoding could break."""

SMALL = ["--set", "hidden_size=8", "--set", "inner_size=8", "--set", "epochs=2"]


class Outcome(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def write_log(path: Path, *, items: int = 15, seed: int = 0) -> Path:
    """Write `tiny_data` as a CSV log."""
    data = tiny_data(items=items, seed=seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "time"])
        for user in range(data.num_users):
            for place, item in enumerate(data.sequence(user).tolist()):
                rows.writerow([f"u{user}", ODD.get(item, f"i{item}"), place])
    return path


def run_main(*words: object) -> int:
    """Run a command and return its exit status. Warnings are shown, as they are outside pytest."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", MclrecWarning)
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*words: object) -> Outcome:
        status = run_main(*words)
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``log.csv`` and the runs ``sasrec`` and ``markov``; tests must not change it."""
    folder = tmp_path_factory.mktemp("built")
    log = write_log(folder / "log.csv")
    assert run_main("train", log, "--model", "sasrec", *SMALL, "--out", folder / "sasrec", "-q") == 0
    assert run_main("train", log, "--model", "markov", "--out", folder / "markov", "-q") == 0
    return folder


def _moved(old: str, new: str, info: dict[str, Any]) -> None:
    info |= json.loads(json.dumps(info).replace(old, new))


@pytest.fixture
def world(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `built` as the current folder; its runs refer to the copied log."""
    copy = tmp_path / "world"
    shutil.copytree(built, copy)
    for name in ("sasrec", "markov"):
        edit_sealed(copy / name / "config.json", partial(_moved, str(built), str(copy)))
    monkeypatch.chdir(copy)
    return copy
