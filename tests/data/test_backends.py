"""`prepare` writes the same bytes, whichever engine reads and orders the log."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.conftest import run_main
from tests.data.logs import at_timestamps, hard_table, write_parts

from mclrec.data import backends
from mclrec.data.backends import ENGINES
from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, DataError
from mclrec.files import sha256_file
from mclrec.json_files import read_json

needs_spark = pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark: make test-spark")
OTHERS = [
    "polars",
    "pandas",
    pytest.param("spark", marks=[pytest.mark.spark, needs_spark]),
]


@pytest.fixture(scope="module", autouse=True)
def no_session_left() -> Iterator[None]:
    """Stop the Spark session of this module, if a test has started one."""
    yield
    if find_spec("pyspark") is not None:
        from pyspark.sql import SparkSession

        if running := SparkSession.getActiveSession():
            running.stop()


def files(folder: Path) -> dict[str, object]:
    """Checksums of prepared files, and their metadata except for the location and format of the log."""
    about = {key: value for key, value in read_json(folder / "meta.json").items() if key != "origin"}
    about["intake"] = {
        key: value
        for key, value in about["intake"].items()
        if key not in ("place", "format", "columns", "checksum")
    }
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())} | {"meta.json": about}


def prepared(source: Any, out: Path, **options: Any) -> dict[str, object]:
    prepare(source, directory=out, name="log", **options)
    return files(out)


TABLES = {
    "text ids": hard_table(3000, 60, 40),
    "integer ids": hard_table(3000, 60, 40, text=False),
    "timestamps": at_timestamps(hard_table(3000, 60, 40)),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("engine", OTHERS)
def test_parquet(tmp_path: Path, engine: str, kind: str) -> None:
    pq.write_table(TABLES[kind], tmp_path / "log.parquet")
    expected = prepared(tmp_path / "log.parquet", tmp_path / "duckdb")
    assert {"items.npy", "offsets.npy", "times.npy", "items.parquet", "users.parquet", "meta.json"} == set(
        expected
    )
    assert prepared(tmp_path / "log.parquet", tmp_path / engine, engine=engine) == expected
    assert prepared(tmp_path / "log.parquet", tmp_path / "again", engine=engine, min_count=40) != expected


@pytest.mark.parametrize("engine", ["duckdb", *OTHERS])
def test_parts_are_one_log(tmp_path: Path, engine: str) -> None:
    table = TABLES["text ids"]
    pq.write_table(table, tmp_path / "whole.parquet")
    folder = write_parts(tmp_path / "parts", table, 4)
    expected = prepared(tmp_path / "whole.parquet", tmp_path / "whole")
    assert prepared(folder, tmp_path / "folder", engine=engine) == expected
    some = prepare(folder / "part-*.parquet", engine=engine, min_count=1)
    assert some.num_interactions == len(table) * 3 // 4


@pytest.mark.parametrize("engine", OTHERS)
def test_text_is_read_by_duckdb_and_ordered_by_the_engine(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(
        "".join(
            f"u{user} {' '.join(f'i{(user * place) % 9}' for place in range(1, 9))}\n" for user in range(20)
        )
    )
    assert prepared(path, tmp_path / engine, engine=engine) == prepared(path, tmp_path / "duckdb")


@pytest.mark.spark
@needs_spark
def test_spark_by_the_plan_of_a_large_log(tmp_path: Path) -> None:
    """Small tables would be broadcast and end in one partition; these settings force shuffles and several."""

    folder = write_parts(tmp_path / "parts", TABLES["text ids"], 3)
    settings = {
        "spark.sql.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": "5",
    }
    before = {key: backends.spark_session().conf.get(key) for key in settings}
    try:
        for key, value in settings.items():
            backends.spark_session().conf.set(key, value)
        found = prepared(folder, tmp_path / "spark", engine="spark")
    finally:
        for key, old in before.items():
            backends.spark_session().conf.set(key, old)
    assert found == prepared(folder, tmp_path / "duckdb")


@pytest.mark.slow
@pytest.mark.parametrize("engine", OTHERS)
def test_two_million_rows(tmp_path: Path, engine: str) -> None:
    folder = write_parts(tmp_path / "parts", hard_table(2_000_000, 60_000, 20_000, seed=7), 8)
    expected = prepared(folder, tmp_path / "duckdb")
    assert SequenceData.load(tmp_path / "duckdb").num_interactions > 1_900_000
    assert prepared(folder, tmp_path / engine, engine=engine) == expected


def test_the_command_prepares_what_others_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(TABLES["text ids"], tmp_path / "log.parquet")
    out = tmp_path / "prepared"
    assert run_main("prepare", tmp_path / "log.parquet", "--out", out, "--engine", "polars") == 0
    data = SequenceData.load(out)
    assert data.fingerprint in capsys.readouterr().out
    assert run_main("datasets", out) == 0
    assert "log" in capsys.readouterr().out


def test_what_does_not_fit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(TABLES["text ids"], tmp_path / "log.parquet")
    with pytest.raises(ConfigError, match=r"unknown engine 'spork'; did you mean 'spark'\?"):
        prepare(tmp_path / "log.parquet", engine="spork")
    with pytest.raises(ConfigError, match="a frame is prepared by its own engine, not by polars"):
        prepare(pa.table({"user": [1]}), engine="polars")
    with pytest.raises(DataError, match="the rows of a lazy frame have no order"):
        prepare(pl.scan_parquet(tmp_path / "log.parquet"), columns=Columns(file_order=True))
    monkeypatch.setattr("mclrec.data.backends.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="the engine polars is not installed: pip install polars"):
        prepare(tmp_path / "log.parquet", engine="polars")
    assert set(ENGINES) == {"duckdb", "polars", "pandas", "spark"}


@pytest.mark.parametrize("found", ["1.29.9", "1.9.0", "0.20.31"])
def test_an_engine_that_is_too_old_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    pq.write_table(TABLES["text ids"], tmp_path / "log.parquet")
    monkeypatch.setattr("mclrec.data.backends.version", lambda _: found)
    with pytest.raises(
        ConfigError, match=f"needs polars 1.30 or newer, but {found} is installed: pip install"
    ):
        prepare(tmp_path / "log.parquet", engine="polars")


def test_spark_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.extras.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'needs pyspark: pip install "mclrec\[spark\]"'):
        backends.spark_session()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs Java 17 or newer: JAVA_HOME is .*, which has no bin/java"):
        backends._check_java()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(ConfigError, match=r"needs Java 17 or newer: .*/bin/java is version 11"):
        backends._check_java()
