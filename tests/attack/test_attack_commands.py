"""Random command lines of real commands and options with hostile values end with an exit status and a line or two."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.attack.inputs import Attack
from tests.cli.conftest import run_main, write_log

pytestmark = pytest.mark.attack

COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate RUN": ("--seen", "--part", "--k", "--data", "--device", "--json"),
    "recommend RUN --history i1": ("--user", "--k", "--exclude", "--allow", "--engine", "--device", "--json"),
    "recommend RUN --users log.csv": (
        "--out",
        "--k",
        "--item-column",
        "--time-column",
        "--file-order",
        "--allow",
    ),
    "compare RUN RUN": ("--metric", "--seen", "--json"),
    "judge log.csv RUN --list-score time": (
        "--data",
        "--seen",
        "--part",
        "--metric",
        "--k",
        "--split",
        "--list-user",
        "--list-item",
        "--list-rank",
        "--list-score",
        "--list-in-order",
        "--report",
        "--json",
    ),
    "export RUN": ("--format", "--out", "--index", "--users"),
    "report RUN": ("--out",),
    "train log.csv --model popularity": (
        "--out",
        "--seed",
        "--set",
        "--recipe",
        "--split",
        "--min-count",
        "--track",
    ),
    "prepare log.csv": ("--out", "--engine", "--min-count", "--user-column", "--header", "--drop-repeats"),
    "prepare log.csv --export-split split": ("--export-split", "--export-format", "--split", "--valid-from"),
    "models": ("--json", "sasrec", "VALUE"),
    "datasets": ("--groups", "VALUE"),
    "tune log.csv --dry-run": ("--set", "--model", "--recipe", "--seed", "--trials", "--minutes"),
    "serve nowhere": ("--port", "--host", "--max-k", "--deadline", "--api-key-file", "--index"),
}
FLAGS = {"--json", "--list-in-order", "--file-order", "--header", "--drop-repeats", "--groups", "sasrec"}
VALUES = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "3",
        "99999999999999999999",
        "1e400",
        "nan",
        "true",
        "None",
        "log.csv",
        "run",
        ".",
    ),
    *(
        "x" * 5000,
        "/" + "d/" * 3000,
        "/dev/null",
        "/proc/1/x",
        "loop",
        "log.csv/x",
        "~",
        "*",
        "[red]x[/red]",
        "new",
    ),
    *(
        "\x1b[31mred",
        "\x1b]0;t\x07",
        "\u202eabc",
        "\udcff",
        "日本",
        "a=b",
        "beta=inf",
        "epochs=3",
        "width=1",
        "seed",
    ),
    *(
        "cpu",
        "cuda",
        "tpu",
        "keep",
        "drop",
        "test",
        "ndcg@10",
        "hr@0",
        "mrr@" + "9" * 5000,
        "onnx",
        "vectors",
        "r.csv",
    ),
    *("time", "polars", "sasrec", "--", "--help", "-h", "-", "=", "\n", "a\nb", "i1,i2", "'", '"'),
)


def _command(rng: np.random.Generator) -> list[str]:
    """Words of a command: required arguments, options with random values, and sometimes any value at any place."""
    names = list(COMMANDS)
    name = names[rng.integers(len(names))]
    words = ["run" if word == "RUN" else word for word in name.split()]
    for option in rng.choice(COMMANDS[name], rng.integers(0, 4)).tolist():
        value = VALUES[rng.integers(len(VALUES))]
        words += [value] if option == "VALUE" else [option] if option in FLAGS else [option, value]
    if rng.random() < 0.2:
        words.insert(int(rng.integers(1, len(words) + 1)), VALUES[rng.integers(len(VALUES))])
    return words


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log, a run trained on it, and a symbolic link to itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "cache"))
    write_log(Path("log.csv"))
    Path("loop").symlink_to("loop")
    assert run_main("train", "log.csv", "--model", "markov", "--out", "run", "-q") == 0
    return tmp_path


def check_end(words: list[str], status: int, err: str, folder: Path) -> None:
    crashes = sorted((folder / "cache" / "crashes").glob("*"))
    assert not crashes, f"{words}\n{crashes[0].read_text()}"
    assert status in (0, 1, 2, 130), words
    assert "Traceback" not in err
    assert ".part" not in err
    assert all(character.isprintable() or character == "\n" for character in err), words
    for line in filter(None, err.split("\n")):
        assert len(line) <= 350 + max(len(word) for word in words if len(word) < 5000 or "/" in word), words
    if status == 2:
        assert err.count("error: ") >= 1, words


def test_command_lines_in_this_process(
    attack: Attack, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for rng in attack.inputs():
        words = _command(rng)
        with warnings.catch_warnings():
            status = run_main(*words)
        check_end(words, status, capsys.readouterr().err, world)


def test_command_lines_in_processes(attack: Attack, world: Path) -> None:
    for rng in attack.inputs():
        words = _command(rng)
        child = subprocess.run(
            [sys.executable, "-m", "mclrec", *map(os.fsencode, words)],
            capture_output=True,
            timeout=120,
            check=False,
        )
        check_end(words, child.returncode, child.stderr.decode(), world)
