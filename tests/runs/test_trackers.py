"""MLflow and Weights & Biases read back what a run reports to them, without a network; ``make test-adapters``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runs.conftest import SASREC, log_source

from mclrec.errors import ConfigError, MclrecWarning
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train
from mclrec.training.reporting import EpochRecord, EpochStart
from mclrec.training.trackers import MLflowTracker

pytestmark = [pytest.mark.slow, pytest.mark.adapters]
START = EpochStart("train", 1, 1, 1)
RECORD = EpochRecord("train", 1, 1.5, {"rec": 2.0}, {"ndcg@10": 0.5}, True, {"all": 1e-3})


@pytest.fixture(autouse=True)
def of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove tracker settings of the person running the tests from the environment."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


def resumed(log: Path, out: Path, tracker: str) -> Run:
    """A run trained for two epochs and resumed to four."""
    for epochs in (2, 4):
        settings = SASREC | {"epochs": epochs}
        train(
            TrainRequest(
                log_source(log), "sasrec", settings=settings, out=out, track=tracker, resume=epochs == 4
            )
        )
    return Run(out)


def losses(run: Run) -> list[tuple[int, Any]]:
    return [
        (number, pytest.approx(epoch["losses"]["rec"])) for number, epoch in enumerate(run.history, start=1)
    ]


def test_mlflow_has_the_history_of_a_resumed_run_in_one_run(log: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run = resumed(log, tmp_path / "run", "mlflow")
    client = MlflowClient(f"sqlite:///{run.directory / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mclrec")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["hidden_size"] == "8"
    points = client.get_metric_history(found.info.run_id, "loss/rec")
    assert [(point.step, point.value) for point in points] == losses(run)
    assert {"validation/ndcg_10", "learning_rate/all", "seconds"} <= set(found.data.metrics)


def test_a_training_that_fails_says_so_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # treated as unset

    def fail() -> None:
        with MLflowTracker(tmp_path / "mlflow", {"epochs": 1}, "ndcg@10") as tracker:
            tracker.epoch_finished(RECORD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    [found] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert found.info.status == "FAILED"
    assert str(tmp_path / "mlflow" / "artifacts") in found.info.artifact_uri


def test_what_cannot_be_opened_is_an_error_and_what_is_lost_later_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MLflowTracker(tmp_path / "mlflow", {}, "ndcg@10")
    tracker.epoch_started(START)
    monkeypatch.setattr(tracker, "_run", "of nobody")
    with pytest.warns(MclrecWarning, match=r"mlflow could not log an epoch, which is in history\.jsonl"):
        tracker.epoch_finished(RECORD)
    tracker.epoch_finished(RECORD)  # the warning appears only once
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://place")
    with pytest.raises(ConfigError, match="--track mlflow: nonsense://place"):
        MLflowTracker(tmp_path / "another", {}, "ndcg@10").epoch_started(START)


def test_wandb_keeps_the_history_offline(log: Path, tmp_path: Path) -> None:
    run = resumed(log, tmp_path / "run", "wandb")
    folders = sorted((run.directory / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    kept = json.loads((run.directory / "wandb" / "run.json").read_text(encoding="utf-8"))["run_id"]
    assert all(folder.name.endswith(kept) for folder in folders)
    points = [row for folder in folders for row in rows_of(folder)]
    assert [(row["_step"], row["loss/rec"]) for row in points] == losses(run)
    assert {"validation/ndcg@10", "learning_rate/all", "seconds"} <= set(points[0])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of an offline run, as `wandb sync` would send them."""
    from wandb.proto import wandb_internal_pb2

    [path] = folder.glob("*.wandb")
    found = []
    for data in entries(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return found


def entries(log: bytes) -> Iterator[bytes]:
    """The entries of a log in LevelDB's format: blocks of 32 KiB of fragments with checksum, length and type."""
    place, entry = 7, b""  # after the file's own header
    while place + 7 <= len(log):
        if (left := -place % 32768) and left < 7:
            place += left
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        entry += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole entry, or its last fragment
            yield entry
            entry = b""
