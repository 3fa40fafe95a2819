"""A run's directory: its contents match the training, and nothing of value is overwritten."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import at_random_times, tiny_data, write_log
from tests.runs.conftest import READING, SASREC, log_source, start

from mclrec import __version__
from mclrec.data.loading import prepare
from mclrec.data.returns import PROTOCOLS, share_of_returns
from mclrec.data.split import Targets, make_split
from mclrec.errors import ConfigError, DataError, MclrecError, MclrecWarning, OutputError, TrainingError
from mclrec.evaluation.protocol import load_ranks
from mclrec.inference.model import Model
from mclrec.models import registry
from mclrec.models.model_config import STORED
from mclrec.models.tensors import load_tensors, save_tensors
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.saved_settings import came_later
from mclrec.runs.training_run import resolve_device, train
from mclrec.training import step_graphs
from mclrec.training.checkpoint import CHECKPOINT
from mclrec.training.config import TrainingConfig
from mclrec.training.identity import SETTING
from mclrec.training.reporting import SilentReporter


class Stopper(SilentReporter):
    """A reporter that sends SIGINT after a number of steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def stepped(self, losses: dict[str, float]) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def results(run: Run) -> dict[str, Any]:
    """Test results in ``metrics.json``, without durations."""
    measured = run.record.results["test"]
    return {label: one.model_dump(exclude={"seconds"}) for label, one in measured.items()}


def test_directory(trained: Run) -> None:
    assert set(content(trained.directory)) == {
        "README.md",
        "baselines.json",
        f"checkpoint/best-0-{trained.record.best_epoch}.safetensors",
        "checkpoint/state.safetensors",
        "config.json",
        "history.jsonl",
        "intake.json",
        "items.parquet",
        "metrics.json",
        "model.safetensors",
        "ranks-test-F.parquet",
        "ranks-test-U.parquet",
    }


def test_config_tells_where_the_model_comes_from(trained: Run, log: Path) -> None:
    info, data = trained.info, tiny_data()
    assert (info.model, info.seed, info.split, info.warm_start) == ("sasrec", 1, "leave-one-out", None)
    assert (info.num_items, info.config["hidden_size"], info.training["epochs"]) == (15, 8, 2)
    assert info.data.model_dump() == {
        "name": "small",
        "fingerprint": data.fingerprint,
        "times": at_random_times(data).times_checksum,
        "kind": "file",
        "place": str(log),
        "path": str(log),
        "reading": READING.model_dump(),
        "log": None,
        "parts": None,
    }
    assert info.recipe.section == "auto"
    assert info.recipe.source
    assert (info.versions["mclrec"], info.versions["torch"]) == (__version__, torch.__version__)
    read = "--min-count 1 --user-column user --item-column item --time-column time"
    assert info.command.startswith(f"mclrec train {log} {read} --model sasrec --seed 1 --set hidden_size=8")


def test_numbers_are_those_of_the_saved_model(trained: Run, tmp_path: Path) -> None:
    record = trained.record
    assert (record.status, record.epochs, record.device) == (
        "finished",
        2,
        resolve_device("auto").type,
    )
    best = trained.history[record.best_epoch - 1]
    assert best["best"]
    assert record.best_validation == best["metrics"]["ndcg@10"]
    for label, seen in (("U", "keep"), ("F", "drop")):
        measured = record.results["test"][label]
        assert measured.protocol.label == label
        assert (measured.fingerprint, measured.num_targets) == (tiny_data().fingerprint, 40)
        ranks = trained.ranks("test", label).ranks.tolist()
        result = evaluate_run(trained.directory, seen=seen)  # type: ignore[arg-type]
        assert trained.metrics[label] == result.metrics
        assert ranks == result.ranks.tolist()
    assert trained.metrics["U"] != trained.metrics["F"]
    copy = shutil.copytree(trained.directory, tmp_path / "copy")  # other tests check the files of a training
    validation = evaluate_run(copy, part="validation", seen=trained.info.training["seen"])
    assert validation.metrics["NDCG@10"] == pytest.approx(record.best_validation)


