"""Precision "auto" is decided once, reported, and kept when a run is resumed on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.runs.conftest import start
from tests.runs.test_thread_choice import Listener
from tests.runs.test_training_run import Stopper

SETTINGS = {"precision": "auto"}


def on_a_machine(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    monkeypatch.setattr("mclrec.training.config.quicker_in_bf16", lambda device: bf16)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_resumed_run_keeps_the_precision_that_it_began_with(
    bf16: bool, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine(monkeypatch, bf16=bf16)
    told = Listener()
    whole = start(log, tmp_path / "whole", settings=SETTINGS, reporter=told)
    name = "bf16" if bf16 else "fp32"
    reason = "much faster than fp32 here" if bf16 else "as bf16 is not much faster here"
    assert f"precision: {name}, {reason}" in told.lines
    part = start(log, tmp_path / "part", settings=SETTINGS, reporter=Stopper(3))
    assert not part.record.finished
    on_a_machine(monkeypatch, bf16=not bf16)
    told = Listener()
    run = start(log, tmp_path / "part", settings=SETTINGS, reporter=told, resume=True)
    assert f"precision: {name}, as the run began" in told.lines
    assert run.info.training["precision"] == whole.info.training["precision"] == name
    assert run.record.weights == whole.record.weights


def test_a_precision_that_is_set_is_not_told(log: Path, tmp_path: Path) -> None:
    told = Listener()
    start(log, tmp_path / "run", settings={"precision": "fp32"}, reporter=told)
    assert not [line for line in told.lines if line.startswith("precision")]
