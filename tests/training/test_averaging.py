from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import tiny_data
from tests.training.stub import Recorder, real_trainer, same, weights
from torch import Tensor, nn

from mclrec.training.averaging import WeightAverage


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
    """Whole powers: weight of step s after t steps is its share times what the later steps leave of it."""
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