def test_card(trained: Run) -> None:
    card = (trained.directory / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# SASRec on small\n")
    assert trained.info.command in card
    assert tiny_data().fingerprint in card
    for label in ("U", "F"):
        values = " | ".join(f"{value:.4f}" for value in trained.metrics[label].values())
        assert f"| sasrec | {values} |" in card
        assert f"Test, {PROTOCOLS[label].title}." in card
    assert card.count("| markov | 0.") == card.count("| popularity | 0.") == 2
    assert "| left | " in card


def test_same_seed_same_model_and_another_another(trained: Run, log: Path, tmp_path: Path) -> None:
    def tensors(run: Run) -> dict[str, torch.Tensor]:
        return load_tensors(run.directory / "model.safetensors")[0]

    again, other = start(log, tmp_path / "again"), start(log, tmp_path / "other", seed=2)
    first = tensors(trained)
    assert all(torch.equal(first[name], value) for name, value in tensors(again).items())
    assert not all(torch.equal(first[name], value) for name, value in tensors(other).items())
    assert results(again) == results(trained)
    assert (load_ranks(other.directory / "ranks-test-U.parquet").about["seed"], other.info.seed) == (2, 2)


def test_time_split(log: Path, tmp_path: Path) -> None:
    run = start(log, tmp_path / "run", split="time")
    assert run.info.split == "time"
    about = run.record.results["test"]["U"]
    assert about.protocol.split.startswith("by-time(")
    assert 0 < about.num_targets < 40
    assert evaluate_run(run.directory).metrics == run.metrics["U"]


def test_a_model_that_counts(log: Path, tmp_path: Path) -> None:
    run = start(log, tmp_path / "run", "markov")
    assert (run.record.best_epoch, run.record.epochs, run.history) == (0, 0, [])
    assert run.metrics["U"]["HR@10"] > 0.7
    assert run.info.config["window"] == Model.load(run.directory).info["config"]["window"]


# ----------------------------------------------------------------------------- directories


def test_directories_are_numbered(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"runs/small-sasrec-seed1: no run to resume; give its directory with --out"
    ):
        start(log, None, resume=True)
    assert not Path("runs").exists()
    names = [start(log, None, "popularity", seed=3).directory.as_posix() for _ in range(3)]
    assert names == [f"runs/small-popularity-seed3{end}" for end in ("", "-2", "-3")]
    start(log, None)
    second = start(log, None)
    before = second.record
    assert start(log, None, resume=True).directory == second.directory
    assert second.record.results.keys() == before.results.keys()


def test_a_directory_in_use_is_left_alone(log: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(ConfigError, match=r"is not empty: continue with --resume, or give another --out"):
        start(log, tmp_path)
    with pytest.raises(OutputError, match=r"thesis\.txt: is a file, but a folder is to be written"):
        start(log, tmp_path / "thesis.txt")
    assert content(tmp_path) == {"thesis.txt": b"three years"}


@pytest.mark.parametrize(
    "request_",
    [
        TrainRequest("gone.csv"),
        TrainRequest(tiny_data(), "mclerc"),
        TrainRequest(tiny_data(), device="gpu"),
        TrainRequest(tiny_data(), split="random"),
        TrainRequest(tiny_data(), "sasrec", settings={"hidden_siz": 3}),
        TrainRequest(tiny_data(), "sasrec", warm_start=Path("gone")),
        TrainRequest(tiny_data(), "sasrec", resume=True),
        TrainRequest(tiny_data(longest=3), "sasrec"),
        TrainRequest(tiny_data(shortest=2, longest=2), "popularity"),
    ],
)
def test_a_refused_request_leaves_nothing(
    request_: TrainRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    fields = {name: getattr(request_, name) for name in TrainRequest.__dataclass_fields__}
    with pytest.raises(MclrecError) as caught:
        train(TrainRequest(**fields | {"out": out}))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="this machine has no GPU that torch can use; use --device cpu"):
        resolve_device("cuda")
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")


# ------------------------------------------------------------------------------ resumption


def test_an_interrupted_run_is_usable_and_goes_on(trained: Run, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    request = TrainRequest(log_source(log), "sasrec", settings=SASREC, out=out)
    run = train(request, Stopper(after=3))
    assert (run.record.status, run.record.results, run.metrics) == ("interrupted", {}, {})
    assert "Not measured on the test split" in (out / "README.md").read_text(encoding="utf-8")
    assert len(run.model.recommend(["item 003"], 5)) == 5
    finished = start(log, out, resume=True)
    assert finished.record.status == "finished"
    assert results(finished) == results(trained)


def test_the_time_of_what_was_interrupted_counts(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clock, late = tmp_path / "run", time.perf_counter, []

    class Late(Stopper):
        def stepped(self, losses: dict[str, float]) -> None:
            late.append(1000)
            super().stepped(losses)

    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock() + sum(late))
        train(TrainRequest(log_source(log), "sasrec", settings=SASREC, out=out), Late(after=3))
    assert (
        3000 <= start(log, out, resume=True).record.seconds < 4000
    )  # the resumed part may take less than 0.1 s


def test_a_resumed_run_must_be_the_same(trained: Run, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    start(log, out, settings={"epochs": 1})
    before = content(out)
    other = write_log(tmp_path / "other.csv", at_random_times(tiny_data(seed=1)))
    changes: dict[str, dict[str, Any]] = {
        "another seed: the run has 1, now it is 2": {"seed": 2},
        "another setting hidden_size: the run has 8, now it is 16": {"settings": {"hidden_size": 16}},
        "another setting batch_size": {"settings": {"batch_size": 8}},
        "another split: the run has 'leave-one-out', now it is 'time'": {"split": "time"},
        "another warm_start: the run has None": {"warm_start": trained.directory},
        "another model: the run has 'sasrec'": {"model": "mclrec", "settings": SASREC},
    }
    for message, changed in changes.items():
        with pytest.raises(TrainingError, match=message):
            start(log, out, resume=True, **changed)
    with pytest.raises(TrainingError, match="another data"):
        start(other, out, resume=True)
    assert content(out) == before
    # Fewer or more epochs are the same run.
    assert results(start(log, out, resume=True)) == results(trained)


def test_a_run_of_an_earlier_version_goes_on(trained: Run, log: Path, tmp_path: Path) -> None:
    """Its checkpoint lacks later settings, which are compared by the values that were in effect then."""
    out = tmp_path / "run"
    start(log, out, settings={"epochs": 1})
    state = out / CHECKPOINT / "state.safetensors"
    tensors, metadata = load_tensors(state)
    identity = json.loads(metadata["identity"])
    later = came_later("sasrec")
    older = {key: value for key, value in identity.items() if key not in later or value != later[key]}
    assert {"setting validation_targets"} <= identity.keys() - older.keys()
    save_tensors(state, tensors, metadata | {"identity": json.dumps(older)})
    with pytest.raises(TrainingError, match=r"smoothing: .* 0\.0, .* with --set label_smoothing=0\.0, or"):
        start(log, out, resume=True, settings={"label_smoothing": 0.1})
    assert results(start(log, out, resume=True)) == results(trained)


@pytest.mark.parametrize("model", registry.names())
def test_settings_that_came_later_have_a_former_value_that_they_can_have(model: str) -> None:
    kind = registry.model_class(model).config_type
    former = {key.removeprefix(SETTING): value for key, value in came_later(model).items()}
    training = former.keys() & TrainingConfig.model_fields.keys()
    TrainingConfig.model_validate({key: former[key] for key in training})
    kind.model_validate({key: former[key] for key in former.keys() - training}, context=STORED)


def test_a_run_by_graphs_goes_on_where_there_are_none(
    trained: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingConfig, "check_device", lambda *_: None)
        patch.setattr(step_graphs, "reason_against", lambda _: "there is no device")
        with pytest.warns(MclrecWarning, match="no effect"):
            start(log, out, settings={"epochs": 1, "graphs": True})
    assert results(start(log, out, resume=True)) == results(trained)


def test_a_cycle_of_the_rate_is_not_another_one_after_an_interruption(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = start(log, out, settings={"cycle": "whole"})
    assert run.history[0]["learning_rates"] != run.history[1]["learning_rates"]
    with pytest.raises(TrainingError, match="another setting cycle: the run has 2, now it is 3"):
        start(log, out, resume=True, settings={"cycle": "whole", "epochs": 3})
    # The run continues at the last rate of the cycle.
    longer = start(log, out, resume=True, settings={"cycle": 2, "epochs": 3})
    assert longer.history[2]["learning_rates"] == longer.history[1]["learning_rates"]


def test_nothing_to_resume(log: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume; leave --resume out to start one"):
        start(log, tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_numbers_of_earlier_weights_do_not_outlive_them(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = start(log, out, settings={"epochs": 1})
    evaluate_run(run, part="validation")
    longer = SASREC | {"epochs": 500}
    request = TrainRequest(log_source(log), "sasrec", settings=longer, out=out, resume=True)
    train(request, Stopper(after=60))
    assert (run.record.status, run.metrics) == ("interrupted", {})
    assert not list(out.glob("ranks-*"))
    assert "Not measured on the test split" in (out / "README.md").read_text(encoding="utf-8")
    again = evaluate_run(run, part="validation")
    assert run.ranks("validation").ranks.tolist() == again.ranks.tolist()


def test_ranks_of_another_protocol_are_told(trained: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.directory, tmp_path / "run")))
    shutil.copy(run.directory / "ranks-test-F.parquet", run.directory / "ranks-test-U.parquet")
    assert len(run.ranks("test", "F")) == 40
    with pytest.raises(DataError, match=r"ranks-test-U\.parquet: its ranks were measured in another way"):
        run.ranks("test", "U")


def test_ranks_that_still_hold_stay(trained: Run, log: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.directory, tmp_path / "run")))
    evaluate_run(run, part="validation")
    assert results(start(log, run.directory, resume=True)) == results(trained)
    assert len(run.ranks("validation")) == 40


# ------------------------------------------------------------------------------ warm start and data


def test_from_an_earlier_run(trained: Run, tmp_path: Path) -> None:
    """A newer log has two more items: known items keep their vectors, matched by outside id."""
    newer = write_log(tmp_path / "newer.csv", at_random_times(tiny_data(items=17, seed=4)))
    run = start(newer, tmp_path / "run", warm_start=trained.directory, settings={"learning_rate": 1e-9})
    assert run.info.warm_start == str(trained.directory)
    old, new = (
        load_tensors(one.directory / "model.safetensors")[0]["encoder.items.weight"] for one in (trained, run)
    )
    torch.testing.assert_close(new[:16], old[:16], atol=1e-6, rtol=0)
    assert (len(old), len(new)) == (17, 19)
    torch.testing.assert_close(new[-1], old[-1], atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match="cannot continue a sasrec model"):
        start(newer, tmp_path / "other", "mclrec", warm_start=trained.directory)
    assert not (tmp_path / "other").exists()


def test_memory_and_file_give_the_same_data(log: Path) -> None:
    assert prepare(log, min_count=1).fingerprint == tiny_data().fingerprint


def test_data_from_memory_cannot_be_evaluated_again_without_them(log: Path, tmp_path: Path) -> None:
    run = train(TrainRequest(tiny_data(), "popularity", out=tmp_path / "run"))
    assert run.info.data.kind == "memory"
    with pytest.raises(DataError, match=r"tiny: came from memory .*give its place with data"):
        evaluate_run(run.directory)


@pytest.mark.parametrize(("split", "counts"), [("leave-one-out", 1), ("time", 2)])
def test_returns_are_counted_once(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, counts: int
) -> None:
    """Preparation counts them for leave-one-out; another split is counted once more, but never for recipe or plan."""
    counted = []

    def counting(targets: Targets) -> float | None:
        counted.append(len(targets))
        return share_of_returns(targets)

    for name in ("mclrec.data.returns.share_of_returns", "mclrec.data.measures.share_of_returns"):
        monkeypatch.setattr(name, counting)
    settings = SASREC | {"epochs": 1}
    run = train(
        TrainRequest(log, "sasrec", "auto", settings, split=split, reading=READING, out=tmp_path / "run")
    )
    assert len(counted) == counts
    intake = run.intake
    assert intake is not None
    assert intake.left.returns == share_of_returns(make_split(log_source(log), split).validation)
