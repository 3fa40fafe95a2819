"""The order of warm-up, recording and replay of steps, and cases in which graphs are refused or have no effect."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import tiny_data
from tests.training.stub import Stub, marching, real_trainer, same, stub_trainer, weights
from torch import Tensor

from mclrec.data.batches import Batch, PaddedHistories
from mclrec.errors import ConfigError, MclrecWarning
from mclrec.models.base import Recommender
from mclrec.models.phases import Losses, StepContext
from mclrec.models.sequential import SequentialRecommender
from mclrec.training import step_graphs
from mclrec.training.config import TrainingConfig
from mclrec.training.optimisers import Optimisers
from mclrec.training.trainer import Trainer

DATA = tiny_data(users=30)


class Log:
    """A fake recorder that logs the order of calls, and repeats the work on replay."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def warm(self, work: Callable[[], None]) -> None:
        self.calls.append("warm")
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        number = self.calls.count("record")
        self.calls.append("record")

        def replay() -> None:
            self.calls.append(f"replay {number}")
            work()

        return replay

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(step_graphs, "CudaGraphs", lambda _: made)
    monkeypatch.setattr(TrainingConfig, "check_device", lambda *_: None)
    return made


def graphed(name: str, directory: Path, **given: Any) -> Trainer:
    return real_trainer(name, DATA, directory, **{"graphs": True, "epochs": 1, "batch_size": 16, **given})


def seen_batches(model: Recommender) -> list[Batch]:
    """A list to which all later batches that reach the model's loss are appended."""
    assert isinstance(model, SequentialRecommender)
    seen, plain = list[Batch](), model.loss

    def loss(batch: Batch, context: StepContext) -> Losses:
        seen.append(batch)
        return plain(batch, context)

    model.loss = loss  # type: ignore[method-assign]
    return seen


def test_batches_are_warmed_up_recorded_and_replayed(log: Log, tmp_path: Path) -> None:
    trainer = graphed("mclrec", tmp_path, epochs=2)
    batches = -(-len(trainer.model.phases()[0].examples(trainer.split.training)) // 16)
    assert batches > 6
    trainer.fit()
    whole = 2 * (batches - 1)  # the last one of an epoch is smaller and is not recorded
    first = [call for number in range(3) for call in ("record", f"replay {number}")]
    later = [f"replay {number}" for number in range(3)]
    warm = 3 * step_graphs.WARM_UP * ["warm"]
    assert log.calls == [*warm, *first, *(whole - step_graphs.WARM_UP - 1) * later, "close"]


def test_whole_batches_stand_where_the_first_did(log: Log, tmp_path: Path) -> None:
    trainer = graphed("sasrec", tmp_path)
    seen = seen_batches(trainer.model)
    trainer.fit()
    *whole, smaller = seen
    assert len({id(batch) for batch in whole}) == 1
    assert len(smaller) < len(whole[0]) == 16
    assert isinstance(smaller.histories, PaddedHistories)  # accepted by the same losses


def test_the_values_are_those_of_each_batch(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for place in ("fixed", "own"):
        if place == "own":
            monkeypatch.setattr(step_graphs.GraphedSteps, "_placed", lambda _, batch: batch)
        trainer = graphed("mclrec", tmp_path / place, epochs=2)
        trainer.fit()
        found[place] = weights(trainer.model)
    assert same(found["fixed"], found["own"])
    assert log.calls[-1] == "close"


def test_a_batch_with_another_share_of_the_epoch_is_computed(log: Log, tmp_path: Path) -> None:
    """A number that is constant in a graph must equal that of the batch."""
    trainer = graphed("sasrec", tmp_path)
    phase = trainer.model.phases()[0]
    steps = trainer._steps(phase, trainer._optimisers(phase), phase.examples(DATA))
    batches = trainer._batches(phase, phase.examples(DATA), (1, 0, 1), steps)
    assert isinstance(steps, step_graphs.GraphedSteps)
    first = steps._placed(batches.prepare(0))
    assert steps._placed(batches.prepare(1)) is first
    other = batches.prepare(2)
    object.__setattr__(other, "count", 2 * other.count)
    assert steps._placed(other) is other
    steps.close()


@pytest.mark.parametrize("name", ["sasrec", "mclrec"])
def test_it_goes_on_after_any_batch(log: Log, name: str, tmp_path: Path) -> None:
    whole = graphed(name, tmp_path / "whole", epochs=2)
    whole.fit()
    parts = graphed(name, tmp_path / "parts", epochs=2, checkpoint_minutes=0)
    steps, done = parts._losses, 0
    keep_up = steps.keep_up

    def interrupting() -> None:
        nonlocal done
        keep_up()
        done += 1
        if done == 5:
            raise KeyboardInterrupt

    steps.keep_up = interrupting  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        parts.fit()
    assert log.calls[-1] == "close"
    again = graphed(name, tmp_path / "parts", epochs=2)
    again.fit(resume=True)
    assert same(weights(again.model), weights(whole.model))


def test_replays_are_what_is_timed(log: Log, tmp_path: Path) -> None:
    """The time of an epoch is estimated from a few batches, and most batches of an epoch are replayed."""
    timed = graphed("sasrec", tmp_path).timed_steps(0)
    assert next(timed) > step_graphs.WARM_UP + 2
    next(timed)
    assert log.calls == [*step_graphs.WARM_UP * ["warm"], "record", "replay 0", "replay 0"]
    timed.close()  # type: ignore[attr-defined]
    assert log.calls[-1] == "close"


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("sasrec", {"unit": "sequences"}, "unit = sequences has a target at every item"),
        ("gru4rec", {}, "GRUEncoder trains on packed histories"),
        ("coserec", {"unit": "prefixes", "loss": "softmax"}, "all states"),
        ("bpr", {}, "packed histories"),
    ],
)
def test_where_it_has_no_effect_it_says_why(
    log: Log, name: str, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.warns(MclrecWarning, match=f"graphs = true has no effect on .* in phase 'train': .*{reason}"):
        graphed(name, tmp_path, **settings).fit()
    assert not log.calls


def test_without_it_nothing_is_said(log: Log, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphed("sasrec", tmp_path, graphs=False).fit()
    assert not log.calls


def test_it_is_refused_where_there_is_no_cuda_device(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"graphs: .* only on a CUDA device, not on cpu"):
        stub_trainer(Stub(marching()), marching(), tmp_path, graphs=True)


def test_old_runs_keep_their_identity() -> None:
    assert "graphs" not in TrainingConfig().identity()
    assert TrainingConfig(graphs=True).identity()["graphs"] is True


def test_rates_on_the_device_are_filled_and_known_on_the_host() -> None:
    walked = []
    for recorded in (True, False):
        model = Stub(marching())
        optimisers = Optimisers(model, {"walker", "other"}, TrainingConfig(), recorded=recorded)
        rates = [adam.param_groups[0]["lr"] for adam in optimisers._adam.values()]
        for factor in (1.0, 0.5, 0.25):
            optimisers.scale_rates(factor)
            assert optimisers.learning_rates == {"walker": 1e-3 * factor, "other": 0.5 * factor}
            optimisers.reach_only("other")
            optimisers.step("other", ((model.other - 100) ** 2).sum())
        if recorded:
            assert all(isinstance(rate, Tensor) for rate in rates)
            assert [
                one is other["lr"]
                for one, other in zip(
                    rates, (adam.param_groups[0] for adam in optimisers._adam.values()), strict=True
                )
            ] == [True, True]
        walked.append(model.other.item())
    assert walked[0] == pytest.approx(walked[1], rel=1e-6)
    assert torch.tensor(walked).gt(0).all()
