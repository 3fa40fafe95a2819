"""One Adam per parameter group: its learning rate, its parameters, and resumption from a saved state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import tiny_data
from tests.training.stub import Recorder, Stub, marching, real_trainer, same, weights
from torch import Tensor, nn

from mclrec.errors import TrainingError
from mclrec.models.tensors import load_tensors, save_tensors
from mclrec.training.config import TrainingConfig
from mclrec.training.optimisers import Optimisers, WeightAverage

CONFIG = TrainingConfig(learning_rate=0.01)


def stub() -> Stub:
    return Stub(marching())


def run(model: Stub, optimisers: Optimisers, steps: range) -> None:
    """Alternate between the groups, with a different gradient at each step."""
    for step in steps:
        optimisers.reach_only("walker")
        optimisers.step("walker", ((model.walker - 3) ** 2).sum() * (1 + step))
        optimisers.reach_only("other")
        optimisers.step("other", ((model.other - model.walker) ** 2).sum() * (2 + step))


def test_groups_have_their_own_rates() -> None:
    model = stub()
    run(model, Optimisers(model, {"walker", "other"}, CONFIG), range(1))
    assert model.walker.item() == pytest.approx(0.01)  # Adam's first step is the learning rate
    assert model.other.item() == pytest.approx(0.5)


def test_reaches_one_group_only() -> None:
    model = stub()
    optimisers = Optimisers(model, {"walker", "other"}, CONFIG)
    optimisers.reach_only("other")
    assert [name for name, value in model.named_parameters() if value.requires_grad] == ["other"]
    optimisers.reach_only("walker")
    assert [name for name, value in model.named_parameters() if value.requires_grad] == ["walker", "unused"]


def test_weight_decay_is_an_l2_penalty() -> None:
    plain, decayed = stub(), stub()
    for model, decay in ((plain, 0.0), (decayed, 8.0)):
        torch.nn.init.ones_(model.walker)
        config = TrainingConfig(learning_rate=0.01, weight_decay=decay)
        optimisers = Optimisers(model, {"walker"}, config)
        optimisers.reach_only("walker")
        optimisers.step("walker", ((model.walker - 3) ** 2).sum())  # gradient -4, or -4 + 8
    assert plain.walker.item() == pytest.approx(1.01)
    assert decayed.walker.item() == pytest.approx(0.99)


def test_goes_on_from_a_saved_state(tmp_path: Path) -> None:
    whole = stub()
    run(whole, Optimisers(whole, {"walker", "other"}, CONFIG), range(7))
    first = stub()
    optimisers = Optimisers(first, {"walker", "other"}, CONFIG)
    run(first, optimisers, range(4))
    save_tensors(tmp_path / "state", optimisers.state(), {})
    second = stub()
    second.load_state_dict(weights(first))
    restored = Optimisers(second, {"walker", "other"}, CONFIG)
    restored.load(load_tensors(tmp_path / "state")[0])
    run(second, restored, range(4, 7))
    assert same(weights(second), weights(whole))
    fresh = stub()
    fresh.load_state_dict(weights(first))
    run(fresh, Optimisers(fresh, {"walker", "other"}, CONFIG), range(4, 7))
    assert not same(weights(fresh), weights(whole))


def test_unused_parameters_have_no_state_and_stay() -> None:
    model = stub()
    optimisers = Optimisers(model, {"walker"}, CONFIG)
    assert optimisers.state() == {}
    optimisers.load({})
    optimisers.reach_only("walker")
    optimisers.step("walker", ((model.walker - 3) ** 2).sum())
    assert {key.rpartition("/")[0] for key in optimisers.state()} == {"walker/walker"}
    assert model.unused.item() == 0


def test_a_state_of_another_model_is_refused() -> None:
    model = stub()
    optimisers = Optimisers(model, {"walker", "other"}, CONFIG)
    run(model, optimisers, range(1))
    with pytest.raises(TrainingError, match="belongs to another model"):
        Optimisers(model, {"walker"}, CONFIG).load(optimisers.state())


def walked(power: float | None, steps: int = 6) -> tuple[nn.Linear, WeightAverage, list[Tensor]]:
    torch.manual_seed(0)
    model, path = nn.Linear(3, 2), []
    average = WeightAverage(model, power)
    for _ in range(steps):
        with torch.no_grad():
            model.weight += torch.randn_like(model.weight)
        path.append(model.weight.detach().clone())
        average.add()
    return model, average, path


@pytest.mark.parametrize("power", [0, 1, 3])
def test_equals_the_products_of_the_paper(power: int) -> None:
    """Integer powers: the weight of step s after t steps is its share times the product of 1 - share of later steps."""
    model, average, path = walked(power)
    shares = [(power + 1) / (step + power) for step in range(1, len(path) + 1)]
    expected = torch.zeros(2, 3)
    for step, weight in enumerate(path):
        left = 1.0
        for later in shares[step + 1 :]:
            left *= 1 - later
        expected += shares[step] * left * weight
    if power == 0:
        torch.testing.assert_close(expected, torch.stack(path).mean(0))
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert torch.equal(model.weight, path[-1])


def test_off_it_leaves_everything() -> None:
    model, average, path = walked(None)
    with average.in_place():
        assert torch.equal(model.weight, path[-1])
    assert average.state() == {}


def test_its_state_goes_on() -> None:
    model, average, _ = walked(2)
    again = WeightAverage(model, 2)
    again.load({name: value.clone() for name, value in average.state().items()})
    for one in (average, again):
        one.add()
    assert all(torch.equal(value, again.state()[name]) for name, value in average.state().items())


def test_the_average_is_what_is_kept_and_training_does_not_notice(tmp_path: Path) -> None:
    data = tiny_data()
    found: dict[float | None, dict[str, Tensor]] = {}
    paths: dict[float | None, list[dict[str, Tensor]]] = {}
    for average in (None, 2.0):
        trainer = real_trainer("sasrec", data, tmp_path / str(average), average=average, epochs=2)
        trainer._reporter = recorder = Recorder(trainer.model)
        trainer.fit()
        found[average], paths[average] = weights(trainer.model), recorder.weights
    assert all(same(one, other) for one, other in zip(paths[None], paths[2.0], strict=True))
    assert not same(found[None], found[2.0])
