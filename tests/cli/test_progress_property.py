"""Long commands: ``--quiet`` leaves only warnings on the error stream, and redirected output has no control codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli.conftest import SMALL, Cli
from tests.helpers import mostly_slow

import mclrec
from mclrec.cli.app import app

import_module("mclrec.cli.commands")  # registers them
GROUP: Any = typer.main.get_command(app)
QUICK = {"models", "datasets", "serve"}
"""Commands that end at once, and `serve`, which writes its own log."""

TINY = [*SMALL[:-1], "epochs=1"]
LONG: dict[str, Callable[[Path], list[object]]] = {
    "inspect": lambda world: ["log.csv"],
    "train": lambda world: ["log.csv", "--model", "sasrec", *TINY, "--out", "t"],
    "update": lambda world: ["markov", "log.csv", "--out", "u"],
    "tune": lambda world: ["log.csv", "--model", "sasrec", *TINY, "--trials", 1, "--storage", "s.journal"],
    "evaluate": lambda world: ["markov"],
    "compare": lambda world: ["markov", "sasrec"],
    "report": lambda world: ["markov", "--out", "r.html"],
    "judge": lambda world: ["markov", "sasrec"],
    "backtest": lambda world: ["log.csv", "--models", "popularity", "--cuts", 1, "--out", "b"],
    "recommend": lambda world: ["markov", "--users", "all", "--out", "recs.csv"],
    "export": lambda world: ["sasrec", "--format", "vectors", "--users", "log.csv"],
    "reproduce": lambda world: [
        "table3", "--datasets", "log.csv", "--models", "popularity", "--workers", 1, "--out", "p",
    ],
    "prepare": lambda world: ["log.csv", "--out", "prepared", "--export-split", "split"],
}  # fmt: skip
"""Arguments of each long command, on small data."""

SEVERAL = {"tune", "reproduce"}
"""Commands that start processes, which takes seconds."""

ELSEWHERE = {"convert", "demo"}
"""Commands that need more than a log; their own tests check their output."""


def test_every_command_that_takes_long_can_be_quiet() -> None:
    assert set(LONG) | ELSEWHERE == set(GROUP.commands) - QUICK
    for name in set(GROUP.commands) - QUICK:
        [option] = [one for one in GROUP.commands[name].params if "--quiet" in one.opts]
        assert "-q" in option.opts, name


@pytest.mark.parametrize("name", mostly_slow(LONG, LONG.keys() - SEVERAL))
def test_quiet_commands_say_warnings_alone(cli: Cli, world: Path, name: str) -> None:
    found = cli(name, *LONG[name](world), "--quiet")
    assert found.status in (0, 4), found.err  # 4: an update that is no better
    assert [line for line in found.err.splitlines() if not line.startswith("warning: ")] == []


@pytest.mark.parametrize("name", mostly_slow(LONG, LONG.keys() - SEVERAL))
def test_without_a_terminal_there_are_no_control_codes(
    cli: Cli, world: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI sets it
    found = cli(name, *LONG[name](world))
    assert found.status in (0, 4), found.err
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", found.err) == []
    assert len(found.err.splitlines()) < 60  # no flood


JSON = {"inspect", "train", "update", "evaluate", "compare", "judge", "backtest", "tune", "reproduce"}
"""Long commands whose result is a table."""


@pytest.mark.parametrize("name", mostly_slow(sorted(JSON), JSON - SEVERAL))
def test_json_is_lines_and_nothing_else(cli: Cli, world: Path, name: str) -> None:
    found = cli(name, *LONG[name](world), "--json")
    assert found.status in (0, 4), found.err
    assert found.out
    for line in found.out.splitlines():
        assert isinstance(json.loads(line), dict | list)


def test_the_json_of_a_training_has_what_its_table_has(cli: Cli, world: Path) -> None:
    told = json.loads(cli("train", *LONG["train"](world), "--json", "-q").out)
    record = mclrec.Run(world / "t").record
    assert (told["run"], told["model"], told["epochs"]) == ("t", "sasrec", 1)
    assert told["test"] == {label: part.metrics for label, part in record.test.items()}
    assert "--json" not in (mclrec.Run(world / "t").info.command or "")


@pytest.mark.slow
def test_bars_of_one_look_on_a_terminal(world: Path) -> None:
    def drawn(*words: str) -> str:
        """What a command draws when its error stream is a terminal."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "mclrec", *words]
        environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
            os.close(theirs)
            told = b""
            try:
                while part := os.read(ours, 65_536):
                    told += part
            except OSError:  # the other side is closed
                pass
        os.close(ours)
        assert process.returncode == 0, told
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.decode())

    words = ["train", "log.csv", "--model", "sasrec", *TINY, "--out", "t"]
    shown = drawn(*words)
    assert "reading log.csv" in shown
    assert re.search(r"train epoch 1 +━+ +\d+/\d+ +\d+:\d\d", shown)
    assert re.search(r"test targets +━+ +\d+/\d+", shown)
    assert "━" not in drawn("evaluate", "markov", "--quiet")
