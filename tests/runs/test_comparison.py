"""Comparison: seeds of a system are grouped, systems distinguished, and only equal targets compared."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.helpers import at_random_times, tiny_data, write_log
from tests.runs.conftest import start

from mclrec.errors import EvaluationError, ModelFileError
from mclrec.evaluation.effects import nested_bootstrap, nested_interval
from mclrec.evaluation.metrics import per_user
from mclrec.evaluation.significance import holm
from mclrec.models import registry
from mclrec.randomness import Stream, generator
from mclrec.recipes import resolve
from mclrec.report.systems import open_study
from mclrec.runs.comparison import compare_runs, group_runs, seeds_note
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train


@pytest.fixture(scope="module")
def folder(log: Path, trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on the same log: popularity, two seeds of SASRec, two windows of Markov."""
    place = tmp_path_factory.mktemp("compare")
    start(log, place / "popularity", "popularity")
    (place / "sasrec-1").symlink_to(trained.directory)
    start(log, place / "sasrec-2", seed=2)
    for window in (1, 2):
        start(log, place / f"markov-{window}", "markov", settings={"window": window})
    return place


@pytest.mark.parametrize("model", ["itemknn", "ease"])
def test_a_closed_form_has_no_seeds_to_warn_of(log: Path, tmp_path: Path, model: str) -> None:
    rows = compare_runs([start(log, tmp_path / name, name) for name in ("popularity", model)])
    assert [row.trained for row in rows] == [False, False]
    assert seeds_note(rows) is None


def test_seeds_are_one_system(folder: Path) -> None:
    runs = [folder / name for name in ("popularity", "sasrec-1", "markov-1", "sasrec-2")]
    rows = compare_runs(runs)
    assert [(row.label, row.seeds) for row in rows] == [
        ("popularity", (1,)),
        ("sasrec", (1, 2)),
        ("markov", (1,)),
    ]
    assert (rows[0].difference, rows[0].p, rows[0].adjusted_p, rows[0].claim) == (None, None, None, None)
    ps = [row.p for row in rows[1:] if row.p is not None]
    assert [row.adjusted_p for row in rows[1:]] == holm(ps)
    assert [row.trained for row in rows] == [False, True, False]
    assert seeds_note(rows) == (
        "Few seeds of sasrec (2): below 5, what seeds add to intervals is only roughly known."
    )
    values = [per_user(Run(run).ranks().ranks, "ndcg", 10) for run in runs]
    for row, members in ((rows[1], [1, 3]), (rows[2], [2])):
        own = np.stack([values[index] for index in members])
        expected = nested_bootstrap(own, values[0], generator(0, Stream.BOOTSTRAP))
        assert row.finding is not None
        assert row.finding.effect == expected
        assert (row.difference, row.p) == (expected.difference.mean, expected.p)
        assert row.claim == row.finding.claim
        assert row.interval == nested_interval(own, generator(0, Stream.BOOTSTRAP))
        assert row.difference == pytest.approx(own.mean() - values[0].mean())
        assert row.metrics["NDCG@10"] == pytest.approx(own.mean())
    assert rows[2].p is not None
    assert rows[2].p < 0.01  # this log is generated from item transitions


@pytest.mark.parametrize(("items", "cuts", "main"), [(15, (5, 10), "NDCG@10"), (7, (5,), "NDCG@5")])
def test_cutoffs_are_within_the_catalogue(
    tmp_path: Path, items: int, cuts: tuple[int, ...], main: str
) -> None:
    log = write_log(tmp_path / "log.csv", tiny_data(items=items))
    runs = [start(log, tmp_path / name, name) for name in ("popularity", "markov")]
    rows = compare_runs(runs)
    assert list(rows[0].metrics) == [f"{name}@{k}" for name in ("HR", "NDCG") for k in cuts]
    assert rows[1].finding is not None
    assert rows[1].finding.metric == main
    with pytest.raises(EvaluationError, match=f"k = 20 is more than the catalogue's {items} items"):
        compare_runs(runs, metric="hr@20")


def test_settings_tell_systems_apart(folder: Path) -> None:
    rows = compare_runs([folder / "markov-2", folder / "popularity", folder / "markov-1"])
    assert [row.label for row in rows] == ["markov window=2", "popularity", "markov window=1"]


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ([{"window": 2}], ["markov window=2"]),  # distinguished from the baseline Markov
        ([{"window": 1}, {"window": 2}], ["markov window=1", "markov window=2"]),
        ([{"hidden_size": 8}, {"hidden_size": 4}], ["sasrec hidden_size=8", "sasrec hidden_size=4"]),
        (
            [{"hidden_size": 8}, {"hidden_size": 4, "epochs": 3}],
            ["sasrec hidden_size=8 epochs=2", "sasrec hidden_size=4 epochs=3"],
        ),
        ([{"seed": 1}, {"seed": 2, "checkpoint_minutes": 9.0}], ["sasrec"]),  # one system with two seeds
    ],
)
def test_names_say_what_differs(trained: Run, changes: list[dict[str, Any]], labels: list[str]) -> None:
    """Names are derived from the saved settings of runs alone, so the runs here are fakes with such settings."""
    model = labels[0].partition(" ")[0]
    usual = {"epochs": 2, "checkpoint_minutes": 5.0}
    runs: list[Any] = []
    for change in changes:
        settings = {key: value for key, value in change.items() if key not in (*usual, "seed")}
        info = trained.info.model_copy(
            update={
                "model": model,
                "seed": change.get("seed", 1),
                "config": resolve(model, None, None, settings).config.model_dump(mode="json", by_alias=True),
                "training": {
                    **trained.info.training,
                    **usual,
                    **{key: change[key] for key in usual if key in change},
                },
            }
        )
        runs.append(SimpleNamespace(info=info, directory=Path(str(len(runs)))))
    groups = group_runs(runs)
    assert list(groups) == labels
    assert sorted(place for members in groups.values() for place in members) == list(range(len(runs)))


