"""Child processes that take turns, the cores they may use, and processes that keep cores busy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import turns
from benchmarks.load.spinning import busy
from benchmarks.machine import first_cores
from benchmarks.processes import BenchmarkError, Child, Place
from benchmarks.turns import run_in_turns

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")


def _child(path: Path, name: str, **more: Any) -> Child:
    return Child("tests.benchmarks.turning_child", {"path": str(path), "name": name, **more})


def test_sides_take_turns_pass_by_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "MALLOC_X_", "1"
    )  # a user's allocator tuning could affect one side more than the other
    notes = tmp_path / "notes"
    place = Place(1, tmp_path, first_cores(1))
    found = run_in_turns({"A": _child(notes, "a"), "B": _child(notes, "b")}, 3, place)
    assert notes.read_text(encoding="utf-8").split() == ["a0", "b0", "a1", "b1", "a2", "b2"]
    for run in found.values():
        assert run.document == {"passes": [0, 1, 2], "cores": list(place.cores or ()), "tuning": None}
    assert len(os.sched_getaffinity(0)) == os.cpu_count() or place.cores


def test_a_side_that_fails_ends_the_others_and_says_why(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    children = {"A": _child(notes, "a"), "B": _child(notes, "b", fails=1)}
    with pytest.raises(BenchmarkError, match="no more"):
        run_in_turns(children, 3, Place(1, tmp_path))
    assert notes.read_text(encoding="utf-8").split() == ["a0", "b0", "a1"]


def test_without_turns_all_passes_are_done_at_once() -> None:
    assert list(turns({"passes": 3})) == [0, 1, 2]


def test_cores_are_given_back_after_a_start(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    run_in_turns({"A": _child(tmp_path / "notes", "a")}, 1, Place(1, tmp_path, first_cores(1)))
    assert os.sched_getaffinity(0) == before


def test_cores_are_busy_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        begun.append(start(*arguments, **more))
        return begun[-1]

    monkeypatch.setattr("benchmarks.load.spinning.subprocess.Popen", noted)
    with _interrupted(), busy(first_cores(1) or ()):
        [process] = begun
        assert process.poll() is None
        raise InterruptedError
    assert process.poll() is not None


def _interrupted() -> Any:
    return pytest.raises(InterruptedError)


def test_nothing_is_started_for_a_free_machine() -> None:
    with busy(()):
        assert True


@pytest.fixture(autouse=True)
def _affinity() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)
