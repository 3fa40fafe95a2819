"""Real processes are killed; resumed, their runs reach the numbers of an uninterrupted run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runs.conftest import SASREC, log_source

from mclrec.inference.model import Model
from mclrec.models.tensors import load_tensors
from mclrec.runs.request import TrainRequest, setting_words
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

# Such a training never ends by itself, and writes a checkpoint at each step.
ENDLESS = SASREC | {"epochs": 100_000, "patience": 100_000, "checkpoint_minutes": 0}
PATIENCE_SECONDS = 120


@contextmanager
def child(log: Path, out: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Run `mclrec train` in a child process, killed on exit."""
    settings = setting_words(ENDLESS)
    words = ["train", str(log), "--model", "sasrec", "--min-count", "1", "--out", str(out), *settings, *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "mclrec", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def position(out: Path) -> dict[str, Any]:
    """Position of the checkpoint; zeros if there is none yet."""
    try:
        # Read in one piece: safe_open opens the file by name twice, and the second time it may be the next checkpoint.
        data = (out / "checkpoint/state.safetensors").read_bytes()
    except FileNotFoundError:
        return {"epoch": 0, "step": 0, "history": []}
    length = int.from_bytes(data[:8], "little")
    found: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["position"])
    return found


def wait_for(process: subprocess.Popen[str], out: Path, epoch: int, step: int) -> None:
    """Wait until the checkpoint has reached the given epoch and step, and lies within an epoch."""
    for _ in range(PATIENCE_SECONDS * 100):
        found = position(out)
        if (found["epoch"], found["step"]) >= (epoch, step) and found["step"]:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            raise AssertionError(f"ended by itself: {process.communicate()}")
    raise AssertionError(f"never came to epoch {epoch}, step {step}")


@pytest.mark.slow
def test_killed_again_and_again_it_ends_the_same(log: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "run", (0, 0)
    for epoch, step, more in ((1, 2, []), (3, 5, ["--resume"])):
        with child(log, out, *more) as process:
            wait_for(process, out, epoch, step)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        found = position(out)
        assert (found["epoch"], found["step"]) > seen
        seen = (found["epoch"], found["step"])
        assert not (out / "config.json").exists()
    settings = SASREC | {"epochs": seen[0] + 1}
    whole, resumed = (
        train(TrainRequest(log_source(log), "sasrec", settings=settings, out=place, resume=place is out))
        for place in (tmp_path / "whole", out)
    )
    assert len(resumed.history) == seen[0] + 1
    assert essence(resumed) == essence(whole)
    tensors = [load_tensors(run.directory / "model.safetensors")[0] for run in (whole, resumed)]
    assert all(torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert not list(out.rglob("*.part"))


def test_ctrl_c_leaves_a_usable_model(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "a run"
    with child(log, out) as process:
        wait_for(process, out, 2, 1)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate()
        assert process.returncode == 130
    assert "Traceback" not in told
    assert f"{out} holds the best weights so far" in told
    go_on = told.splitlines()[-1].strip()
    assert go_on.startswith(f"mclrec train {log} --model sasrec")
    assert go_on.endswith("--resume")
    assert f"'{out}'" in go_on
    assert str(out) in shown
    assert len(Model.load(out).recommend(["item 003"], 5)) == 5
    assert Run(out).record.status == "interrupted"


def essence(run: Run) -> dict[str, Any]:
    """History and results, without durations."""
    record = run.record
    measured = {label: one.model_dump(exclude={"seconds"}) for label, one in record.results["test"].items()}
    epochs = [{key: value for key, value in line.items() if key != "seconds"} for line in run.history]
    return record.model_dump(include={"status", "best_epoch", "best_validation", "epochs"}) | {
        "results": measured,
        "history": epochs,
    }
