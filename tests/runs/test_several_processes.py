"""Real processes sharing a run: if one is killed, the others end, and any number of processes can resume the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.distributed.several import start
from tests.runs.conftest import SASREC, log_source
from tests.runs.test_kill import ENDLESS, essence, wait_for

from mclrec.cli.launch import run_processes
from mclrec.errors import LOST_STATUS
from mclrec.runs.request import TrainRequest, setting_words
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

STILL = {"dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32", "learning_rate": 1e-3}
SECONDS = 30


def words(log: Path, out: Path, settings: dict[str, Any], *more: str) -> list[str]:
    chosen = setting_words(settings)
    return ["train", str(log), "--model", "sasrec", "--min-count", "1", "--out", str(out), *chosen, *more]


def kill(processes: list[subprocess.Popen[str]], victim: int, out: Path, epoch: int = 2) -> list[str]:
    """Kill one process in the middle of an epoch; return what the others print before they end."""
    try:
        wait_for(processes[0], out, epoch, 1)
        processes[victim].send_signal(signal.SIGKILL)
        begun = time.monotonic()
        others = [process for process in processes if process is not processes[victim]]
        told = [process.communicate(timeout=SECONDS)[1] for process in others]
        assert time.monotonic() - begun < SECONDS
        assert [process.returncode for process in others] == [LOST_STATUS] * len(others)
        return told
    finally:
        for process in processes:
            process.kill()


def close(found: Run, expected: Run) -> None:
    """Check that runs are equal except for the order of floating-point summation."""
    assert [line["metrics"] for line in found.history] == [line["metrics"] for line in expected.history]
    for one, other in zip(found.history, expected.history, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
    assert found.metrics == expected.metrics
    assert found.ranks().ranks.tolist() == expected.ranks().ranks.tolist()


@pytest.mark.slow
def test_one_is_killed_and_others_finish(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = start(["-m", "mclrec", *words(log, out, ENDLESS | STILL)], 2, **pipes)
    [told] = kill(processes, 1, out)
    assert "error: another process of this run has ended" in told
    assert "Traceback" not in told
    assert not (out / "config.json").exists()
    settings = SASREC | STILL | {"epochs": 4}
    assert run_processes(words(log, out, settings, "--resume"), 3) == 0
    said = capfd.readouterr()
    assert said.out.count("kept as candidates (U)") == said.err.count("train epoch   4") == 1
    whole = train(TrainRequest(log_source(log), "sasrec", settings=settings, out=tmp_path / "whole"))
    close(Run(out), whole)
    assert (Run(out).record.processes, whole.record.processes) == (3, 1)
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_killed_again_and_again_they_end_the_same(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for victim, epoch, more in ((0, 1, []), (1, 2, ["--resume"])):
        kill(start(["-m", "mclrec", *words(log, out, ENDLESS, *more)], 2, **pipes), victim, out, epoch)
    settings = SASREC | {"epochs": 5}
    assert run_processes(words(log, out, settings, "--resume"), 2) == 0
    assert run_processes(words(log, tmp_path / "whole", settings), 2) == 0
    assert essence(Run(out)) == essence(Run(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_the_launcher_says_who_was_killed(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "mclrec", *words(log, out, ENDLESS), "--processes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        wait_for(launcher, out, 1, 1)
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        _, told = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == LOST_STATUS
    assert "error: process 1 of 2 was ended by SIGKILL" in told
    assert told.rstrip().endswith("--resume")


@pytest.mark.slow
def test_ctrl_c_stops_all_of_them_at_one_step(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "mclrec", *words(log, out, ENDLESS), "--processes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        wait_for(launcher, out, 1, 1)
        launcher.send_signal(signal.SIGINT)
        _, told = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == 130
    assert told.count("holds the best weights so far") == 1


@pytest.mark.slow
def test_one_that_hangs_is_given_up(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first, second = processes = start(["-m", "mclrec", *words(log, out, ENDLESS)], 2, **pipes)
    try:
        wait_for(first, out, 1, 1)
        second.send_signal(signal.SIGSTOP)
        _, told = first.communicate(timeout=SECONDS + 15)  # SILENCE, and late heartbeats on a busy machine
        assert first.returncode == LOST_STATUS
        assert "error: process 1 of 2 has not been heard from for 20 seconds" in told
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_mistake_is_told_once(log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    assert run_processes(words(log, tmp_path / "run", SASREC), 2) == 2
    assert capfd.readouterr().err.count("error: ") == 1