def test_protocol_metric_and_part(folder: Path) -> None:
    runs = [folder / "popularity", folder / "markov-1"]
    kept, dropped = compare_runs(runs), compare_runs(runs, seen="drop", metric="hr@5")
    assert kept[1].metrics != dropped[1].metrics
    assert dropped[1].difference == pytest.approx(dropped[1].metrics["HR@5"] - dropped[0].metrics["HR@5"])
    with pytest.raises(ModelFileError, match="not measured in this way; see `mclrec evaluate --help`"):
        compare_runs(runs, part="validation")
    for run in runs:
        evaluate_run(run, part="validation")
    assert len(compare_runs(runs, part="validation")) == 2


def test_a_run_of_an_earlier_version_differs_by_what_it_did(folder: Path) -> None:
    """A setting that is missing from an earlier version's run has the value that was in effect then."""
    info = Run(folder / "sasrec-1").info
    before = registry.model_class(info.model).config_type.before()
    kept = {key: value for key, value in info.config.items() if key not in before or value != before[key]}
    assert len(kept) < len(info.config)
    older = info.model_copy(update={"config": kept, "seed": 7})
    runs: list[Any] = [SimpleNamespace(info=one, directory=Path(str(one.seed))) for one in (info, older)]
    assert group_runs(runs) == {"sasrec": [0, 1]}


def test_other_targets_are_refused(folder: Path, tmp_path: Path) -> None:
    other = start(write_log(tmp_path / "other.csv", tiny_data(seed=1)), tmp_path / "other", "popularity")
    with pytest.raises(EvaluationError, match=r"other: ranks other targets than .*popularity"):
        compare_runs([folder / "popularity", other.directory])


def test_the_same_targets_of_another_log_are_refused(log: Path, tmp_path: Path) -> None:
    """A log and the last rows of its users have the same targets, but are still two data sets."""
    lines = log.read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    user, time = (lines[0].split(",").index(name) for name in ("user", "time"))
    rows.sort(key=lambda row: (row[user], int(row[time])))
    last = [row for _, own in groupby(rows, key=lambda row: row[user]) for row in list(own)[-5:]]
    cut = tmp_path / "cut.csv"
    cut.write_text("\n".join([lines[0], *(",".join(row) for row in last)]) + "\n")
    runs = [start(log, tmp_path / "whole", seed=1), start(cut, tmp_path / "cut", seed=2)]
    assert runs[0].ranks().same_targets(runs[1].ranks())
    prints = [run.info.data.fingerprint[:12] for run in runs]
    said = f"cut: ranks the targets of .*whole but was trained on other data .fingerprint {prints[1]}, not {prints[0]}"
    for refused in (compare_runs, lambda runs: open_study([run.directory for run in runs])):
        with pytest.raises(EvaluationError, match=said):
            refused(runs)


def test_other_times_under_a_split_by_time_are_another_log(tmp_path: Path) -> None:
    """The sequences, the cuts and the targets are the same."""
    data = at_random_times(tiny_data())
    assert data.times is not None
    later = replace(data, times=data.times + 1)
    runs = [
        train(TrainRequest(one, model, out=tmp_path / f"{split}-{name}", split=split))
        for split in ("time", "leave-one-out")
        for name, model, one in (("a", "popularity", data), ("b", "markov", later))
    ]
    with pytest.raises(EvaluationError, match=r"time-b: was trained on a log with other times than .*time-a"):
        compare_runs(runs[:2])
    assert len(compare_runs(runs[2:])) == 2


def test_another_name_of_a_log_is_the_same_data(log: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "renamed.csv"
    other.write_bytes(log.read_bytes())
    rows = compare_runs([folder / "sasrec-1", start(other, tmp_path / "run", seed=2)])
    assert [(row.label, row.seeds) for row in rows] == [("sasrec", (1, 2))]


def test_a_run_does_not_count_twice(folder: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"sasrec-1: is seed 1 of sasrec, like .*; leave one of them out"
    ):
        compare_runs([folder / "popularity", *[folder / "sasrec-1"] * 2])


def test_a_warm_start_is_a_system_of_its_own(log: Path, folder: Path, tmp_path: Path) -> None:
    warm = start(log, tmp_path / "warm", seed=1, warm_start=folder / "sasrec-2")
    rows = compare_runs([folder / "sasrec-1", folder / "sasrec-2", warm])
    assert [row.seeds for row in rows] == [(1, 2), (1,)]
    assert rows[0].label == "sasrec warm_start=None"
    note = seeds_note(rows)
    assert note is not None
    assert note.startswith("One seed of sasrec warm_start=/")
    assert rows[1].label.startswith("sasrec warm_start=/")
