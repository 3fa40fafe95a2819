"""Labels of targets: the value of a log column in the target's own row, whatever the log's format."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, leave_one_out, make_split
from mclrec.data.target_labels import read_labels
from mclrec.errors import DataError

Row = tuple[str, str, int, str | None]

ROWS: list[Row] = [
    ("ann", "x", 10, "de"),
    ("ann", "y", 20, "fr"),
    ("ann", "z", 30, "de"),
    ("ann", "x", 40, "it"),
    ("bob", "x", 15, None),
    ("bob", "y", 25, "fr"),
    ("bob", "z", 35, None),
    ("cid", "y", 5, "de"),
    ("cid", "z", 6, "de"),
    ("cid", "x", 7, "fr"),
]
EXPECTED = {"ann": "it", "bob": None, "cid": "fr"}


def csv(path: Path) -> Path:
    lines = ["user,item,time,country", *(f"{u},{i},{t},{c or ''}" for u, i, t, c in ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def words(path: Path) -> Path:
    """Write the log without a header, with missing values as the word NULL."""
    path.write_text("".join(f"{u}\t{i}\t{t}\t{c or 'NULL'}\n" for u, i, t, c in ROWS), encoding="utf-8")
    return path


def lines(path: Path) -> Path:
    keys = ("user", "item", "time", "country")
    path.write_text(
        "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in ROWS), encoding="utf-8"
    )
    return path


def parquet(path: Path) -> Path:
    columns = dict(zip(("user", "item", "time", "country"), map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return path


def by_user(data: SequenceData, column: str = "country", source: Any = None) -> dict[str, str | None]:
    targets = leave_one_out(data).test
    found = read_labels(targets, column, source)
    return {
        str(data.user_ids[user + 1]): value for user, value in zip(targets.users, found.values, strict=True)
    }


@pytest.mark.parametrize(
    ("write", "name", "column"),
    [
        (csv, "log.csv", "country"),
        (words, "log.tsv", "4"),
        (lines, "log.jsonl", "country"),
        (parquet, "log.parquet", "country"),
    ],
)
def test_every_format(write: Callable[[Path], Path], name: str, column: str, tmp_path: Path) -> None:
    columns = Columns(user="1", item="2", time="3") if column == "4" else None
    data = load(write(tmp_path / name), min_count=1, columns=columns)
    assert by_user(data, column) == EXPECTED


@pytest.mark.parametrize("how", ["csv", "prepared"])
def test_conditions_missing_rows_and_prepared_folders(how: str, tmp_path: Path) -> None:
    path = csv(tmp_path / "log.csv")
    with path.open("a", encoding="utf-8") as file:
        file.write(",x,99,us\nann,,99,us\ncid,z,8,us\n")
    folder = tmp_path / "prepared" if how == "prepared" else None
    data = load(
        path, min_count=1, drop_missing=True, where="country is null or country != 'us'", directory=folder
    )
    assert by_user(data) == EXPECTED


def test_frames_are_given_again() -> None:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "time", "country"])
    data = load(frame, min_count=1)
    assert by_user(data, source=frame) == EXPECTED
    for other in (None, data):
        with pytest.raises(DataError, match="came from memory; give the frame that has the column"):
            by_user(data, source=other)


def test_arrays_have_no_column() -> None:
    data = SequenceData(
        np.ones(3, np.int32),
        np.array([0, 3]),
        load(pd.DataFrame(ROWS[:3], columns=["user", "item", "time", "c"]), min_count=1).item_ids,
        load(pd.DataFrame(ROWS[:3], columns=["user", "item", "time", "c"]), min_count=1).user_ids,
    )
    with pytest.raises(DataError, match="came as arrays"):
        by_user(data)


def test_values_of_any_type(tmp_path: Path) -> None:
    size = len(ROWS)
    users, items, times, _ = map(list, zip(*ROWS, strict=True))
    price = [1.5, float("nan"), None, *([2.0] * (size - 3))]
    columns = {
        "height": pa.array(price, pa.float64()),
        "member": pa.array([place % 2 == 0 for place in range(size)]),
        "day": pa.array([date(2024, 1, 1 + place) for place in range(size)]),
        "kind": pa.array(["", *("ab" * size)][:size]).dictionary_encode(),
        "shelf": pa.array(range(size), pa.int16()),
        "list": pa.array([[1]] * size),
    }
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": users, "item": items, "time": times, **columns}), path)
    data = load(path, min_count=1)
    targets = Targets(data, np.zeros(4, dtype=np.int64), np.arange(4))  # the rows of ann
    assert read_labels(targets, "height").values[1:3] == (None, None)
    assert float(read_labels(targets, "height").values[0] or "") == 1.5
    assert read_labels(targets, "member").values == ("true", "false", "true", "false")
    assert read_labels(targets, "day").values[1] == "2024-01-02"
    assert read_labels(targets, "kind").values == (None, "a", "b", "a")
    assert read_labels(targets, "shelf").values == ("0", "1", "2", "3")
    with pytest.raises(DataError, match="label column holds list"):
        read_labels(targets, "list")


def test_a_split_in_files(tmp_path: Path) -> None:
    paths = {}
    for name, place in (("train", -3), ("valid", -2), ("test", -1)):
        own = [
            row for user in ("ann", "bob", "cid") for row in [[one for one in ROWS if one[0] == user][place]]
        ]
        paths[name] = tmp_path / f"{name}.csv"
        text = ["user,item,time,country", *(f"{u},{i},{t},{c or ''}" for u, i, t, c in own)]
        paths[name].write_text("\n".join(text) + "\n", encoding="utf-8")
    data = load(paths["train"], valid=str(paths["valid"]), test=str(paths["test"]))
    targets = make_split(data, "files").test
    found = read_labels(targets, "country")
    assert (
        dict(zip([data.user_ids[user + 1] for user in targets.users], found.values, strict=True)) == EXPECTED
    )


def test_rows_that_say_different_things_are_counted(tmp_path: Path) -> None:
    path = csv(tmp_path / "log.csv")
    with path.open("a", encoding="utf-8") as file:
        file.write("ann,x,40,us\ncid,x,7,fr\n")
    data = load(path, min_count=1, drop_duplicates=True)
    found = read_labels(leave_one_out(data).test, "country")
    assert (found.values, found.ambiguous) == (("it", None, "fr"), 1)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = csv(tmp_path / "log.csv")
    data = load(path, min_count=1)
    with pytest.raises(DataError, match=r"no column named 'county'|county"):
        by_user(data, "county")
    path.write_text("user,item,time,country\nann,x,10,de\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no row for 3 of 3 targets; is it the log"):
        by_user(data)
    users = tmp_path / "users.txt"
    users.write_text("1 2 3 4\n2 3 4 5 6\n", encoding="utf-8")
    with pytest.raises(DataError, match="one user a line"):
        by_user(load(users, min_count=1))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_any_log_has_the_label_of_the_row(seed: int) -> None:
    """Every label encodes its own row, so that the label found for a target can be checked."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 60))
    users, items = rng.integers(0, 5, size), rng.integers(0, 6, size)
    times = rng.integers(0, 8, size) + (rng.random(size).round(3) if rng.random() < 0.5 else 0)
    labels = [
        f"{user} {item} {int(np.floor(time))}" for user, item, time in zip(users, items, times, strict=True)
    ]
    frame = pd.DataFrame({"user": users, "item": items, "time": times, "label": labels})
    data = load(frame, min_count=1)
    assert data.times is not None
    places = np.arange(data.num_interactions)
    owners = np.repeat(np.arange(data.num_users), data.lengths)
    found = read_labels(Targets(data, owners, places), "label", frame)
    expected = [
        f"{data.user_ids[int(user) + 1]} {data.item_ids[int(item)]} {time}"
        for user, item, time in zip(owners, data.items, data.times.tolist(), strict=True)
    ]
    assert list(found.values) == expected
    assert found.ambiguous == 0
