"""Final models: trained like the measured run, but on all data, and never mistaken for measured ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.cli.conftest import Cli, cli
from tests.helpers import at_random_times, edit_sealed, tiny_data, write_log
from tests.runs.conftest import READING, SASREC, log_source, start
from tests.runs.test_training_run import Stopper

from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.origin import Reading
from mclrec.data.split import EVERYTHING, make_split
from mclrec.errors import ConfigError, EvaluationError, ModelFileError, TrainingError
from mclrec.models.tensors import load_tensors
from mclrec.report.page import write_report
from mclrec.runs.comparison import compare_runs
from mclrec.runs.final import final_request, finalize, measured_run
from mclrec.runs.recipe_choice import recipe_of
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

__all__ = ["cli"]

SHORT = SASREC | {"epochs": 6, "patience": 2, "average": 3.0}


def tensors(run: Run) -> dict[str, torch.Tensor]:
    return load_tensors(run.directory / "model.safetensors")[0]


@pytest.fixture(scope="module")
def measured(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start(log, tmp_path_factory.mktemp("measured") / "run", settings=SHORT)


@pytest.fixture(scope="module")
def final(measured: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finalize(measured, out=tmp_path_factory.mktemp("final") / "run", progress=False)


def test_the_epochs_that_were_chosen_have_the_rates_that_they_had(log: Path, tmp_path: Path) -> None:
    run = start(log, tmp_path / "run", settings=SHORT | {"cycle": "whole", "epochs": 4})
    chosen = run.record.best_epoch
    final = finalize(run, out=tmp_path / "final", progress=False)
    assert (final.info.training["cycle"], final.info.training["epochs"]) == (4, chosen)
    rates = [[one["learning_rates"] for one in each.history] for each in (run, final)]
    for one, other in zip(*rates, strict=False):
        assert one["all"] == pytest.approx(other["all"], rel=0.4)  # an epoch has a few more steps


def test_nothing_is_held_out() -> None:
    data = tiny_data()
    split = make_split(data, EVERYTHING)
    assert split.training is data
    assert (len(split.validation), len(split.test)) == (0, 0)


def test_a_final_model_is_the_measured_one_on_everything(measured: Run, final: Run, log: Path) -> None:
    before, info, record = measured.info, final.info, final.record
    chosen = measured.record.best_epoch
    assert (info.config, info.seed, info.model) == (before.config, before.seed, before.model)
    assert info.training == before.training | {"epochs": chosen}
    assert recipe_of(measured, EVERYTHING).training.cycle is None
    assert (record.epochs, record.best_validation, record.results) == (chosen, None, {})
    assert (info.split, info.data.fingerprint) == (EVERYTHING, before.data.fingerprint)
    assert [epoch["metrics"] for epoch in final.history] == [{}] * chosen
    assert final.model.info["items"] == 15
    assert len(final.model.recommend(["item 003"], 5)) == 5
    assert info.command.endswith(f"--final {measured.directory}")
    assert str(log) in info.command


def test_the_last_weights_are_averaged_as_there(measured: Run, final: Run, tmp_path: Path) -> None:
    """The measured run validated averaged weights, so the final model keeps the average, not the newest weights."""
    request = final_request(measured, None, READING, out=tmp_path / "run")
    assert request.like is not None
    parts = load_tensors(final.directory / "checkpoint/state.safetensors")[0]
    name = "encoder.items.weight"
    assert torch.equal(tensors(final)[name], parts[f"average/{name}"])
    assert not torch.equal(tensors(final)[name], parts[f"model/{name}"])


def test_items_of_the_end_are_learnt(tmp_path: Path) -> None:
    """The measured model counts only training interactions; the final model also counts the held-out ones."""
    data = tiny_data()
    measured = start(
        write_log(tmp_path / "log.csv", at_random_times(data)), tmp_path / "markov", "popularity"
    )
    final = finalize(measured, out=tmp_path / "final", progress=False)
    assert (measured.record.best_epoch, final.record.best_epoch) == (0, 0)
    held = make_split(data, "leave-one-out")
    counts = [int(tensors(run)["popularity"].sum()) for run in (measured, final)]
    assert counts == [held.training.num_interactions, data.num_interactions]


def test_who_was_measured_is_told(measured: Run, final: Run) -> None:
    by = final.info.measured_by
    assert by is not None
    assert (by.run, by.test) == (str(measured.directory.resolve()), measured.metrics)
    assert (by.best_epoch, by.best_validation) == (
        measured.record.best_epoch,
        measured.record.best_validation,
    )
    card = (final.directory / "README.md").read_text(encoding="utf-8")
    assert "This model was not measured." in card
    assert by.run in card
    assert "| U | " + " | ".join(f"{value:.4f}" for value in measured.metrics["U"].values()) in card
    assert final.model.info["measured_by"]["run"] == by.run
    assert measured.info.measured_by is None
    assert "measured_by" not in measured.model.info


def test_a_lost_key_makes_no_measured_run_of_it(final: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(final.directory, tmp_path / "run")))
    edit_sealed(run.directory / "config.json", lambda config: config.pop("measured_by"))
    with pytest.raises(ModelFileError, match="split everything does not match its measured_by"):
        _ = run.info


def test_it_cannot_be_measured(measured: Run, final: Run, tmp_path: Path) -> None:
    told = f"is a final model, which learnt from all interactions.*{measured.directory} was measured in its place"
    for measure in (
        lambda: evaluate_run(final),
        lambda: evaluate_run(final, part="validation", seen="drop"),
        lambda: final.ranks("test", "U"),
        lambda: compare_runs([measured, final]),
        lambda: compare_runs([final]),
        lambda: write_report([final.directory], tmp_path / "report.html"),
    ):
        with pytest.raises(EvaluationError, match=told):
            measure()


def test_a_newer_log_is_read_as_the_runs_own(measured: Run, tmp_path: Path) -> None:
    newer = write_log(tmp_path / "newer.csv", at_random_times(tiny_data(items=17, seed=4)))
    run = finalize(measured, newer, out=tmp_path / "run", progress=False)
    assert run.info.num_items == 17
    assert (run.info.data.name, run.info.data.reading) == ("newer", READING)


def test_it_goes_on(measured: Run, final: Run, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = train(final_request(measured, log, READING, out=out), Stopper(after=2))
    assert not run.record.finished
    finished = finalize(measured, log, out=out, resume=True, progress=False)
    assert finished.record.finished
    assert all(torch.equal(tensors(final)[name], value) for name, value in tensors(finished).items())
    other = start(log, tmp_path / "measured", settings=SHORT, seed=2)
    with pytest.raises(TrainingError, match="cannot resume with another"):
        finalize(other, log, out=out, resume=True, progress=False)


def test_an_interrupted_run_has_chosen_nothing(log: Path, tmp_path: Path) -> None:
    half = train(TrainRequest(log_source(log), "sasrec", settings=SASREC, out=tmp_path / "half"), Stopper(2))
    with pytest.raises(ConfigError, match="was interrupted before validation chose"):
        finalize(half, out=tmp_path / "other", progress=False)


def test_final_of_final_is_refused_and_leads_to_the_measured_one(
    measured: Run, final: Run, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"is a final model already; give .*{measured.directory}"):
        finalize(final, out=tmp_path / "run", progress=False)
    assert measured_run(final).directory == measured.directory.resolve()
    assert measured_run(measured).directory == measured.directory.resolve()
    link = tmp_path / "live"
    link.symlink_to(final.directory)
    assert measured_run(Run(link)).directory == measured.directory.resolve()


def test_a_measuring_run_that_is_gone_is_told(log: Path, tmp_path: Path) -> None:
    measured = start(log, tmp_path / "run", "popularity")
    final = finalize(measured, out=tmp_path / "final", progress=False)
    measured.directory.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="no longer at"):
        measured_run(final)


def test_nothing_is_measured_that_has_seen_its_targets(final: Run, log: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has learnt from what this run holds out; start from"):
        start(log, tmp_path / "run", warm_start=final)
    assert not (tmp_path / "run").exists()


def test_holding_nothing_out_is_for_final_models(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown split 'everything'"):
        train(TrainRequest(tiny_data(), "popularity", split=EVERYTHING, out=tmp_path / "run"))


@pytest.mark.parametrize("name", ["mclrec", "s3rec", "bpr"])
def test_other_models(name: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"s3rec": {"pretrain_epochs": 1}}.get(name, {})
    small = {"hidden_size": 8, "epochs": 2} | ({} if name == "bpr" else {"inner_size": 8}) | more
    run = train(TrainRequest(tiny_data(), name, settings=small, out=tmp_path / "run"))
    final = finalize(run, tiny_data(), out=tmp_path / "final", progress=False)
    trained = [epoch["phase"] for epoch in run.history][: -(2 - run.record.best_epoch) or None]
    assert [epoch["phase"] for epoch in final.history] == trained
    assert len(final.model.recommend(["item 003"], 5)) == 5


# ------------------------------------------------------------------------- command line


def test_the_command(cli: Cli, measured: Run, log: Path, tmp_path: Path) -> None:
    done = cli("train", log, "--final", measured.directory, "--out", tmp_path / "final", "-q")
    assert done.status == 0
    assert "a final model: it learnt from everything and was not measured" in done.out
    assert str(measured.directory) in done.out
    run = Run(tmp_path / "final")
    assert run.info.data.fingerprint == measured.info.data.fingerprint
    refused = cli("evaluate", run.directory)
    assert refused.status == 2
    assert "is a final model" in refused.err


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "mclrec"],
        ["--recipe", "auto"],
        ["--set", "epochs=3"],
        ["--seed", "1"],
        ["--split", "leave-one-out"],
        ["--warm-start", "runs/x"],
    ],
)
def test_what_the_measured_run_decides_is_refused(
    words: list[str], cli: Cli, measured: Run, log: Path, tmp_path: Path
) -> None:
    done = cli("train", log, "--final", measured.directory, "--out", tmp_path / "final", *words)
    assert (done.status, done.out) == (2, "")
    assert f"{words[0]} does not go with --final" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "final").exists()


def test_reading_of_frames_is_kept(log: Path, tmp_path: Path) -> None:
    """A run on a data frame also records its reading options, which then apply to the next day's frame."""
    frame = pl.read_csv(log).rename({"item": "sku"})
    reading = Reading(min_count=1, columns=Columns(item="sku"))
    run = train(TrainRequest(frame, "popularity", out=tmp_path / "run", reading=reading))
    final = finalize(run, frame, out=tmp_path / "final", progress=False)
    assert final.info.data.fingerprint == load(log, **READING.options()).fingerprint
