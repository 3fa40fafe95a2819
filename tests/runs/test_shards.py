"""Runs with a sharded item table: killed, resumed with another number of processes, and the files they leave."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.distributed.several import start
from tests.runs.conftest import SASREC, log_source
from tests.runs.test_kill import ENDLESS
from tests.runs.test_several_processes import STILL, close, kill, words

from mclrec.cli.launch import run_processes
from mclrec.errors import ConfigError
from mclrec.models.storage import load_model
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def whole(log: Path, out: Path, epochs: int) -> Run:
    """The run of a single, uninterrupted process, for comparison."""
    settings = SASREC | STILL | {"epochs": epochs}
    return train(TrainRequest(log_source(log), "sasrec", settings=settings, out=out))


@pytest.mark.slow
def test_two_processes_shard_a_table_and_leave_a_model_as_ever(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_processes(words(log, out, SASREC | STILL | {"epochs": 1}, "--shard-items", "-q"), 2) == 0
    expected = whole(log, tmp_path / "whole", 1)
    close(Run(out), expected)
    found, alone = (load_model(place).model.state_dict() for place in (out, expected.directory))
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
    assert sorted(path.name for path in out.rglob("*.safetensors")) == [
        "best-0-1.safetensors",
        "model.safetensors",
        "state.safetensors",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"), [((2, True), (3, True)), ((2, True), (1, False)), ((2, False), (2, True))]
)
def test_one_is_killed_and_others_finish(
    first: tuple[int, bool], second: tuple[int, bool], log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    more = ["--shard-items"] if first[1] else []
    processes = start(["-m", "mclrec", *words(log, out, ENDLESS | STILL, *more)], first[0], **PIPES)
    assert "error: another process of this run has ended" in kill(processes, 1, out)[0]
    more = ["--shard-items"] if second[1] else []
    assert run_processes(words(log, out, SASREC | STILL | {"epochs": 4}, "--resume", *more), second[0]) == 0
    close(Run(out), whole(log, tmp_path / "whole", 4))
    assert not list(out.rglob("*.part"))


def test_a_model_that_needs_all_of_it_says_so(log: Path, tmp_path: Path) -> None:
    for name in ("bpr", "coserec", "popularity"):
        with pytest.raises(
            ConfigError, match=f"shard-items: {name} needs .* leave it out, or train mclrec, .* or"
        ):
            train(TrainRequest(log_source(log), name, out=tmp_path / "run", shard_items=True))
    assert not (tmp_path / "run").exists()


def test_one_process_has_all_rows(log: Path, tmp_path: Path) -> None:
    settings = SASREC | {"epochs": 1}
    one, other = (
        train(
            TrainRequest(
                log_source(log), "sasrec", settings=settings, out=tmp_path / str(shard), shard_items=shard
            )
        )
        for shard in (True, False)
    )
    assert one.metrics == other.metrics
