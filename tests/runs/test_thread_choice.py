"""The number of training threads: measured, one unless more are clearly faster, and kept by a resumed run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.runs.conftest import start
from tests.runs.test_training_run import Stopper

from mclrec.runs import thread_choice
from mclrec.runs.thread_choice import quickest, usable_threads
from mclrec.training.kept_threads import kept_threads
from mclrec.training.reporting import SilentReporter


def chosen(times: Mapping[int, Sequence[float]]) -> int:
    left = {count: iter(seconds) for count, seconds in times.items()}
    return quickest(sorted(times), lambda count: next(left[count]))


def test_more_threads_have_to_be_clearly_quicker() -> None:
    assert chosen({1: [9, 1, 1, 1], 2: [9, 0.6, 0.6, 0.6]}) == 2
    assert chosen({1: [9, 1, 1, 1], 2: [9, 0.9, 0.9, 0.9]}) == 1
    assert chosen({1: [9, 1, 1, 1], 4: [9, 0.4, 0.4, 0.4], 16: [9, 0.5, 0.5, 0.5]}) == 4
    assert chosen({1: [9, 1, 1, 1], 2: [9, 0.6, 8, 0.6]}) == 2  # one batch was disturbed


def test_threads_that_wait_for_each_other_are_not_tried_again() -> None:
    assert chosen({1: [1], 2: [50]}) == 1
    assert chosen({1: [1, 1, 1, 1], 4: [1, 0.5, 0.5, 0.5], 16: [50]}) == 4


@given(st.lists(st.floats(1e-6, 100), min_size=4, max_size=4), st.floats(0.2, 5))
def test_any_times_give_one_of_the_counts(seconds: list[float], factor: float) -> None:
    count = chosen({1: seconds, 2: [one * factor for one in seconds]})
    assert (count == 2) == (1.2 * factor < 1)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that may use two threads, with OMP_NUM_THREADS unset."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(thread_choice, "allowed_threads", lambda: 2)
    with kept_threads():
        torch.set_num_threads(2)
        yield


def decide(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def chooses(counts: Sequence[int], seconds: object) -> int:
        assert list(counts) == [1, 2]
        return count

    monkeypatch.setattr(thread_choice, "quickest", chooses)


class Listener(SilentReporter):
    """A reporter that records the lines of the plan."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def planned(self, lines: Sequence[str]) -> None:
        self.lines += lines


@pytest.mark.usefixtures("two_threads")
def test_a_run_says_how_many_it_took_and_gives_the_others_back(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(1, monkeypatch)
    told = Listener()
    run = start(log, tmp_path / "run", reporter=told)
    assert run.record.threads == 1
    assert "threads: 1, the fastest of 1 and 2 on the first batches" in told.lines
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_resumed_run_takes_as_many_as_it_began_with(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(1, monkeypatch)
    whole = start(log, tmp_path / "whole")
    part = start(log, tmp_path / "part", reporter=Stopper(3))
    assert not part.record.finished
    decide(2, monkeypatch)  # would be chosen, but a resumed run does not measure again
    run = start(log, tmp_path / "part", resume=True)
    assert run.record.threads == 1
    assert run.record.weights == whole.record.weights


@pytest.mark.usefixtures("two_threads")
def test_a_quota_bounds_what_pytorch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_choice, "allowed_threads", lambda: 1)
    assert usable_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert usable_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_batches_are_really_timed(log: Path, tmp_path: Path) -> None:
    assert start(log, tmp_path / "run").record.threads in (1, 2)
