"""The engines that prepare a log: DuckDB, Polars, pandas and Spark, all with the same result.

Files are read before they come here, except those that Spark reads in its cluster. This is the only module that imports
pyspark: narwhals has no way to start a Spark session.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.arguments import check_choice
from mclrec.data.foreign_errors import foreign_errors
from mclrec.errors import ConfigError
from mclrec.extras import require

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["ENGINES", "OLDEST", "check_engine", "move_table", "on_engine", "scan_spark", "spark_session"]

ENGINES = ("duckdb", "polars", "pandas", "spark")
"""DuckDB, the default, spills what does not fit into memory; Spark runs on a cluster; all give the same result."""

OLDEST = {"polars": "1.30"}
"""Oldest supported versions of engines that the package does not require."""

_JAVA = 17
"""Oldest Java version that Spark 4 runs on."""

_SPARK_DEFAULTS = {
    "spark.app.name": "mclrec",
    "spark.master": "local[2]",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.session.timeZone": "UTC",
}
"""Settings of a session in this process, reachable from this machine only; Spark's own configuration overrides them."""


def check_engine(name: str) -> None:
    """Check that an engine of this name exists.

    Raises:
        ConfigError: there is no such engine.
    """
    check_choice("engine", name, ENGINES)


def on_engine(frame: nw.LazyFrame[Any], engine: str, resources: ExitStack) -> nw.LazyFrame[Any]:
    """Move a table from DuckDB to an engine, or leave it there.

    Args:
        frame: a table on DuckDB.
        engine: one of `ENGINES`, or pyarrow.
        resources: removes temporary files when it closes.

    Raises:
        ConfigError: the engine is not installed.
    """
    if engine == "duckdb":
        return frame
    if engine == "spark":
        place = _parquet_place(resources)
        frame.sink_parquet(place)
        return _lazy(scan_spark([place], place))
    return move_table(frame.collect("pyarrow").to_native(), engine, resources)


def move_table(table: pa.Table, engine: str, resources: ExitStack) -> nw.LazyFrame[Any]:
    """Copy an Arrow table to an engine other than DuckDB.

    Args:
        table: columns of int64, float64 and large_string.
        engine: polars, pandas, pyarrow or spark.
        resources: removes temporary files when it closes.

    Raises:
        ConfigError: the engine is not installed.
    """
    if engine == "spark":
        place = _parquet_place(resources)
        pq.write_table(table, place)
        return _lazy(scan_spark([place], place))
    _check_installed(engine)
    return _lazy(nw.from_native(table).lazy().collect(engine))


def _lazy(frame: Any) -> nw.LazyFrame[Any]:
    found: nw.LazyFrame[Any] = nw.from_native(frame).lazy()
    return found


def _parquet_place(resources: ExitStack) -> str:
    folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-"))
    return str(Path(folder) / "log.parquet")


def scan_spark(places: list[str], shown: str) -> Any:
    """Open Parquet files, or their addresses, as a Spark table.

    Args:
        places: files whose names are no glob patterns, or addresses that Spark can open, such as ``hdfs://``.
        shown: name of the data, for messages.

    Raises:
        ConfigError: pyspark or Java is missing or too old.
        DataError: Spark cannot read them.
    """
    session = spark_session()
    with foreign_errors(shown, "cannot be read by Spark"):
        # Folder names do not become columns: the other engines read the files of a folder one by one.
        return session.read.option("recursiveFileLookup", "true").parquet(*places)


def _check_installed(engine: str) -> None:
    if find_spec(engine) is None:
        raise ConfigError(f"the engine {engine} is not installed: pip install {engine}")
    oldest = OLDEST.get(engine)
    if oldest is not None and _numbers(found := version(engine)) < _numbers(oldest):
        raise ConfigError(
            f"the engine {engine} needs {engine} {oldest} or newer, but {found} is installed: "
            f"pip install '{engine}>={oldest}'"
        )


def _numbers(text: str) -> list[int]:
    """The first two numbers of a version."""
    return [int(part) for part in re.findall(r"\d+", text)[:2]]


# -------------------------------------------------------------------------------- Spark


def spark_session() -> SparkSession:
    """Return the running Spark session, the one that ``spark-submit`` prepared, or a small one in this process.

    Raises:
        ConfigError: pyspark or Java is missing or too old.
    """
    require("the engine spark")
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    _check_java()
    configuration = SparkConf()
    for key, value in _SPARK_DEFAULTS.items():
        configuration.setIfMissing(key, value)
    found = SparkSession.builder.config(conf=configuration).getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    return found


def _check_java() -> None:
    """Check for a recent Java: Spark itself reports a missing or old one only as a gateway that exited."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")  # noqa: PTH118 - a search path
    if java is None:
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "no java was found"
        raise ConfigError(
            f"the engine spark needs Java {_JAVA} or newer: {where}; install it, or set JAVA_HOME"
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - found above
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA:
        what = f"is version {version[1]}" if version else "does not report its version"
        raise ConfigError(f"the engine spark needs Java {_JAVA} or newer: {java} {what}; set JAVA_HOME")
