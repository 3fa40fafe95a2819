"""Signals at random moments: a resumed command gives the result of an uninterrupted one; of two writers, one wins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.attack.inputs import Attack
from tests.helpers import at_random_times, tiny_data, write_log

from mclrec.locks import LOCK_FILE
from mclrec.models.tensors import load_tensors
from mclrec.runs.run import Run

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc"),
]

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
SETTINGS = {
    "hidden_size": 8,
    "inner_size": 16,
    "max_length": 8,
    "batch_size": 4,
    "epochs": 8,
    "patience": 99,
    "checkpoint_minutes": 0,
    "precision": "fp32",  # `auto` may choose either on a processor that is about as fast in both
}
SECONDS = 120
USERS = 20_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "small.csv", at_random_times(tiny_data()))


@pytest.fixture(scope="module")
def whole(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is not interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ended(begun(training(log, out))) == 0
    return Run(out)


def training(log: Path, out: Path, *more: str) -> list[str]:
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return [
        "train",
        str(log),
        "--model",
        "sasrec",
        "--min-count",
        "1",
        "--out",
        str(out),
        "-q",
        *settings,
        *more,
    ]


def begun(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start `mclrec` in its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "mclrec", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a process, interrupted or not, check that it printed no traceback, and return its exit status."""
    _, told = process.communicate(timeout=SECONDS)
    assert "Traceback" not in told, told
    assert process.returncode in (0, 2, 130) or process.returncode < 0, (process.returncode, told)
    process.told = told  # type: ignore[attr-defined]
    return process.returncode


def interrupt(words: Sequence[str], rng: np.random.Generator, seconds: float) -> int:
    """Run a command, send it a signal after a random time, and return its exit status."""
    process = begun(words)
    try:
        process.wait(float(rng.uniform(0, seconds)))
    except subprocess.TimeoutExpired:
        process.send_signal(SIGNALS[rng.integers(len(SIGNALS))])
    return ended(process)


@pytest.mark.attack(share=4)
def test_a_training_that_is_interrupted_again_and_again(
    attack: Attack, log: Path, whole: Run, tmp_path: Path
) -> None:
    for rng in attack.inputs():
        out = tmp_path / f"run{attack.number}"
        for _ in range(rng.integers(1, 4)):
            interrupt(training(log, out, *(["--resume"] if out.exists() else [])), rng, 6)
        last = begun(training(log, out, *(["--resume"] if out.exists() else [])))
        assert ended(last) == 0, last.told  # type: ignore[attr-defined]
        assert essence(Run(out)) == essence(whole)
        assert not [path for path in out.rglob("*") if path.name == LOCK_FILE or path.suffix == ".part"]
        shutil.rmtree(out)


def test_of_two_writers_one_wins(attack: Attack, log: Path, whole: Run, tmp_path: Path) -> None:
    for rng in attack.inputs():
        out = tmp_path / f"run{attack.number}"
        first = begun(training(log, out))
        time.sleep(float(rng.uniform(0, 3)))
        second = begun(training(log, out, *(["--resume"] if rng.random() < 0.5 and out.exists() else [])))
        statuses = [ended(process) for process in (first, second)]
        told = [process.told for process in (first, second)]  # type: ignore[attr-defined]
        assert 0 in statuses, told
        for status, line in zip(statuses, told, strict=True):
            refusal = "another process is writing there" in line or "is not empty" in line
            assert status == 0 or refusal or "no run to resume" in line, told
        assert essence(Run(out)) == essence(whole)
        shutil.rmtree(out)


@pytest.mark.attack(share=2)
def test_bulk_recommendations(attack: Attack, log: Path, whole: Run, tmp_path: Path) -> None:
    users = write_log(tmp_path / "users.csv", tiny_data(users=USERS))
    words = ["recommend", str(whole.directory), "--users", str(users), "--k", "5", "--out"]
    assert ended(begun([*words, str(tmp_path / "whole.parquet")])) == 0
    expected = pq.read_table(tmp_path / "whole.parquet")
    for rng in attack.inputs():
        out = tmp_path / "interrupted.parquet"
        while interrupt([*words, str(out)], rng, 8) != 0 and rng.random() < 0.7:
            pass
        if rng.random() < 0.5:
            others = [begun([*words, str(out)]) for _ in range(2)]
            assert 0 in [ended(process) for process in others]
        assert ended(begun([*words, str(out)])) == 0
        assert pq.read_table(out).equals(expected)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "interrupted.parquet",
            "users.csv",
            "whole.parquet",
        ]
        out.unlink()


@pytest.mark.attack(share=2)
def test_a_search(attack: Attack, log: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    expected = None
    for rng in attack.inputs():
        folder = tmp_path / f"search{attack.number}"
        settings = SETTINGS | {"epochs": 3, "batch_size": 64}
        words = ["tune", str(log), "--model", "sasrec", "--min-count", "1", "--trials", "3"]
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        words += ["--storage", str(folder / "one.journal")]
        if expected is None:
            assert ended(begun([*words[:-1], str(tmp_path / "whole.journal")])) == 0
            expected = best(tmp_path / "whole-search")
        process = begun(words)
        end = time.monotonic() + float(rng.uniform(0, 15))
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.5)
            if rng.random() < 0.2:
                victims = [process.pid, *workers_of(process)]
                os.kill(victims[rng.integers(len(victims))], SIGNALS[rng.integers(len(SIGNALS))])
        process.kill()
        ended(process)
        last = begun(words)
        assert ended(last) == 0, last.told  # type: ignore[attr-defined]
        assert best(folder / "one-search") == expected
        shutil.rmtree(folder)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [
            int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except OSError:
        return []


def best(folder: Path) -> list[object]:
    """Validation metrics of the trials of a search, and its best recipe without the `source` line."""
    runs = [Run(path) for path in sorted((folder / "trials").iterdir())]
    recipe = (folder / "best.toml").read_text().splitlines()
    return [
        [(run.record.status, run.record.best_validation, run.record.epochs) for run in runs],
        [line for line in recipe if not line.startswith("source")],
    ]


def essence(run: Run) -> list[object]:
    """Everything in a run that does not depend on its duration or location."""
    record = run.record
    tensors = load_tensors(run.directory / "model.safetensors")[0]
    return [
        (record.status, record.best_epoch, record.best_validation, record.epochs, run.metrics),
        [(epoch["epoch"], epoch["losses"], epoch["metrics"], epoch["best"]) for epoch in run.history],
        {label: run.ranks("test", label).ranks.tolist() for label in ("U", "F")},
        {name: value.to(torch.float64).flatten().tolist() for name, value in tensors.items()},
    ]
