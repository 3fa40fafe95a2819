"""Child processes, the order in which they take turns, the peers' pinned versions, and the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.environments import peer_python
from benchmarks.machine import describe_machine
from benchmarks.outcome import Outcome
from benchmarks.processes import ROOT, BenchmarkError, Child, Place, run_child, run_command
from benchmarks.rows import ROWS, Row
from benchmarks.rows.preparation import synthetic_log
from benchmarks.session import FULL, Session
from benchmarks.summary import Finding

PEERS = sorted((ROOT / "benchmarks" / "peers").glob("*.txt"))


def idle(*modules: str) -> Child:
    return Child("benchmarks.ours.idle", {"modules": modules})


def test_a_child_answers(tmp_path: Path) -> None:
    measured = run_child(idle("json"), place=Place(1, tmp_path))
    assert measured.document == {}
    assert measured.seconds > 0


def test_the_parent_is_so_small_that_memory_is_that_of_the_child(tmp_path: Path) -> None:
    """A child's peak memory starts at its parent's, and this process is too large, so the parent is a subprocess."""
    program = f"""
import sys
from pathlib import Path
import benchmarks.__main__
from benchmarks.processes import Child, Place, run_child
for module in ("json", "pyarrow"):
    child = Child("benchmarks.ours.idle", {{"modules": [module]}})
    print(run_child(child, Place(1, Path({str(tmp_path)!r}))).peak_bytes)
print([name for name in ("torch", "numpy", "duckdb", "pyarrow", "matplotlib") if name in sys.modules])
"""
    words = [sys.executable, "-c", program]
    output = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    small, large, slow = output.splitlines()
    assert int(small) + 20e6 < int(large)
    assert slow == "[]"


def test_the_output_of_a_failed_child_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="No module named 'no_such_module'"):
        run_child(idle("no_such_module"), place=Place(1, tmp_path))


def test_sides_take_turns(session: Session, started: list[Child]) -> None:
    session = replace(session, budget=FULL)
    runs = session.take_turns({"a": idle("a"), "b": idle("b")})
    assert [child.request["modules"] for child in started] == [("a",), ("b",)] * 3
    assert {side: len(of_side) for side, of_side in runs.items()} == {"a": 3, "b": 3}


def test_a_log_that_does_not_fit_on_the_disk_is_not_written(session: Session, started: list[Child]) -> None:
    with pytest.raises(BenchmarkError, match="--without-spill"), synthetic_log(session, 10**15):
        pass
    assert started == []


@pytest.mark.parametrize("path", PEERS, ids=lambda path: path.stem)
def test_peers_are_pinned_and_share_our_torch(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9_.-]+==[a-z0-9.]+", line)] == []
    torch = [line for line in lines if line.startswith("torch==")]
    assert len(torch) == (path.stem != "replay-metrics")  # RePlay's metrics do not need torch
    assert set(torch) <= set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert any(line.startswith(f"{path.stem.replace('-metrics', '-rec')}==") for line in lines)


def test_another_torch_is_refused(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = tmp_path / "benchmarks" / "peers" / "peer.txt"
    requirements.parent.mkdir(parents=True)
    requirements.write_text("torch==1.0.0\n", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n", encoding="utf-8")
    monkeypatch.setattr("benchmarks.environments.ROOT", tmp_path)
    monkeypatch.setattr("benchmarks.environments._FOLDER", tmp_path / ".venv-peers")
    with pytest.raises(BenchmarkError, match="same torch"):
        peer_python("peer", session.console)


def test_machine() -> None:
    machine = describe_machine()
    assert machine["processor"]
    assert machine["available_cores"] <= machine["cores"]
    assert machine["memory_gib"] > 0


def test_list_names_every_row() -> None:
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(ROWS)


def test_unknown_row() -> None:
    result = CliRunner().invoke(app, ["run", "epochs"])
    assert result.exit_code == 2
    assert "epoch-prefixes" in result.output


@pytest.mark.usefixtures("started")
def test_no_cuda_device_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.QUICK_FOLDER", tmp_path)
    result = CliRunner().invoke(app, ["run", "--part", "cuda", "--quick", "--scratch", str(tmp_path)])
    assert result.exit_code == 1
    assert "has no CUDA device" in result.output


def test_cuda_rows_go_on_after_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(session: Session) -> Outcome:
        raise KeyError("device_bytes")

    done = Outcome([Finding("epoch", 1.0, "s")])
    rows = {"cuda-a": Row("fails", fails, "cuda"), "cuda-b": Row("works", lambda _: done, "cuda")}
    monkeypatch.setattr("benchmarks.__main__.ROWS", rows)
    monkeypatch.setattr("benchmarks.__main__.require_cuda", lambda _: "a device")
    monkeypatch.setattr("benchmarks.__main__.QUICK_FOLDER", tmp_path)
    monkeypatch.setattr("benchmarks.outcome.QUICK_FOLDER", tmp_path)
    result = CliRunner().invoke(app, ["run", "--part", "cuda", "--quick", "--scratch", str(tmp_path)])
    assert result.exit_code == 1
    assert "KeyError: 'device_bytes'" in result.output
    assert "failed: cuda-a" in result.output
    assert [path.stem for path in tmp_path.glob("*.json")] == ["cuda-b"]
    result = CliRunner().invoke(app, ["run", "cuda-b", "--quick", "--minutes", "-1"])
    assert result.exit_code == 1
    assert "cuda-b: left out" in result.output


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(BenchmarkError, match="was ended after"):
        run_command(words, Place(1, tmp_path), limit=0.2)


def test_a_wait_that_is_interrupted_leaves_no_kill_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.processes.os.wait4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", "pass"], Place(1, tmp_path), limit=60)
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)


def test_what_mclrec_needs_beside_a_peer_is_pinned_as_everywhere() -> None:
    lines = (ROOT / "benchmarks" / "with-mclrec.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    others = set(pinned) - set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert [line.partition("==")[0] for line in others] == ["pyarrow"]  # the newest version requires NumPy 2
