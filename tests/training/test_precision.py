"""The precision that `auto` chooses: that of the faster step, if the processor has bf16 instructions at all."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest
import torch

from mclrec.training import precision
from mclrec.training.config import TrainingConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _measured_anew() -> Iterator[None]:
    precision._measured_quicker.cache_clear()
    yield
    precision._measured_quicker.cache_clear()


@pytest.mark.parametrize(
    ("has", "fp32", "bf16", "expected"),
    [
        ("amx_bf16", 3.0, 1.0, "bf16"),
        ("avx512_bf16", 2.0, 1.0, "bf16"),
        ("avx512_bf16", 1.0, 1.5, "fp32"),  # an Intel Xeon whose AMX is hidden from a virtual machine
        (
            "amx_bf16",
            1.4,
            1.0,
            "fp32",
        ),  # an Intel Xeon with AMX measures 1.0 to 1.4: too close to be chosen each time
        ("avx2", 3.0, 1.0, "fp32"),  # emulated; not even tried
    ],
)
def test_auto_is_the_quicker_precision(
    has: str, fp32: float, bf16: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def seconds(**step: bool) -> float:
        tried.append(step["bf16"])
        noise = 10.0 if len(tried) <= 2 else 1.0 + len(tried) % 3  # the first steps warm up; others vary
        return noise * (bf16 if step["bf16"] else fp32)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True}, raising=False)
    monkeypatch.setattr(precision, "step_seconds", seconds)
    assert TrainingConfig(precision="auto").on(CPU).precision == expected
    steps = len(tried)
    assert (steps == 0) == (has == "avx2")
    assert TrainingConfig(precision="auto").on(CPU).precision == expected
    assert len(tried) == steps, "a process measures once"


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_precision_that_is_set_is_taken_without_measuring(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "step_seconds", lambda **_: pytest.fail("measured"))
    assert TrainingConfig.model_validate({"precision": name}).on(CPU).precision == name


def test_a_measured_step_draws_no_random_numbers_and_works_without_gradients() -> None:
    state = torch.random.get_rng_state()
    with torch.inference_mode():
        assert all(precision.step_seconds(bf16=bf16) > 0 for bf16 in (False, True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_time_that_others_take_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, threads = 0.05, []

    def linear(states: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        threads.append(torch.get_num_threads())
        Event().wait(waited)
        return states[:1] @ table[:1].T

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.setattr(precision, "linear", linear)
    assert precision.step_seconds(bf16=False) < waited
    before = torch.get_num_threads()
    precision.quicker_in_bf16(CPU)
    assert set(threads[1:]) == {1}
    assert torch.get_num_threads() == before
