"""A test evaluation that takes hours is announced early, can be interrupted, and is completed with ``--resume``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.inference.model import Model
from mclrec.progress import quietly
from mclrec.runs import long_test, measurement
from mclrec.runs.long_test import telling_if_long
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train


def lines(
    monkeypatch: pytest.MonkeyPatch, seconds: float, total: int, batch: int
) -> tuple[list[str], list[int]]:
    """Messages and progress-bar advances while all targets are ranked, each batch taking the given seconds."""
    now = [0.0]
    told: list[str] = []
    advanced: list[int] = []
    monkeypatch.setattr(long_test, "perf_counter", lambda: now[0])
    monkeypatch.setattr(long_test, "tell", lambda _, message: told.append(message))
    ranked = telling_if_long(total, advanced.append)
    for _ in range(total // batch):
        now[0] += seconds
        ranked(batch)
    return told, advanced


@given(seconds=st.floats(0.1, 100), batches=st.integers(1, 500), batch=st.integers(1, 2000))
def test_more_than_an_hour_is_told_once(seconds: float, batches: int, batch: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        told, advanced = lines(monkeypatch, seconds, batches * batch, batch)
    assert advanced == [batch] * batches
    assert len(told) <= 1
    if seconds * batches > 3800 + 2 * seconds:
        assert told
    if seconds * batches < 3600:
        assert not told


def test_what_is_told_says_how_long_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = lines(monkeypatch, 11, 8_000_000, 2_000)[0]
    assert line.startswith(
        "ranking the other 7,998,000 targets of the test, both protocols counted, takes about 12.2 hours;"
    )
    assert "--resume" in line
    with quietly():
        assert lines(monkeypatch, 11, 8_000_000, 2_000)[0] == []


def test_a_test_that_was_interrupted_is_done_by_resuming(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = "sasrec", {"epochs": 1, "hidden_size": 8, "max_length": 5}
    whole = train(TrainRequest(log, model, out=tmp_path / "whole", settings=settings))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    wanted = TrainRequest(log, model, out=tmp_path / "left", settings=settings)
    with monkeypatch.context() as during:
        during.setattr(measurement, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(wanted)
    first = whole.ranks().items[0]
    answers = [Model.load(tmp_path / name).recommend(history=[first], k=3) for name in ("left", "whole")]
    assert answers[0] == answers[1]
    run = train(replace(wanted, resume=True))
    assert run.metrics == whole.metrics
    assert Run(tmp_path / "left").record.finished
