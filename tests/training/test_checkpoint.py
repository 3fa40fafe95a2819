"""Checkpoints are atomic and accepted only by the run that wrote them; a signal requests a stop with a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from tests.training.stub import same

from mclrec.errors import ModelFileError, OutputError, TrainingError
from mclrec.models import tensors
from mclrec.models.tensors import save_tensors
from mclrec.training.checkpoint import Checkpoints, Position, StopRequest
from mclrec.training.identity import SETTING
from mclrec.training.reporting import EpochRecord

RECORD = EpochRecord("train", 1, 0.1 + 0.2, {"rec": 1 / 3}, {"mrr@10": 2 / 3}, True)
MODEL = {"a": torch.arange(4.0), "b/c": torch.tensor([7])}
ADAM = {"all/a/step": torch.tensor(3.0), "all/a/exp_avg": torch.arange(4.0) / 3}
IDENTITY: dict[str, Any] = {"seed": 1, "setting beta": 0.1, "data": "abc"}


def position() -> Position:
    return Position(1, 2, 5, 1, 2 / 3, {"rec": 10 / 3}, 1.5, [RECORD])


def written(directory: Path) -> Checkpoints:
    """A checkpoint at `position`, with the weights of its best epoch."""
    checkpoints = Checkpoints(directory, IDENTITY)
    checkpoints.save_best(MODEL, 1, 1)
    checkpoints.save(position(), {"model": MODEL, "adam": ADAM})
    return checkpoints


def test_gives_back_what_it_got(tmp_path: Path) -> None:
    written(tmp_path)
    again, parts = Checkpoints(tmp_path, IDENTITY).load()
    assert again == position()
    assert same(parts["model"], MODEL)
    assert same(parts["adam"], ADAM)
    assert not parts["average"]


def test_a_crash_while_writing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = written(tmp_path)

    def half(file: IO[bytes], parts: object, notes: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "_write", half)
    later = position()
    later.add({"rec": 1.0})
    with pytest.raises(OutputError, match="no room left"):
        checkpoints.save(later, {"model": MODEL, "adam": ADAM})
    with pytest.raises(OutputError, match="no room left"):
        checkpoints.save_best({"a": torch.zeros(4)}, 1, 2)
    assert checkpoints.load()[0] == position()
    assert same(checkpoints.load_best(1, 1), MODEL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-1-1.safetensors", "state.safetensors"]


def test_best_weights_are_those_of_the_epoch_that_the_position_names(tmp_path: Path) -> None:
    """A run killed after saving better weights, but before saving the position, keeps the previous best weights."""
    checkpoints, better = written(tmp_path), {"a": torch.zeros(4)}
    checkpoints.save_best(better, 1, 2)
    assert same(checkpoints.load_best(1, checkpoints.load()[0].best_epoch), MODEL)
    later = position()
    later.best_epoch = 2
    checkpoints.save(later, {"model": MODEL})
    assert same(checkpoints.load_best(1, 2), better)
    with pytest.raises(ModelFileError, match=r"best-1-1\.safetensors: no such file"):
        checkpoints.load_best(1, 1)
    save_tensors(tmp_path / "best-1-2.safetensors", MODEL)
    resumed = Checkpoints(tmp_path, IDENTITY)
    resumed.load()
    with pytest.raises(
        ModelFileError, match="not the weights of this run; train from scratch into another --out"
    ):
        resumed.load_best(1, 2)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"identity": json.dumps(IDENTITY)},
        {"identity": "[]", "position": "{}"},
        {"identity": json.dumps(IDENTITY), "position": '{"phase": "first"}'},
        {"identity": json.dumps(IDENTITY), "position": "[" * 5000},
    ],
)
def test_what_is_no_checkpoint_is_told(metadata: dict[str, str], tmp_path: Path) -> None:
    save_tensors(tmp_path / "state.safetensors", MODEL, metadata)
    with pytest.raises(
        ModelFileError, match=r"state\.safetensors: .*; train from scratch into another --out"
    ):
        Checkpoints(tmp_path, IDENTITY).load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "another seed: the run has 1, now it is 2"),
        (
            {"setting beta": 0.2},
            "another setting beta: the run has 0.1, now it is 0.2; continue with --set beta=0.1, or train from scratch",
        ),
        (
            {"data": "xyz"},
            "another data: the run has 'abc', now it is 'xyz'; train from scratch into another --out",
        ),
        (
            {"setting new": True},
            "another setting new: the run has None, now it is True; train from scratch into another --out",
        ),
    ],
)
def test_another_run_is_told_the_difference(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(TrainingError, match=message):
        Checkpoints(tmp_path, IDENTITY | change).load()


def test_a_setting_that_came_later_has_its_former_value(tmp_path: Path) -> None:
    later = {f"{SETTING}new": False}
    written(tmp_path)
    assert Checkpoints(tmp_path, IDENTITY | later, later).load()[0] == position()
    with pytest.raises(
        TrainingError, match="the run has False, now it is True; continue with --set new=false, or"
    ):
        Checkpoints(tmp_path, IDENTITY | {f"{SETTING}new": True}, later).load()


def test_nothing_to_load(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY)
    with pytest.raises(TrainingError, match=r"state\.safetensors: no checkpoint to resume from"):
        checkpoints.load()
    with pytest.raises(ModelFileError, match=r"best-1-1\.safetensors: no such file"):
        checkpoints.load_best(1, 1)


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_one_is_refused(damage: str, tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    path = tmp_path / "state.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-3],
            "flipped": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
            "other": b"PK\x03\x04 something else",
        }[damage]
    )
    with pytest.raises(ModelFileError, match=r"state\.safetensors: damaged"):
        checkpoints.load()


def test_means_and_steps() -> None:
    place = Position()
    assert place.means == {}
    for value in (1.0, 2.0):
        place.add({"rec": value})
    assert (place.step, place.means) == (2, {"rec": 1.5})
    place.next_epoch()
    assert (place.epoch, place.step, place.sums) == (2, 0, {})
    place.best_epoch, place.best_value = 2, 0.5
    place.next_phase()
    assert place == Position(phase=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_gets_no_signals() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopRequest() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
