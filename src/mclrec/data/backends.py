"""The engines that prepare a log: DuckDB, Polars, pandas and Spark, all with the same result.

Parquet is read by the engine itself, text by DuckDB. This is the only module that imports pyspark: narwhals has no way
to start a Spark session.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow.dataset as ds

from mclrec.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["ENGINES", "check_engine", "move_table", "scan_parquet", "spark_session"]

ENGINES = ("duckdb", "polars", "pandas", "spark")
"""DuckDB, the default, spills what does not fit into memory; Spark runs on a cluster; all give the same result."""

_JAVA = 17
"""Oldest version that Spark 4 runs on."""

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
"""Settings of a session in this process, reachable from this machine only; Spark's own configuration goes first."""


def check_engine(name: str) -> None:
    """Check that the name is that of an engine.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError(unknown_name("engine", name, ENGINES))


def scan_parquet(place: str, engine: str) -> nw.LazyFrame[Any]:
    """Open Parquet files as a table of an engine other than DuckDB.

    Args:
        place: a file or pattern; for Spark also a folder or an address that it can open, such as ``hdfs://``.
        engine: polars, pandas or spark.

    Raises:
        ConfigError: it is not installed.
    """
    if engine == "spark":
        return _spark(place)
    _check_installed(engine)
    if engine == "polars":
        return nw.scan_parquet(place, backend="polars")
    files = sorted(str(path) for path in _matching(place))
    table = nw.from_native(ds.dataset(files, format="parquet").to_table())
    frame: nw.LazyFrame[Any] = table.lazy().collect("pandas").lazy()
    return frame


def move_table(frame: nw.LazyFrame[Any], engine: str, resources: ExitStack) -> nw.LazyFrame[Any]:
    """Copy a DuckDB table to another engine.

    Args:
        frame: on DuckDB.
        engine: polars, pandas or spark.
        resources: removes its temporary files when it closes.

    Raises:
        ConfigError: it is not installed.
    """
    if engine == "spark":
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-"))
        frame.sink_parquet(str(Path(folder) / "log.parquet"))
        return _spark(str(Path(folder) / "log.parquet"))
    _check_installed(engine)
    return frame.collect("polars" if engine == "polars" else "pandas").lazy()


def _spark(place: str) -> nw.LazyFrame[Any]:
    places = [place] if "://" in place else sorted(str(path) for path in _matching(place))
    # Names of folders are no columns, as on the other engines, which read a folder's files one by one.
    reader = spark_session().read.option("recursiveFileLookup", "true")
    frame: nw.LazyFrame[Any] = nw.from_native(reader.parquet(*places))
    return frame


def _matching(place: str) -> list[Path]:
    path = Path(place)
    if path.is_file():
        return [path]
    root = Path(path.anchor) if path.is_absolute() else Path()
    return list(root.glob(str(path.relative_to(root))))


def _check_installed(engine: str) -> None:
    if find_spec(engine) is None:
        raise ConfigError(f"the engine {engine} is not installed: pip install {engine}")


# -------------------------------------------------------------------------------- Spark


def spark_session() -> SparkSession:
    """Return the running Spark session, the one that ``spark-submit`` prepared, or a small one in this process.

    Raises:
        ConfigError: pyspark or Java is missing or too old.
    """
    if find_spec("pyspark") is None:
        raise ConfigError('the engine spark needs pyspark: pip install "mclrec[spark]"')
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
        where = f"JAVA_HOME is {home}, which holds no bin/java" if home else "there is no java"
        raise ConfigError(
            f"the engine spark needs Java {_JAVA} or newer: {where}; install it, or set JAVA_HOME"
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - found above
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA:
        what = f"is version {version[1]}" if version else "does not say its version"
        raise ConfigError(f"the engine spark needs Java {_JAVA} or newer: {java} {what}; set JAVA_HOME")
