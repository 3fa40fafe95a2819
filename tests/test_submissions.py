"""Submissions to the leaderboard: creation from lists, and each reason for a refusal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.test_leaderboard import SPLIT, TARGETS, random_ranks, write_submission, write_targets

from mclrec.data.datasets import dataset_names, is_dataset
from mclrec.data.loading import load
from mclrec.data.split import make_split
from mclrec.errors import ConfigError, DataError
from mclrec.evaluation.metrics import MISS, summarise
from mclrec.json_files import read_json, write_json
from mclrec.runs.judging import judge
from scripts.publish import RESULTS
from scripts.rank_files import TargetSet, known_targets, read_ranks, write_ranks
from scripts.submissions import FOLDER, Checked, read_submissions
from scripts.submit import submit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_targets(tmp_path)
    return tmp_path


def read(folder: Path) -> list[Checked]:
    return read_submissions(folder, known_targets(folder))


def change(path: Path, **changes: Any) -> None:
    write_json(path, {**read_json(path), **changes})


def test_a_submission_that_passes(folder: Path) -> None:
    write_submission(folder)
    [found] = read(folder)
    assert found.submission.system == "Theirs"
    ranks = random_ranks(7)
    assert found.tables[0].metric("NDCG@10") == pytest.approx(summarise(ranks)["NDCG@10"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "0" * 64}, r"has the fingerprint '0000.*other data"),
        ({"data": "tinny"}, r"unknown data set 'tinny'.*did you mean 'tiny'|unknown data set 'tinny'"),
        ({"split": "time"}, r"unknown data set 'tiny' of the split 'time'"),
        ({"protocol": "X"}, r"protocol = 'X': should be 'U' or 'F'"),
        ({"link": "http://example.org"}, r"link = 'http://example.org'"),
        ({"link": "javascript:alert(1)"}, r"link = 'javascript"),
        ({"link": 'https://x/" onclick="y'}, r"link = "),
        ({"system": ""}, r"system = ''"),
        ({"system": "x" * 61}, r"system = "),
        ({"trainings": []}, r"trainings = \[\]"),
        ({"trainings": [{"ranks": "../../targets.parquet"}]}, r"trainings.0.ranks = '../../targets"),
        ({"trainings": [{"ranks": "gone.parquet", "seed": 1}]}, r"gone.parquet"),
        ({"trainings": [{"ranks": "theirs.parquet", "core_minutes": -1}]}, r"core_minutes = -1"),
        (
            {"trainings": [{"ranks": "theirs.parquet", "seed": 1}, {"ranks": "theirs.parquet", "seed": 2}]},
            r"same file as theirs.parquet: each training counts once",
        ),
        ({"metrics": {}}, r"metrics = \{\}"),
        ({"metrics": {"HR@10": 0.99}}, r"says HR@10 0.9900, but its ranks give 0\."),
        ({"metrics": {"AUC@10": 0.9}}, r"unknown metric 'auc'"),
        ({"list_length": 3}, r"has rank \d+, but lists have at most 3 items"),
        ({"extra": 1}, r"unknown key 'extra'"),
    ],
)
def test_what_a_submission_says_is_checked(folder: Path, changes: dict[str, Any], message: str) -> None:
    path = write_submission(folder)
    change(path, **changes)
    with pytest.raises(DataError, match=message) as refusal:
        read(folder)
    assert len(str(refusal.value).replace(str(folder), "")) <= 300


def test_metrics_beyond_the_lists_are_refused(folder: Path) -> None:
    ranks = np.where(random_ranks(7) <= 8, random_ranks(7), MISS)
    path = write_submission(folder, list_length=8, metrics={"HR@5": summarise(ranks)["HR@5"]})
    write_ranks(path.with_suffix(".parquet"), SPLIT.test, ranks)
    [found] = read(folder)
    assert [found.shows(metric) for metric in ("HR@5", "HR@8", "HR@10")] == [True, True, False]
    change(path, metrics={"HR@10": summarise(ranks)["HR@10"]})
    with pytest.raises(DataError, match="lists of 8 places say nothing about HR@10; leave it out"):
        read(folder)


def rewritten(edit: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(edit(pq.read_table(path)), path)


def with_column(name: str, values: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    def edit(table: pa.Table) -> pa.Table:
        return table.set_column(
            table.column_names.index(name), name, pa.array(values(table[name].to_pylist()))
        )

    return rewritten(edit)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rewritten(lambda table: table.slice(1)), r"ranks 39 targets, but the data have 40"),
        (
            rewritten(lambda table: table.drop_columns(["item"])),
            r"has no column 'item'; a file of ranks has user",
        ),
        (
            with_column("item", lambda old: [old[1], old[0], *old[2:]]),
            r"ranks other targets than the data have",
        ),
        (with_column("user", lambda old: [old[1], *old[1:]]), r"ranks other targets than the data have"),
        (with_column("in_history", lambda old: [not old[0], *old[1:]]), r"differs in which are in their"),
        (with_column("user", lambda old: [None, *old[1:]]), r"a row has no user, item or in_history"),
        (with_column("rank", lambda old: [0, *old[1:]]), r"ranks count from 1, but one is 0"),
        (with_column("rank", lambda old: [-5, *old[1:]]), r"ranks count from 1, but one is -5"),
        (with_column("rank", lambda old: [16, *old[1:]]), r"has rank 16, but lists have at most 15 items"),
        (with_column("rank", lambda old: [1.5] * len(old)), r"rank a whole number"),
        (with_column("rank", lambda old: ["first"] * len(old)), r"rank a whole number"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), r"cannot be read"),
        (lambda path: path.write_bytes(b""), r"cannot be read"),
    ],
)
def test_files_of_ranks_are_checked(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    path = write_submission(folder)
    damage(path.with_suffix(".parquet"))
    with pytest.raises(DataError, match=message):
        read(folder)


def test_under_f_a_target_of_the_history_is_a_miss(folder: Path) -> None:
    path = write_submission(folder)
    found = read_ranks(path.with_suffix(".parquet"))
    assert found.in_history.any()
    ranks = np.ones(TARGETS.targets, dtype=np.int64)
    write_ranks(path.with_suffix(".parquet"), SPLIT.test, ranks)
    change(path, metrics={"HR@10": 1.0})
    read(folder)
    change(path, protocol="F")
    with pytest.raises(DataError, match=rf"is a miss, but {found.in_history.sum()} of them have a rank"):
        read(folder)


def test_csv_is_read_as_parquet_is(folder: Path) -> None:
    path = write_submission(folder)
    table = pq.read_table(path.with_suffix(".parquet"))
    pa.csv.write_csv(table, path.with_suffix(".csv"))
    one, other = (read_ranks(path.with_suffix(kind)) for kind in (".parquet", ".csv"))
    assert (one.users, one.items) == (other.users, other.items)
    assert one.ranks.tolist() == other.ranks.tolist()
    assert one.in_history.tolist() == other.in_history.tolist()


def test_trainings_need_seeds_and_systems_one_entry(folder: Path) -> None:
    write_submission(folder)
    write_submission(folder, "again", seed=8)
    with pytest.raises(DataError, match=r"'Theirs' under U is in again.json already"):
        read(folder)
    (folder / FOLDER / "again.json").unlink()
    with pytest.raises(DataError, match=r"again.parquet: belongs to no submission"):
        read(folder)
    both = [{"ranks": f"{name}.parquet", "seed": 1} for name in ("theirs", "again")]
    change(folder / FOLDER / "theirs.json", trainings=both)
    with pytest.raises(DataError, match="several trainings need a seed each, and different ones"):
        read(folder)


def test_ranks_of_two_systems_are_not_one_file(folder: Path) -> None:
    path = write_submission(folder)
    write_json(path.with_name("z.json"), {**read_json(path), "system": "Another"})
    with pytest.raises(DataError, match=r"z.json: theirs.parquet is in theirs.json already"):
        read(folder)


def lists(path: Path, seed: int, length: int = 10) -> Path:
    """Random lists for all users."""
    rng, data = np.random.default_rng(seed), SPLIT.data
    rows = [
        (data.user_ids[user + 1], data.item_ids[item], rank)
        for user in SPLIT.test.users.tolist()
        for rank, item in enumerate(rng.permutation(np.arange(1, data.num_items + 1))[:length].tolist(), 1)
    ]
    columns = dict(zip(("user", "item", "rank"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return path


ABOUT = {
    "system": "Their own: best",
    "data": "tiny",
    "link": "https://example.org",
    "examples": None,
    "loss": "bce",
}


def test_lists_become_a_submission_with_the_metrics_of_judge(folder: Path) -> None:
    files = [lists(folder.parent / f"lists-{folder.name}-{seed}.parquet", seed) for seed in (1, 2)]
    for protocol, seen in (("U", "keep"), ("F", "drop")):
        path = submit(files, ABOUT, protocol, minutes=[1.5, 2.5], results=folder, source=SPLIT.data)
        assert path.name == f"tiny-their-own-best-{protocol}.json"
        judged = judge({str(place): file for place, file in enumerate(files)}, data=SPLIT.data, seen=seen)
        mean = np.mean([row.metrics["NDCG@10"] for row in judged.rows])
        assert read_json(path)["metrics"]["NDCG@10"] == pytest.approx(mean)
    found = read(folder)
    assert [one.submission.protocol for one in found] == ["F", "U"]
    assert found[1].submission.list_length == 10
    assert "HR@20" not in found[1].submission.metrics
    assert any("lists of up to 10" in note for note in found[1].submission.notes)


def test_nothing_is_written_for_lists_that_do_not_pass(folder: Path) -> None:
    file = lists(folder.parent / f"lists-{folder.name}.parquet", 1)
    copy = Path(shutil.copy(file, file.with_suffix(".copy.parquet")))
    with pytest.raises(DataError, match="each training counts once"):
        submit([file, copy], ABOUT, "U", results=folder, source=SPLIT.data)
    with pytest.raises(ConfigError, match="--seeds: 1 for 2 files"):
        submit([file, copy], ABOUT, "U", seeds=[1], results=folder, source=SPLIT.data)
    with pytest.raises(DataError, match="link = 'ftp:"):
        submit([file], {**ABOUT, "link": "ftp://x"}, "U", results=folder, source=SPLIT.data)
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize("key", sorted(known_targets(RESULTS)), ids="-".join)
def test_targets_are_those_of_the_data(key: tuple[str, str]) -> None:
    name, rule = key
    assert is_dataset(name), dataset_names()
    try:
        data = load(name)
    except (ConfigError, DataError):
        pytest.skip(f"{name} is not here")
    assert TargetSet.of(make_split(data, rule)) == known_targets(RESULTS)[key]


def test_every_published_data_set_has_its_targets() -> None:
    known = known_targets(RESULTS)
    for path in RESULTS.glob("*.json"):
        result = read_json(path)
        key = (result["data"]["name"], result["split"])
        assert known[key].fingerprint == result["data"]["fingerprint"], path
