"""TensorBoard tracking: what a run reports is read back from the event files with TensorBoard itself."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import run_main
from tests.runs.conftest import SASREC, log_source, start

from mclrec.errors import ConfigError
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train
from mclrec.training import trackers

needs_tensorboard = pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def scalars(events: Any, tag: str) -> list[tuple[int, Any]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


@needs_tensorboard
def test_tensorboard_reads_the_history(log: Path, tmp_path: Path) -> None:
    run = start(log, tmp_path / "run", track="tensorboard", settings={"epochs": 3})
    events = read(run.directory / "tensorboard")
    history = run.history
    assert scalars(events, "loss/rec") == [
        (number, pytest.approx(epoch["losses"]["rec"])) for number, epoch in enumerate(history, start=1)
    ]
    assert scalars(events, "validation/ndcg@10") == [
        (number, pytest.approx(epoch["metrics"]["ndcg@10"])) for number, epoch in enumerate(history, start=1)
    ]
    assert [value for _, value in scalars(events, "learning_rate/all")] == pytest.approx([2e-3] * 3)
    assert [value for _, value in scalars(events, "seconds")] == pytest.approx(
        [epoch["seconds"] for epoch in history]
    )
    [text] = events.Tensors("settings/text_summary")
    assert b"| hidden_size | 8 |" in text.tensor_proto.string_val[0]
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"


@needs_tensorboard
def test_a_resumed_run_has_each_epoch_once(log: Path, tmp_path: Path) -> None:
    settings = SASREC | {"epochs": 2}
    request = TrainRequest(
        log_source(log), "sasrec", settings=settings, out=tmp_path / "run", track="tensorboard"
    )
    train(request)
    longer = TrainRequest(
        log_source(log),
        "sasrec",
        settings=settings | {"epochs": 4},
        out=tmp_path / "run",
        resume=True,
        track="tensorboard",
    )
    run = train(longer)
    found = scalars(read(run.directory / "tensorboard"), "loss/rec")
    assert [step for step, _ in found] == [1, 2, 3, 4]


def test_phases_are_one_after_the_other(tmp_path: Path) -> None:
    reporter = trackers.TensorBoardTracker(tmp_path, {}, "mrr@10", [("pretrain", 1), ("pretrain", 2)])
    assert [reporter._step("pretrain", 2), reporter._step("train", 1), reporter._step("train", 2)] == [
        2,
        3,
        4,
    ]
    assert reporter._step("train", 1) == 3


def test_what_is_not_there_is_told_before_training(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"unknown tracker 'tensorbord'; did you mean 'tensorboard'\?"):
        start(log, tmp_path / "run", track="tensorbord")
    monkeypatch.setattr("mclrec.extras.find_spec", lambda _: None)
    assert run_main("train", log, "--track", "tensorboard", "--out", tmp_path / "run") == 2
    assert capsys.readouterr().err == 'error: tracking needs tensorboard: pip install "mclrec[track]"\n'
    assert not (tmp_path / "run").exists()


def test_a_run_may_leave_the_test_items_alone(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("looked at the test items")

    monkeypatch.setattr("mclrec.runs.training_run.measure", forbidden)
    run = start(log, tmp_path / "run", measured=False)
    assert run.record.status == "finished"
    assert (run.record.best_validation or 0) > 0
    assert run.metrics == {}
    assert not list(run.directory.glob("ranks-*"))
    assert Run(run.directory).model.recommend(["item 003"], 3)
