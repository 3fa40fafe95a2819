"""A stopped and resumed run gives the same result as an uninterrupted one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import tiny_data
from tests.training.stub import (
    Recorder,
    Stub,
    marching,
    real_trainer,
    same,
    stage,
    stub_trainer,
    timeless,
    weights,
)
from torch import nn

from mclrec.errors import ModelFileError, TrainingError
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.phases import Update
from mclrec.training.fit_result import FitResult
from mclrec.training.trainer import Trainer

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("mclrec", {}),
    ("sasrec", {"unit": "sequences", "loss": "bce", "batch_size": 4, "average": 3, "cycle": "whole"}),
]


class Stopper(Recorder):
    """Sends a signal, Ctrl-C by default, after some steps."""

    def __init__(self, model: nn.Module, after: int, number: signal.Signals = signal.SIGINT) -> None:
        super().__init__(model)
        self.after, self.number = after, number

    def stepped(self, losses: dict[str, float]) -> None:
        super().stepped(losses)
        if self.steps == self.after:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_stops_anywhere_and_goes_on_the_same(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    data = tiny_data(users=24)
    whole = real_trainer(name, data, tmp_path / "whole", **settings)
    recorder = Recorder(whole.model)
    whole._reporter = recorder
    expected = whole.fit()
    steps = recorder.started[0][2]
    # Early in the first epoch, after its last step, and in the middle of the second. Weights must come from the
    # checkpoint: all models but the first are initialised differently.
    for part, after in enumerate((2, steps - 2, steps // 2)):
        stopped = real_trainer(name, data, tmp_path / "parts", initial=1 + part, **settings)
        stopped._reporter = Stopper(stopped.model, after, (signal.SIGINT, signal.SIGTERM)[part % 2])
        assert stopped.fit(resume=part > 0).interrupted
    last = real_trainer(name, data, tmp_path / "parts", initial=9, **settings)
    found = last.fit(resume=True)
    assert not found.interrupted
    assert timeless(found.history) == timeless(expected.history)
    assert (found.best_epoch, found.best_value) == (expected.best_epoch, expected.best_value)
    assert same(weights(last.model), weights(whole.model))
    assert _ranks(last) == _ranks(whole)


@pytest.mark.parametrize("after", [3, 4, 6, 8, 9, 12, 14, 19])
def test_resumes_in_either_phase(after: int, tmp_path: Path) -> None:
    """Two epochs of four steps without validation, then three with validation."""
    _, whole, expected = _two_phases(tmp_path / "whole")
    model, _, stopped = _two_phases(tmp_path / "parts", after)
    assert stopped.interrupted
    assert sum(len(record.losses) > 0 for record in stopped.history) == (after - 1) // 4
    model, recorder, found = _two_phases(tmp_path / "parts", resume=True)
    assert timeless(found.history) == timeless(expected.history)
    assert same(recorder.weights[-1], whole.weights[-1])
    assert same(weights(model), whole.weights[2 + 2 - 1])
    # Neither an epoch resumed in the middle nor an earlier phase is started again.
    started = [call for call in model.calls if call in ("before", "train")]
    assert started == ["before", "train"][0 if after <= 8 else 1 :]
    epochs = [call for call in model.calls if call.startswith("epoch")]
    assert len(epochs) == 5 - (after + 3) // 4


def test_an_interrupted_run_has_the_best_weights_so_far(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [3, 1, 2, 2])
    reporter = Stopper(model, after=3 * 4 + 2)
    fit = stub_trainer(model, data, tmp_path, reporter, epochs=9).fit()
    assert (fit.interrupted, fit.best_epoch, fit.best_value) == (True, 2, 1.0)
    assert same(weights(model), reporter.weights[1])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_interrupted_before_the_first_validation_it_has_the_latest(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data)
    fit = stub_trainer(model, data, tmp_path, Stopper(model, after=2)).fit()
    assert (fit.interrupted, fit.best_epoch, fit.best_value) == (True, 0, None)
    assert model.walker.item() == pytest.approx(0.002, rel=0.1)


def test_checkpoints_come_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes, expected in ((0.0, [1, 2, 3, 4, 0]), (60.0, [0])):
        data = marching()
        trainer = stub_trainer(
            Stub(data), data, tmp_path / str(minutes), epochs=1, checkpoint_minutes=minutes
        )
        save = trainer._checkpoints.save
        steps: list[int] = []

        def counted(position: Any, *state: Any, save: Any = save, steps: list[int] = steps) -> None:
            steps.append(position.step)
            save(position, *state)

        monkeypatch.setattr(trainer._checkpoints, "save", counted)
        trainer.fit()
        assert steps == expected


def test_a_finished_run_may_have_more_epochs(tmp_path: Path) -> None:
    data = tiny_data(users=24)
    whole = real_trainer("sasrec", data, tmp_path / "whole", epochs=4)
    expected = whole.fit()
    real_trainer("sasrec", data, tmp_path / "parts", epochs=2).fit()
    unchanged = real_trainer("sasrec", data, tmp_path / "parts", epochs=2)
    assert len(unchanged.fit(resume=True).history) == 2
    more = real_trainer("sasrec", data, tmp_path / "parts", epochs=4)
    assert timeless(more.fit(resume=True).history) == timeless(expected.history)
    assert same(weights(more.model), weights(whole.model))


def test_a_resumed_run_cannot_have_fewer_epochs_than_are_done(tmp_path: Path) -> None:
    data = marching()
    stub_trainer(Stub(data, [5, 4, 3, 2]), data, tmp_path, epochs=4).fit()
    with pytest.raises(TrainingError, match=r"has 4 epochs already, more than epochs = 3; .*--set epochs=4"):
        stub_trainer(Stub(data), data, tmp_path, epochs=3).fit(resume=True)


@pytest.mark.parametrize("stopping", ["best", "plateau"])
def test_a_resumed_run_cannot_have_less_patience_than_its_epochs_took(tmp_path: Path, stopping: str) -> None:
    data = marching()
    settings: dict[str, Any] = {"epochs": 6, "stopping": stopping}
    stub_trainer(Stub(data, [2, 5, 5, 5, 5, 5]), data, tmp_path, patience=9, **settings).fit()
    with pytest.raises(TrainingError, match=r"has 6 epochs already, but patience = 2 would .* after [34];"):
        stub_trainer(Stub(data), data, tmp_path, patience=2, **settings).fit(resume=True)


def test_early_stopping_counts_over_an_interruption(tmp_path: Path) -> None:
    data = marching()
    ranks = [2, 5, 5, 5, 1]
    model = Stub(data, ranks)
    stub_trainer(model, data, tmp_path, Stopper(model, after=9), patience=3).fit()
    fit = stub_trainer(Stub(data, ranks), data, tmp_path, patience=3).fit(resume=True)
    assert (len(fit.history), fit.best_epoch) == (4, 1)


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    data = marching()
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        stub_trainer(Stub(data), data, tmp_path / "empty").fit(resume=True)
    stub_trainer(Stub(data), data, tmp_path, epochs=1).fit()
    other = stub_trainer(Stub(data), data, tmp_path)
    other._checkpoints._identity = {"seed": 2}
    with pytest.raises(TrainingError, match="another seed"):
        other.fit(resume=True)
    state = tmp_path / "checkpoint/state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"state\.safetensors: damaged"):
        stub_trainer(Stub(data), data, tmp_path).fit(resume=True)


def _two_phases(directory: Path, after: int = 0, *, resume: bool = False) -> tuple[Stub, Recorder, FitResult]:
    data = marching()
    model = Stub(data, [9, 1, 5])
    with torch.no_grad():
        model.walker.fill_(float(resume))  # to be replaced
    model.stages = (
        stage("before", Update(model.walk, "walker"), epochs=2, validate=False),
        stage("train", Update(model.stray, "other"), Update(model.walk, "walker")),
    )
    recorder = Stopper(model, after) if after else Recorder(model)
    return model, recorder, stub_trainer(model, data, directory, recorder, epochs=3).fit(resume=resume)


def _ranks(trainer: Trainer) -> list[int]:
    ranks: list[int] = rank_targets(trainer.model, trainer.split.test, seen="keep").tolist()
    return ranks
