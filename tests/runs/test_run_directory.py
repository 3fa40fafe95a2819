"""A run's directory has one writer at a time, and training can be resumed whatever a killed run leaves there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers import edit_sealed
from tests.runs.conftest import SASREC, log_source, start

from mclrec.errors import ConfigError, InUseError, MclrecWarning, OutputError
from mclrec.inference.vector_exporter import export_vectors
from mclrec.locks import LOCK_FILE, Lock, is_held
from mclrec.models.directory import VECTORS_RECORD
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.run_directory import discard_stale, run_lock
from mclrec.runs.training_run import train
from mclrec.sealed_json import read_sealed
from mclrec.training.reporting import SilentReporter


class _Waiting(SilentReporter):
    """A reporter that blocks training in its first step."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def stepped(self, losses: dict[str, float]) -> None:
        self.begun.set()
        assert self.go_on.wait(60)


def test_of_two_trainings_one_is_refused(trained: Run, log: Path, tmp_path: Path) -> None:
    out, waiting = tmp_path / "run", _Waiting()
    request = TrainRequest(log_source(log), "sasrec", settings=SASREC, out=out)
    first = threading.Thread(target=train, args=(request, waiting))
    first.start()
    assert waiting.begun.wait(60)
    for resume in (False, True):
        with pytest.raises(InUseError, match=r"another process is writing there .* or give another --out"):
            start(log, out, resume=resume)
    waiting.go_on.set()
    first.join()
    assert Run(out).metrics == trained.metrics
    assert not is_held(out)
    assert not (out / LOCK_FILE).exists()


def test_runs_without_a_name_take_different_directories(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with run_lock(Path("runs/small-popularity-seed1")):
        assert start(log, None, "popularity").directory == Path("runs/small-popularity-seed1-2")
    assert start(log, None, "popularity").directory == Path("runs/small-popularity-seed1")


def _locked(out: Path) -> None:
    (out / LOCK_FILE).write_text('{"pid": 1}')


def _history(out: Path) -> None:
    (out / "history.jsonl").write_text('{"phase": "tr')


def _half_a_checkpoint(out: Path) -> None:
    (out / "checkpoint").mkdir()
    (out / "checkpoint" / ".state.safetensors.0123456789ab.part").write_bytes(b"half")


def _best_alone(out: Path) -> None:
    (out / "checkpoint").mkdir()
    (out / "checkpoint" / "best-0-1.safetensors").write_bytes(b"whole")
    _history(out)
    _locked(out)


def _model_alone(out: Path) -> None:
    (out / "model.safetensors").write_bytes(b"whole")


@pytest.mark.parametrize(
    "leave", [lambda out: None, _locked, _history, _half_a_checkpoint, _best_alone, _model_alone]
)
def test_a_run_that_ended_before_its_first_checkpoint_starts_anew(
    leave: Callable[[Path], None], trained: Run, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    leave(out)
    with pytest.warns(MclrecWarning, match="ended before its first checkpoint and starts from the beginning"):
        run = start(log, out, resume=True)
    assert run.metrics == trained.metrics
    names = ({path.name for path in one.rglob("*")} for one in (out, trained.directory))
    left, expected = (
        {name for name in own if "validation" not in name} for own in names
    )  # other tests add validation ranks to the shared run
    assert left == expected


def test_a_directory_with_a_lock_file_alone_is_empty(trained: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    _locked(tmp_path / "run")
    assert start(log, tmp_path / "run").metrics == trained.metrics


def test_what_is_no_run_is_not_trained_over(log: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("three years")
    with pytest.raises(ConfigError, match="holds no run to resume; give another --out"):
        start(log, tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_trained_model_is_not_trained_over(trained: Run, log: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained.directory, tmp_path / "run"))
    shutil.rmtree(out / "checkpoint")
    with pytest.raises(ConfigError, match="has a trained model and no checkpoint to resume from"):
        start(log, out, resume=True)
    assert Run(out).metrics == trained.metrics


@pytest.mark.slow
def test_what_writes_into_a_run_waits_for_its_training(trained: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.directory, tmp_path / "run")))
    (run.directory / "ranks-test-U.parquet").unlink()
    with run_lock(run.directory):
        for write in (evaluate_run, export_vectors):
            with pytest.raises(InUseError, match="another process is writing there"):
                write(run.directory)
        export_vectors(run.directory, tmp_path / "elsewhere")
    assert not (run.directory / "vectors").exists()
    assert evaluate_run(run).metrics == run.metrics["U"]
    assert len(run.ranks()) == 40


def test_a_run_that_cannot_be_written_is_measured_all_the_same(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Path(shutil.copytree(trained.directory, tmp_path / "run")))

    def refuse(*_: object) -> None:
        raise OutputError("run: cannot be written: Read-only file system")

    monkeypatch.setattr(Lock, "acquire", refuse)
    with pytest.warns(
        MclrecWarning, match=r"the ranks could not be saved: run: cannot be written: Read-only"
    ):
        result = evaluate_run(run)
    assert result.metrics == trained.metrics["U"]


def test_exported_vectors_belong_to_weights(trained: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained.directory, tmp_path / "run"))
    out = export_vectors(run)
    discard_stale(run)
    assert read_sealed(out / VECTORS_RECORD)["weights"] == trained.record.weights
    edit_sealed(out / VECTORS_RECORD, lambda record: record.update(weights="others"))
    with pytest.warns(MclrecWarning, match="vectors of the earlier weights were removed"):
        discard_stale(run)
    assert not out.exists()
    assert list(run.glob("ranks-*.parquet"))
