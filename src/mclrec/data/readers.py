"""Read an interaction log, from a file or a data frame, as one lazy table: user, item, time, sequence.

Files are read by DuckDB into a temporary database on disk, so that a log larger than memory spills. What comes
out is a narwhals frame on the engine that holds the rows; `mclrec.data.prepare` goes on from there with one code
for all engines.

| file | read as |
| --- | --- |
| ``.csv .tsv .dat .data`` | delimited text: comma, tab, ``;``, ``|`` or ``::``, with a header or without |
| ``.inter`` | RecBole: tabs, header of ``name:type`` |
| ``.jsonl .ndjson .json`` | one JSON object a line |
| ``.parquet .pq``, a folder or a pattern | Parquet |
| ``.txt`` | one user a line, ``user item item ...`` in order, blanks between, no header; delimited text if the first line holds a comma, ``;`` or ``::`` |

Text may be gzipped (``.gz``). In text and JSON, ids that are integers throughout are integers ("007" is not); in
Parquet and in frames their type says what they are.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import narwhals as nw

from mclrec.data.columns import Columns
from mclrec.data.engines import check_engine, moved, scan_parquet
from mclrec.data.frames import normalised
from mclrec.data.texts import DELIMITED, JSON, load_text, sql_text, suffix_of
from mclrec.errors import ConfigError, DataError

__all__ = ["Log", "engine_errors", "read_log"]

_MEMORY = "2GB"  # of DuckDB; sorts and joins that need more spill to the temporary directory
_PARQUET = {".parquet", ".pq"}


@dataclass
class Log:
    """A log as a lazy table; closing it removes the temporary database.

    Attributes:
        frame: columns ``user`` and ``item`` (Int64 or String), and where the log has them ``time`` (Int64 or
            Float64) and ``sequence``; no nulls.
        place: file name or kind of frame, for messages.
        name: how reports call the log.
    """

    frame: nw.LazyFrame[Any]
    place: str
    name: str
    resources: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def read_log(
    source: Any,
    *,
    columns: Columns | None = None,
    header: bool | None = None,
    engine: str | None = None,
) -> Log:
    """Open a log; use it in a ``with`` block.

    Args:
        source: path of a file, folder or Parquet pattern, or a pandas, Polars, DuckDB or Spark frame.
        columns: names of the columns; those not given are guessed from the usual ones.
        header: whether delimited text begins with a line of names. Guessed when None: it does if a name is a
            usual one, or if no field is a number or date. Without header: user, item[, rating], time.
        engine: one of `mclrec.data.engines.ENGINES` for files, DuckDB if None; a frame has its own.

    Raises:
        DataError: missing, empty or malformed file; unknown column; null or unusable values.
        ConfigError: there is no such engine, or it is not installed.
    """
    columns = columns or Columns()
    check_engine(engine or "duckdb")
    if isinstance(source, str | Path):
        if engine == "spark" and "://" in str(source):
            name = str(source).rstrip("/").rpartition("/")[2]
            return Log(normalised(scan_parquet(str(source), engine), columns, str(source)), str(source), name)
        return _read_path(Path(source), columns, header, engine or "duckdb")
    if engine is not None:
        raise ConfigError(
            f"a frame is prepared by its own engine, not by {engine}: give a path, or no engine"
        )
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise DataError(
            f"cannot read a {type(source).__name__}: give a path, or a pandas, Polars, DuckDB or Spark frame"
        ) from None
    place = f"{frame.implementation} frame".replace("Implementation.", "").lower()
    return Log(normalised(frame, columns, place), place, "data")


@contextmanager
def engine_errors(place: str) -> Iterator[None]:
    """Turn DuckDB's errors into one line with file and line number."""
    try:
        yield
    except duckdb.Error as problem:
        text = str(problem)
        line = re.search(r"CSV Error on Line: (\d+)", text)
        if line is None:
            raise DataError(f"{place}: cannot be read: {text.splitlines()[0]}") from None
        counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
        if counts is not None:
            what = f"has {counts[2]} columns instead of {counts[1]}"
        elif "unicode" in text.lower():
            what = "is not UTF-8"
        else:
            what = f"is malformed: {text.splitlines()[2]}"
        raise DataError(f"{place}:{line[1]}: line {what}") from None


def _read_path(path: Path, columns: Columns, header: bool | None, engine: str) -> Log:
    pattern = not path.exists() and any(sign in path.name for sign in "*?[")
    if not pattern and not path.exists():
        raise DataError(f"{path}: no such file")
    suffix = suffix_of(path)
    if pattern or path.is_dir():
        suffix = ".parquet"
    if suffix not in DELIMITED | JSON | _PARQUET:
        known = " ".join(sorted(DELIMITED | JSON | _PARQUET))
        raise DataError(
            f"{path}: cannot read files of type {suffix or '(none)'!r}; known: {known} (text also .gz)"
        )
    with ExitStack() as stack:
        if suffix in _PARQUET and engine != "duckdb":
            frame = normalised(scan_parquet(_files(path), engine), columns, str(path))
        else:
            connection = _connect(stack)
            with engine_errors(str(path)):
                frame = _read_file(connection, path, suffix, columns, header)
            if engine != "duckdb":
                frame = moved(frame, engine, stack)
        return Log(frame, str(path), path.name.partition(".")[0] or path.name, stack.pop_all())


def _read_file(
    connection: duckdb.DuckDBPyConnection, path: Path, suffix: str, columns: Columns, header: bool | None
) -> nw.LazyFrame[Any]:
    if suffix in _PARQUET:
        relation = connection.sql(f"FROM read_parquet({sql_text(_files(path))})")
        return normalised(nw.from_native(relation), columns, str(path))
    relation, names = load_text(connection, path, suffix, columns, header)
    return normalised(nw.from_native(relation), names, str(path))


def _files(path: Path) -> str:
    """A file or pattern; of a folder all that is Parquet in it, which is read part by part, never merged."""
    return str(path / "**" / "*.parquet" if path.is_dir() else path)


def _connect(stack: ExitStack) -> duckdb.DuckDBPyConnection:
    """A database in a temporary directory that goes when ``stack`` closes."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))
    connection = duckdb.connect(str(folder / "log.duckdb"))
    stack.callback(connection.close)
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {sql_text(folder / 'spill')}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection
