"""Evaluating a run again: only on its own data, with any part, protocol and cutoffs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers import tiny_data, write_log
from tests.runs.conftest import start

from mclrec.errors import ConfigError, DataError, EvaluationError, ModelFileError
from mclrec.evaluation.metrics import summarise
from mclrec.evaluation.protocol import load_ranks
from mclrec.runs.judging import judge
from mclrec.runs.remeasure import evaluate_run, run_data
from mclrec.runs.run import Run


@pytest.fixture
def run(log: Path, tmp_path: Path) -> Run:
    """A Markov model trained on a copy of the log."""
    return start(Path(shutil.copy(log, tmp_path / "small.csv")), tmp_path / "run", "markov")


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize(("seen", "label"), [("keep", "U"), ("drop", "F")])
def test_parts_and_protocols(run: Run, part: str, seen: str, label: str) -> None:
    calls = []
    result = evaluate_run(
        run.directory,
        part=part,  # type: ignore[arg-type]
        seen=seen,  # type: ignore[arg-type]
        ks=(1, 3),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert list(result.metrics) == ["HR@1", "HR@3", "NDCG@1", "NDCG@3", "MRR@1", "MRR@3"]
    assert (result.protocol.part, result.protocol.label) == (part, label)
    assert result.metrics == summarise(result.ranks, (1, 3))
    assert calls[-1] == (40, 40)
    table = load_ranks(run.directory / f"ranks-{part}-{label}.parquet")
    assert table.ranks.tolist() == result.ranks.tolist()
    assert table.about["protocol"]["part"] == part
    assert run.ranks(part, label).same_targets(table)


def test_a_cut_beyond_the_catalogue(run: Run) -> None:
    with pytest.raises(EvaluationError, match="k = 16 is more than the catalogue's 15 items"):
        evaluate_run(run.directory, ks=(16,))
    assert evaluate_run(run.directory, ks=(15,)).metrics["HR@15"] == 1


def test_no_cutoffs_are_refused(run: Run) -> None:
    for measure in (lambda: evaluate_run(run, ks=()), lambda: judge([run], ks=[])):
        with pytest.raises(ConfigError, match="ks: the list is empty"):
            measure()


def test_data_that_changed_are_refused(run: Run, tmp_path: Path) -> None:
    ranks = (run.directory / "ranks-test-U.parquet").read_bytes()
    write_log(tmp_path / "small.csv", tiny_data(seed=1))
    with pytest.raises(DataError, match=r"^small: not the data that .*run was trained on: fingerprint"):
        evaluate_run(run.directory)
    assert (run.directory / "ranks-test-U.parquet").read_bytes() == ranks


def test_other_times_are_another_split_by_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "small.csv", tiny_data())
    assert run_data(run).num_users == 40  # leave-one-out ignores times
    by_time = run.info.model_copy(update={"split": "time"})
    monkeypatch.setattr(Run, "info", by_time)
    with pytest.raises(DataError, match="the sequences are the same, but their times differ"):
        run_data(run)


def test_data_that_moved_are_named(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved.csv"
    (tmp_path / "small.csv").rename(moved)
    with pytest.raises(DataError, match=r"small\.csv.*was trained on it: .*give its place with data"):
        evaluate_run(run.directory)
    assert evaluate_run(run.directory, data=str(moved)).metrics == run.metrics["U"]


def test_what_is_no_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such run directory"):
        evaluate_run(tmp_path / "gone")
    (run.directory / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"model\.safetensors: damaged"):
        evaluate_run(run.directory)
    with pytest.raises(ModelFileError, match="no such run directory"):
        Run(tmp_path / "gone").ranks()
    with pytest.raises(ModelFileError, match=r"ranks-validation-U\.parquet: no ranks"):
        run.ranks("validation")
