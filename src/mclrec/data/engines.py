"""The engines that can prepare a log that lies in files: Parquet is read by the engine itself, text by DuckDB."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow.dataset as ds

from mclrec.errors import ConfigError, unknown_name

__all__ = ["ENGINES", "check_engine", "moved", "scan_parquet"]

ENGINES = ("duckdb", "polars", "pandas", "spark")
"""DuckDB, the default, spills what does not fit into memory; Spark runs on a cluster; all give the same result."""


def check_engine(name: str) -> None:
    """Whether there is such an engine.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError(unknown_name("engine", name, ENGINES))


def scan_parquet(place: str, engine: str) -> nw.LazyFrame[Any]:
    """Parquet files as a table of an engine other than DuckDB.

    Args:
        place: a file or pattern; for Spark also a folder or an address that it knows, such as ``hdfs://``.
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


def moved(frame: nw.LazyFrame[Any], engine: str, resources: ExitStack) -> nw.LazyFrame[Any]:
    """A DuckDB table as one of another engine.

    Args:
        frame: on DuckDB.
        engine: polars, pandas or spark.
        resources: removes what lies on disk for it.

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
    from mclrec.data.spark import session

    places = [place] if "://" in place else sorted(str(path) for path in _matching(place))
    # Names of folders are no columns, as on the other engines, which read a folder's files one by one.
    reader = session().read.option("recursiveFileLookup", "true")
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
