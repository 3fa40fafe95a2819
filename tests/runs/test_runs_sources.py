"""Where data come from, and what is said where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers import at_random_times, tiny_data
from tests.runs.conftest import OPTIONS

from mclrec.errors import ConfigError, DataError
from mclrec.runs.sources import DataSource, make_split, open_source


def test_a_source_finds_the_data_again(log: Path) -> None:
    data, source = open_source(DataSource(str(log), OPTIONS))
    assert source.to_json() == {"source": str(log), "options": OPTIONS}
    again = DataSource(source.to_json()["source"], source.to_json()["options"])
    assert again.load().fingerprint == data.fingerprint == tiny_data().fingerprint


def test_a_path_has_the_defaults(log: Path) -> None:
    data, source = open_source(log)
    assert source == DataSource(str(log))
    assert 0 < data.num_users < 40  # 5-core


def test_data_from_memory_have_no_place() -> None:
    data, source = open_source(tiny_data())
    assert (source.place, source.to_json()["source"]) == (None, None)
    assert data.fingerprint == tiny_data().fingerprint
    with pytest.raises(DataError, match="no place to be read from"):
        source.load()
    assert open_source(replace(tiny_data(), name="beauty"))[1].place == "beauty"


@pytest.mark.parametrize(
    ("place", "message"),
    [("beuty", "unknown data set 'beuty'; did you mean 'beauty'"), ("gone/log.csv", r"gone/log\.csv")],
)
def test_what_is_not_there(place: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(place)


def test_splits_by_name() -> None:
    data = at_random_times(tiny_data())
    assert make_split(data, "leave-one-out").name == "leave-one-out"
    assert make_split(data, "time").name.startswith("by-time(")
    with pytest.raises(ConfigError, match="unknown split 'tim'; did you mean 'time'"):
        make_split(data, "tim")
    with pytest.raises(DataError, match="has no times"):
        make_split(replace(data, times=None), "time")
