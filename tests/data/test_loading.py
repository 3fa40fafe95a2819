"""Data loaded by name, path or frame know their origin, and can be read again from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.helpers import at_random_times, tiny_data, write_log

from mclrec.data.columns import Columns
from mclrec.data.datasets import known_as, locate
from mclrec.data.loading import load, prepare, read_again
from mclrec.data.origin import Origin, Reading
from mclrec.data.split import leave_one_out
from mclrec.data.statistics import of_length
from mclrec.errors import ConfigError, DataError, MclrecWarning

TINY = tiny_data(shortest=6)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.csv", at_random_times(TINY))


def test_a_file_keeps_how_it_was_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)
    data = load("log.csv", min_count=2, drop_repeats=True, columns=Columns(item="item"), header=True)
    origin = data.provenance
    assert (origin.kind, origin.place, origin.path) == ("file", "log.csv", str(log))
    assert origin.fingerprint == data.fingerprint
    assert origin.words() == [
        *("log.csv", "--min-count", "2", "--drop-repeats", "--item-column", "item", "--header")
    ]
    assert Origin.model_validate(json.loads(origin.model_dump_json())) == origin


def test_a_prepared_folder_knows_itself_and_its_log(log: Path, tmp_path: Path) -> None:
    data = prepare(log, min_count=1, directory=tmp_path / "prepared")
    again = load(tmp_path / "prepared")
    assert again.provenance == data.provenance
    assert (again.provenance.kind, again.provenance.path) == ("prepared", str(tmp_path / "prepared"))
    assert again.provenance.source == load(log, min_count=1).provenance
    assert again.provenance.words() == [str(tmp_path / "prepared")]
    again.save(tmp_path / "copy")
    assert load(tmp_path / "copy").provenance.source.place == str(log)


def test_folders_of_earlier_versions_do_not_know_their_log(tmp_path: Path) -> None:
    TINY.save(tmp_path / "old")
    meta = json.loads((tmp_path / "old" / "meta.json").read_text())
    (tmp_path / "old" / "meta.json").write_text(json.dumps({**meta, "origin": None}))
    assert load(tmp_path / "old").provenance.log is None
    (tmp_path / "old" / "meta.json").write_text(json.dumps({**meta, "origin": {"kind": "file"}}))
    with pytest.raises(DataError, match=r"meta\.json: origin\.place is missing"):
        load(tmp_path / "old")


FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
    "duckdb": lambda frame: duckdb.from_df(frame),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_is_memory(log: Path, kind: str) -> None:
    data = load(FRAMES[kind](pd.read_csv(log)), min_count=1)
    assert data.fingerprint == TINY.fingerprint
    assert (data.provenance.kind, data.provenance.place) == ("memory", f"{kind} frame")
    assert data.provenance.words() == ["DATA"]
    with pytest.raises(DataError, match=rf"data: came from memory \({kind} frame, fingerprint"):
        read_again(data.provenance, data.name)
    found = read_again(data.provenance, data.name, log)  # with the min_count that the frame was loaded with
    assert found.fingerprint == data.fingerprint


def test_a_part_is_not_the_whole(log: Path) -> None:
    data = load(log, min_count=1)
    for part in (of_length(data, 6, 8), leave_one_out(data).training):
        assert part.provenance.kind == "memory"
        assert part.provenance.place == f"a part of {log}"
        assert part.provenance.fingerprint == part.fingerprint
    assert replace(data, name="other").provenance == data.provenance
    assert TINY.provenance.place == "arrays"


def test_data_are_found_again(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = prepare("log.csv", min_count=1, directory="prepared")
    of_file, of_folder = data.provenance.source, data.provenance
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for origin in (of_file, of_folder):
        assert read_again(origin, "log").fingerprint == data.fingerprint
    shutil.move(tmp_path / "log.csv", elsewhere / "log.csv")  # the project as a whole has moved
    assert read_again(of_file, "log").fingerprint == data.fingerprint
    shutil.rmtree(tmp_path / "prepared")
    assert read_again(of_folder, "log").fingerprint == data.fingerprint
    (elsewhere / "log.csv").unlink()
    with pytest.raises(DataError, match=r"^log\.csv: no such file"):
        read_again(of_file, "log")
    with pytest.raises(DataError, match=r"prepared"):
        read_again(of_folder, "log")


def test_an_overwritten_folder_gives_way_to_its_log(log: Path, tmp_path: Path) -> None:
    data = prepare(log, min_count=1, directory=tmp_path / "prepared")
    tiny_data(seed=5).save(tmp_path / "prepared")
    assert read_again(data.provenance, "log").fingerprint == data.fingerprint


def test_names_do_not_make_a_named_data_set(tmp_path: Path) -> None:
    named = load("complete-journey")
    assert known_as(named) == "complete-journey"
    assert known_as(replace(named, name="anything", origin=None)) == "complete-journey"
    named.save(tmp_path / "prepared")
    assert known_as(load(tmp_path / "prepared")) == "complete-journey"
    write_log(tmp_path / "beauty.csv", TINY)
    for data in (load(tmp_path / "beauty.csv", min_count=1), replace(TINY, name="beauty")):
        assert data.name == "beauty"
        assert known_as(data) is None
    assert known_as(load("complete-journey", min_count=20)) is None


def test_default_options_said_aloud_are_the_default() -> None:
    columns = Columns(item="product_type")
    data = load("complete-journey", min_count=1, columns=columns)
    assert data.provenance.reading == Reading()
    assert load("complete-journey", min_count=20).provenance.words() == [
        "complete-journey",
        "--min-count",
        "20",
    ]


def test_a_named_data_set_that_is_given_as_a_file(tmp_path: Path) -> None:
    data = load("complete-journey")
    copy = shutil.copy(locate("complete-journey"), tmp_path / "copy.parquet")
    assert read_again(data.provenance, data.name, copy).fingerprint == data.fingerprint


def test_what_is_prepared_is_taken_as_it_is(log: Path, tmp_path: Path) -> None:
    assert load(TINY) is TINY
    TINY.save(tmp_path / "saved")
    for prepared in (TINY, tmp_path / "saved"):
        with pytest.raises(DataError, match="is already prepared"):
            load(prepared, min_count=2)
    with pytest.raises(DataError, match="tiny: is already prepared"):
        prepare(TINY)
    assert prepare("complete-journey").fingerprint == load("complete-journey").fingerprint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("beuty", r"unknown data set 'beuty'; did you mean 'beauty'\? .*; and there is no such file"),
        ("gone/log.csv", r"gone/log\.csv: no such file"),
        ("user,item\n1,2\n", "neither the name of a data set nor a path: it is not printable"),
        ("x" * 5000, "neither the name of a data set nor a path: file name too long"),
        ("a\0b", "neither the name of a data set nor a path"),
        ("", "'' is neither the name of a data set nor a path: it is empty"),
        (None, "cannot read a NoneType: give the name of a data set, a path, or a frame"),
        (7, "cannot read a int"),
        ([1, 2], "cannot read a list"),
        ({"user": [1]}, "cannot read a dict"),
        (b"log.csv", "cannot read a bytes"),
        (pd.Series([1]), "cannot read a Series"),
    ],
)
def test_anything_else_is_one_clear_error(source: Any, message: str) -> None:
    for read in (load, prepare):
        with pytest.raises(DataError, match=message) as caught:
            read(source)
        assert "\n" not in str(caught.value)


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="min_count = 0: should be greater than or equal to 1"):
        load("complete-journey", min_count=0)


def test_a_file_behind_the_name_of_a_data_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    TINY.save("complete-journey")
    with pytest.warns(
        MclrecWarning, match=r"not the file or folder here; for those, use \./complete-journey"
    ):
        assert load("complete-journey").num_users == 2447
    assert load("./complete-journey").num_users == TINY.num_users
