"""A search whose processes are killed loses no trial and, when repeated, finishes normally."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.recipes import resolve

pytest.importorskip("optuna")

PATIENCE_SECONDS = 300
TRIALS = 8


def command(log: Path, storage: Path, workers: int) -> list[str]:
    settings = {
        "hidden_size": 8,
        "inner_size": 16,
        "max_length": 8,
        "epochs": 60,
        "patience": 60,
        "checkpoint_minutes": 0,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [
        *(sys.executable, "-m", "mclrec", "tune", str(log), "--model", "sasrec", "--min-count", "1"),
        *("--trials", str(TRIALS), "--workers", str(workers), "--storage", str(storage), *words),
    ]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(PATIENCE_SECONDS * 20):
        if condition():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(f"ended by itself: {process.communicate()}")
    raise AssertionError("the condition never came true")


def epochs(folder: Path, trial: int) -> int:
    history = folder / "trials" / f"{trial:04d}" / "history.jsonl"
    return len(history.read_text(encoding="utf-8").splitlines()) if history.exists() else 0


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    found = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, words in found.items() if b"spawn_main" in words]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")
def test_no_trial_is_lost(tmp_path: Path) -> None:
    log = write_log(tmp_path / "tiny.csv", tiny_data(shortest=5))
    storage, folder = tmp_path / "one.journal", tmp_path / "one-search"
    with subprocess.Popen(
        command(log, storage, 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        wait_until(lambda: epochs(folder, 1) >= 3, first)
        killed = workers_of(first)[0]
        os.kill(killed, signal.SIGKILL)
        # The parent replaces it; then both workers and the parent die.
        wait_until(lambda: len(workers_of(first)) == 2 and epochs(folder, 2) >= 2, first)
        assert killed not in workers_of(first)
        for victim in (first.pid, *workers_of(first)):
            os.kill(victim, signal.SIGKILL)
        first.communicate()
    begun = [path.name for path in (folder / "trials").iterdir() if path.is_dir()]
    second = subprocess.run(command(log, storage, 2), capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    directories = sorted(path for path in (folder / "trials").iterdir() if path.is_dir())
    assert [path.name for path in directories] == [f"{number:04d}" for number in range(TRIALS)]
    assert set(begun) <= {path.name for path in directories}
    records = [json.loads(line) for line in storage.read_text(encoding="utf-8").splitlines()]
    ends = [record["trial_id"] for record in records if record["op_code"] == 6 and record["state"] != 0]
    assert sorted(ends) == list(range(TRIALS))
    for path in directories:  # killed trials were resumed, with each epoch once
        lines = [json.loads(line)["epoch"] for line in (path / "history.jsonl").read_text().splitlines()]
        assert lines == list(range(1, len(lines) + 1))
    assert resolve("sasrec", "", folder / "best.toml").config.hidden_size == 8  # type: ignore[attr-defined]
    words = f"{log} --min-count 1 --model sasrec --seed 1 --recipe {folder / 'best.toml'}"
    assert f"mclrec train {words}" in second.stdout
