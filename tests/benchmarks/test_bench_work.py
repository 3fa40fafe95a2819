from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.processes import BenchmarkError, Measurement
from benchmarks.work import check_initial_loss, check_same_work

Make = Callable[..., Measurement]
WORK = {"examples": 131_413, "hidden_size": 64, "cuts": [5, 10]}


def test_the_same_work(measured: Make) -> None:
    run = measured(work=WORK, threads=2)
    assert check_same_work({"a": [run, run], "b": [run]}) == {**WORK, "threads": 2}


@pytest.mark.parametrize(
    ("work", "threads", "words"),
    [
        ({**WORK, "hidden_size": 32}, 2, ["hidden_size", "a (round 1) 64", "b (round 2) 32"]),
        (WORK, 1, ["threads", "b (round 2) 1"]),
        ({"hidden_size": 64, "cuts": [5, 10]}, 2, ["examples", "b (round 2) not stated"]),
        ({**WORK, "layers": 2}, 2, ["layers", "a (round 1) not stated"]),
    ],
)
def test_other_work_is_an_error(measured: Make, work: dict[str, Any], threads: int, words: list[str]) -> None:
    same = measured(work=WORK, threads=2)
    with pytest.raises(BenchmarkError) as raised:
        check_same_work({"a": [same], "b": [same, measured(work=work, threads=threads)]})
    assert all(word in str(raised.value) for word in words)


def test_the_first_loss_shows_the_number_of_classes() -> None:
    check_initial_loss("ours", {"classes": 12_102, "first_loss": math.log(12_102) + 0.05})
    with pytest.raises(BenchmarkError, match="not near ln"):
        check_initial_loss("sampled", {"classes": 12_102, "first_loss": math.log(100)})
