"""The learning-rate cycle: its shape, its use by the trainer, and refused values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data
from tests.training.stub import real_trainer

from mclrec.errors import ConfigError
from mclrec.recipes import resolve
from mclrec.training.schedule import LEAST_RISE, WARM_UP, cycle_epochs, one_cycle


@given(st.integers(1, 5000), st.integers(1, 2))
def test_it_rises_in_a_line_and_falls_to_nothing(steps: int, updates: int) -> None:
    """It rises for a fifth of the steps, or longer if that is few updates, and never faster than 1 / LEAST_RISE."""
    factors = [one_cycle(step, steps, updates) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors == sorted(factors[:top]) + sorted(factors[top:], reverse=True)
    assert one_cycle(steps + 7, steps, updates) == factors[-1]
    rises = np.diff([0.0, *factors]) / updates
    assert rises.max() <= 1 / LEAST_RISE + 1e-9
    if steps * updates * WARM_UP >= LEAST_RISE:
        assert abs(top - WARM_UP * steps) <= 1
        assert sum(factors) / steps == pytest.approx(0.5, abs=1 / steps)
    else:
        assert top >= WARM_UP * steps - 1


def test_epochs_of_a_cycle() -> None:
    assert [cycle_epochs(cycle, 9) for cycle in (None, "whole", 4)] == [None, 9, 4]


@pytest.mark.parametrize(("cycle", "epochs"), [("whole", 3), (5, 3), (2, 3)])
def test_the_trainer_keeps_to_it(
    cycle: str | int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *arguments: object) -> object:
        rates.append(float(self.param_groups[0]["lr"]))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    trainer = real_trainer(
        "sasrec", tiny_data(users=24), tmp_path, unit="sequences", batch_size=8, cycle=cycle, epochs=epochs,
        patience=9, learning_rate=0.01,
    )  # fmt: skip
    trainer.fit()
    steps = len(rates) // epochs
    whole = steps * (epochs if cycle == "whole" else int(cycle))
    assert rates == pytest.approx([0.01 * one_cycle(number, whole) for number in range(len(rates))])


def test_what_is_no_cycle_is_refused() -> None:
    for value in (0, -1, "half", 1.5, True):
        with pytest.raises(ConfigError, match="cycle"):
            resolve("sasrec", None, None, {"cycle": value})
    assert resolve("sasrec", None, None, {"cycle": None}).training.cycle is None
