"""Parameters that a model freezes at the start of a phase stay unchanged in that phase only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.stub import Recorder, Stub, marching, stage, stub_trainer, timeless
from tests.training.test_resume import Stopper
from torch import nn

from mclrec.errors import TrainingError
from mclrec.models.phases import Update
from mclrec.training.fit_result import FitResult

STEPS = 4  # per epoch of `marching`


class Freezing(Stub):
    """Three phases of one epoch; in the second, ``walker`` is frozen."""

    def __init__(self) -> None:
        super().__init__(marching(), [1])
        self.stages = [
            stage(name, Update(self.stray, "both"), epochs=1, validate=False)
            for name in ("first", "second", "third")
        ]
        nn.init.ones_(self.other)
        self.frozen = {"second": [self.walker]}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"both": [self.walker, self.other]}

    def on_phase_start(self, phase: str) -> None:
        for parameter in self.frozen.get(phase, []):
            parameter.requires_grad_(False)


def fit(model: Freezing, directory: Path, recorder: Recorder, *, resume: bool = False) -> FitResult:
    trainer = stub_trainer(model, marching(), directory, recorder, weight_decay=0.1, average=1.0)
    return trainer.fit(resume=resume)


def test_a_frozen_parameter_stays_for_its_phase(tmp_path: Path) -> None:
    model = Freezing()
    recorder = Recorder(model)
    fit(model, tmp_path, recorder)
    first, second, third = recorder.weights
    assert torch.equal(second["walker"], first["walker"])
    assert not torch.equal(second["other"], first["other"])
    assert not torch.equal(third["walker"], second["walker"])
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("after", [STEPS - 1, STEPS, STEPS + 2, 2 * STEPS + 1])
def test_it_stays_after_a_resumption(after: int, tmp_path: Path) -> None:
    whole = Recorder(Freezing())
    assert isinstance(whole.model, Freezing)
    expected = fit(whole.model, tmp_path / "whole", whole)
    stopped = Freezing()
    assert fit(stopped, tmp_path / "parts", Stopper(stopped, after)).interrupted
    model = Freezing()
    recorder = Recorder(model)
    found = fit(model, tmp_path / "parts", recorder, resume=True)
    assert timeless(found.history) == timeless(expected.history)
    for weights, others in zip(reversed(recorder.weights), reversed(whole.weights), strict=False):
        assert torch.equal(weights["walker"], others["walker"])
        assert torch.equal(weights["other"], others["other"])


def test_what_a_model_is_built_with_frozen_stays_in_all_phases(tmp_path: Path) -> None:
    model = Freezing()
    model.walker.requires_grad_(False)
    fit(model, tmp_path, Recorder(model))
    assert model.walker.item() == 0
    assert [parameter.requires_grad for parameter in (model.walker, model.other)] == [False, True]


def test_an_update_that_reaches_nothing_is_refused(tmp_path: Path) -> None:
    model = Freezing()
    model.frozen["third"] = [model.walker, model.other]
    with pytest.raises(TrainingError, match="every parameter of group 'both' is frozen"):
        fit(model, tmp_path, Recorder(model))
    assert all(parameter.requires_grad for parameter in model.parameters())
