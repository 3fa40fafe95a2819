"""The intake: the record of what was read and what was kept, saved with prepared data."""

import json
from pathlib import Path

import polars as pl
import pytest

from mclrec.data.intake import Counts, Intake, TakenColumn
from mclrec.data.loading import load, prepare
from mclrec.data.sequences import SequenceData
from mclrec.data.statistics import of_length
from mclrec.errors import DataError

LOG = "user,item,when\nann,a,10\nann,b,20\nann,a,30\nbob,a,10\nbob,b,10\ncid,z,10\n"


def intake(data: SequenceData) -> Intake:
    assert data.taken is not None
    return data.taken


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LOG.replace("when", "timestamp"))
    return path


def test_what_was_taken(log: Path) -> None:
    found = intake(prepare(log, min_count=2, drop_repeats=True))
    assert found.format == "comma-separated, with header"
    assert found.columns == (
        TakenColumn(role="user", name="user", sample="ann"),
        TakenColumn(role="item", name="item", sample="a"),
        TakenColumn(role="time", name="timestamp", sample="10"),
    )
    assert found.read == Counts(users=3, items=3, rows=6)
    assert [(step.rule, step.option, step.left.rows) for step in found.steps] == [
        ("repeats", "--drop-repeats", 5),
        ("k-core", "--min-count 2", 4),
    ]
    assert found.step("k-core") == (
        Counts(users=3, items=3, rows=5),
        Counts(users=2, items=2, rows=4),
    )
    assert found.step("where") is None
    assert (found.left.users, found.left.items, found.left.rows) == (2, 2, 4)
    assert (found.left.first, found.left.last, found.left.tied) == ("10", "20", 0.5)


def test_formats(tmp_path: Path) -> None:
    rows = [
        dict(zip(("user", "item", "timestamp"), line.split(","), strict=True)) for line in LOG.split()[1:]
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "log.json").write_text(json.dumps(rows))
    (tmp_path / "log.txt").write_text("7 1 2 3\n8 2 1\n")
    pl.DataFrame(rows).write_parquet(tmp_path / "log.parquet")
    names = {
        name: intake(prepare(tmp_path / f"log.{name}", min_count=1))
        for name in ("jsonl", "json", "txt", "parquet")
    }
    assert {name: found.format for name, found in names.items()} == {
        "jsonl": "JSON lines",
        "json": "array of JSON objects",
        "txt": "one user a line",
        "parquet": "Parquet",
    }
    assert [column.sample for column in names["txt"].columns] == ["7", "1"]
    assert intake(prepare(pl.DataFrame(rows), min_count=1)).format == "polars frame"


def test_kept_with_prepared_data(log: Path, tmp_path: Path) -> None:
    data = prepare(log, min_count=1, directory=tmp_path / "prepared")
    assert intake(load(tmp_path / "prepared")) == intake(prepare(log, min_count=1)) == intake(data)
    assert of_length(data, 3).taken is None  # a part of the data
    meta = tmp_path / "prepared" / "meta.json"
    meta.write_text(meta.read_text().replace('"gini": 0.', '"gini": 1.'))
    with pytest.raises(DataError, match=r"meta.json: intake: damaged or edited"):
        load(tmp_path / "prepared")


def test_long_samples_are_cut(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"user,item,time\n{'x' * 99},a,1\n")
    [user, *_] = intake(prepare(tmp_path / "log.csv", min_count=1)).columns
    assert user.sample == "x" * 57 + "..."
