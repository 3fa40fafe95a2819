"""Judging: lists of other systems in one table with runs, with the same targets, metrics and significance tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.helpers import at_random_times, tiny_data, write_log
from tests.runs.conftest import READING, log_source, start

import mclrec
from mclrec.data.split import make_split
from mclrec.errors import ConfigError, DataError, EvaluationError, ModelFileError
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import list_items
from mclrec.models.storage import load_model
from mclrec.runs.comparison import compare_runs
from mclrec.runs.judging import judge
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.run import Run


def lists_of(run: Run, log: Path, k: int, seen: Seen = "keep") -> pd.DataFrame:
    """Recommendations of a run as RecTools would return them."""
    split = make_split(log_source(log), "leave-one-out")
    found = list_items(load_model(run.directory, torch.device("cpu")).model, split.test, k, seen=seen)
    data = split.data
    frame = pd.DataFrame(
        [
            (data.user_ids[user + 1], data.item_ids[item], place)
            for user, items in zip(split.test.users.tolist(), found.tolist(), strict=True)
            for place, item in enumerate(items, start=1)
            if item
        ],
        columns=["user_id", "item_id", "rank"],
    )
    return frame.assign(score=1 / frame["rank"])


@pytest.fixture(scope="module")
def markov(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start(log, tmp_path_factory.mktemp("judged") / "markov", "markov")


@pytest.mark.parametrize("seen", ["keep", "drop"])
def test_lists_of_a_run_are_judged_as_the_run_is(log: Path, trained: Run, markov: Run, seen: Seen) -> None:
    frame = lists_of(trained, log, 10, seen)
    found = judge({"theirs": frame, "markov": markov}, data=log, reading=READING, seen=seen)
    expected = compare_runs([trained, markov], seen=seen)
    for ours, row in zip(expected, found.rows, strict=True):
        assert row.metrics == {name: ours.metrics[name] for name in row.metrics}
        assert row.interval == ours.interval
    assert list(found.rows[0].metrics) == ["HR@5", "HR@10", "NDCG@5", "NDCG@10"]
    assert found.rows[1].p == expected[1].p
    assert found.rows[1].claim == str(expected[1].claim).replace("sasrec", "theirs")
    assert [score.model for score in found.baselines] == ["popularity"]


def test_the_first_run_brings_its_data(log: Path, trained: Run, tmp_path: Path) -> None:
    lists_of(trained, log, 10).to_csv(tmp_path / "theirs.csv", index=False)
    found = judge([trained, tmp_path / "theirs.csv"])
    assert [row.label for row in found.rows] == ["sasrec", "theirs"]
    assert found.rows[1].difference == 0
    with pytest.raises(ConfigError, match="name it with data"):
        judge([tmp_path / "theirs.csv"])
    with pytest.raises(ConfigError, match="reading and splitting need data"):
        judge([trained, tmp_path / "theirs.csv"], split="time")


def test_an_exported_split_brings_its_data(log: Path, trained: Run, tmp_path: Path) -> None:
    mclrec.export_split(log, tmp_path / "split", reading=READING)
    lists_of(trained, log, 10).to_parquet(tmp_path / "recs.parquet")
    found = judge([f"them={tmp_path / 'recs.parquet'}", trained], data=tmp_path / "split")
    assert [row.label for row in found.rows] == ["them", "sasrec"]
    with pytest.raises(ConfigError, match="is an exported split"):
        judge([trained], data=tmp_path / "split", split="time")


def test_files_of_one_name_are_trainings_of_one_system(log: Path, trained: Run, tmp_path: Path) -> None:
    frame = lists_of(trained, log, 10)
    frame.to_csv(tmp_path / "1.csv", index=False)
    frame.assign(item_id=frame["item_id"].to_numpy()[::-1]).to_csv(tmp_path / "2.csv", index=False)
    found = judge([trained, f"them={tmp_path / '1.csv'}", f"them={tmp_path / '2.csv'}"])
    assert [(row.label, len(row.seeds)) for row in found.rows] == [("sasrec", 1), ("them", 2)]
    (tmp_path / "more").mkdir()
    frame.to_csv(tmp_path / "more" / "1.csv", index=False)
    with pytest.raises(ConfigError, match="two systems are called 1; name them"):
        judge([trained, tmp_path / "1.csv", tmp_path / "more" / "1.csv"])
    with pytest.raises(ConfigError, match="is given twice"):
        judge([trained, f"a={tmp_path / '1.csv'}", f"b={tmp_path / '1.csv'}"])
    with pytest.raises(ConfigError, match="two systems are called sasrec"):
        judge([trained, f"sasrec={tmp_path / '1.csv'}"])


def test_a_cut_beyond_the_lists_is_refused(log: Path, trained: Run) -> None:
    frames = {"short": lists_of(trained, log, 3), "run": trained}
    found = judge(frames)
    assert str(found.metric) == "NDCG@3"
    assert list(found.rows[0].metrics) == ["HR@3", "NDCG@3"]
    assert list(found.rows[1].metrics) == [f"{name}@{k}" for name in ("HR", "NDCG") for k in (3, 5, 10)]
    for options in ({"metric": "ndcg@10"}, {"ks": [5]}):
        with pytest.raises(EvaluationError, match="short: the lists end at place 3"):
            judge(frames, **options)


def test_what_was_decided_is_told(log: Path, trained: Run) -> None:
    frame = lists_of(trained, log, 10)
    users = frame["user_id"].unique()
    frame = frame[frame["user_id"] != users[0]]
    frame = pd.concat(
        [frame, pd.DataFrame({"user_id": ["?"], "item_id": ["!"], "rank": [1], "score": [1.0]})]
    )
    [lists] = judge({"theirs": frame, "run": trained}).lists
    assert (lists.facts.without_list, lists.facts.unknown_users) == (1, 1)
    assert "1 target without a list: misses" in lists.notes
    assert "1 user that the data do not know left out" in lists.notes


def test_lower_bounds_are_given_with_the_upper_ones(log: Path, trained: Run) -> None:
    frame = lists_of(trained, log, 5, "keep")
    found = judge({"theirs": frame, "run": trained}, seen="drop")
    assert any("lower bounds" in note for note in found.lists[0].notes)
    [note] = [note for note in found.lists[0].notes if note.startswith("NDCG@5 is between")]
    low, high = bounds(note)
    exact = found.rows[1].metrics["NDCG@5"]
    assert low <= exact + 1e-4
    assert high >= exact - 1e-4


def bounds(note: str) -> tuple[float, float]:
    """The two ends of an interval in a note."""
    words = note.partition("between ")[2].split()
    return float(words[0]), float(words[2].rstrip(":"))


def test_runs_on_other_data_are_refused(log: Path, trained: Run, tmp_path: Path) -> None:
    other = write_log(tmp_path / "other.csv", at_random_times(tiny_data(seed=5)))
    frame = lists_of(trained, log, 5)
    with pytest.raises(EvaluationError, match="was trained on other data"):
        judge({"theirs": frame, "run": trained}, data=other, reading=READING)
    for given, said in (
        ([], "at least one file"),
        ("recs.csv", "not a single one"),
        ([frame], "a DataFrame has no name"),
        ({"x": 3}, "cannot read a int"),
        ({" ": frame}, "the name of a system is empty"),
    ):
        with pytest.raises((ConfigError, DataError), match=said):
            judge(given, data=log)


def test_validation_targets_can_be_judged(log: Path, trained: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(trained.directory, tmp_path / "run"))
    with pytest.raises(ModelFileError, match="no ranks"):
        judge([run], data=log, reading=READING, part="validation")
    evaluate_run(run, part="validation", data=log_source(log))
    found = judge([run], data=log, reading=READING, part="validation")
    ranks = run.ranks("validation", "U").ranks
    assert found.rows[0].metrics["HR@10"] == pytest.approx(float(np.mean(ranks <= 10)))


def test_by_time_lists_answer_one_target_a_user(log: Path, trained: Run) -> None:
    frame = lists_of(trained, log, 5)
    for choice in ("first", "last"):
        found = judge({"theirs": frame}, data=log, reading=READING, split="time", targets=choice)
        assert len(found.systems["theirs"].tables[0]) == found.lists[0].facts.targets
    with pytest.raises(EvaluationError, match="several targets of a user"):
        judge({"theirs": frame}, data=log, reading=READING, split="time", targets="all")
