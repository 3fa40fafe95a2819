"""Read an interaction log, from a file or a data frame, as one lazy table: user, item, time, sequence.

Whatever the engine, a path is opened by `mclrec.data.places`, text is read by `mclrec.data.texts`, and Parquet and
frames become Arrow arrays, whose types `mclrec.data.column_types` reads. The rows then go to the engine that orders
them: by default a temporary database of DuckDB on disk, so that a log larger than memory spills. What comes out is a
narwhals frame, and `mclrec.data.preparation` goes on from there with one code for all engines.

| file | read as |
| --- | --- |
| ``.csv .tsv .dat .data`` | delimited text: comma, tab, ``;``, ``|`` or ``::``, with a header or without |
| ``.inter`` | RecBole: tabs, header of ``name:type`` |
| ``.jsonl .ndjson .json`` | one JSON object a line, or one array of objects |
| ``.parquet .pq``, a folder or a pattern | Parquet |
| ``.txt`` | one user a line, ``user item item ...`` in order, blanks between, no header; delimited text if the first line holds a comma, ``;`` or ``::`` |

Text may be gzipped (``.gz``); a path that exists is never a pattern. In text and JSON, ids that are integers throughout are integers ("007" is not); in
Parquet and in frames their type says what they are.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa

from mclrec.data.backends import check_engine, move_table, on_engine, scan_spark
from mclrec.data.columns import Columns
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.intake import Found
from mclrec.data.normalisation import Normalised, normalised
from mclrec.data.origin import Reading
from mclrec.data.places import PARQUET, linked, log_files, suffix_of
from mclrec.data.raw_tables import ParquetTable, frame_table
from mclrec.data.spark_logs import is_spark, of_spark, spark_reads
from mclrec.data.text_tables import sql_text, store
from mclrec.data.texts import load_text
from mclrec.data.typed_text import typed
from mclrec.errors import ConfigError, DataError

__all__ = ["Log", "read_log"]

_MEMORY = "2GB"  # of DuckDB; sorts and joins that need more spill to the temporary directory


@dataclass
class Log:
    """A log as a lazy table; closing it removes the temporary database.

    Attributes:
        frame: columns ``user`` and ``item`` (Int64 or String), and where the log has them ``time`` (Int64 or
            Float64) and ``sequence``; no nulls.
        place: file name or kind of frame, for messages.
        name: how reports call the log.
        ticks: units of ``time`` in a second, or in one of the units that the log has.
        found: its format and columns, and the rows that were dropped while it was read.
    """

    frame: nw.LazyFrame[Any]
    place: str
    name: str
    ticks: int = 1
    found: Found = field(default_factory=Found)
    resources: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def read_log(source: Any, reading: Reading | None = None, *, engine: str | None = None) -> Log:
    """Open a log; use it in a ``with`` block.

    Args:
        source: path of a file, folder or Parquet pattern, or a frame of any engine that narwhals takes.
        reading: names of columns and what else was said about the log; what was not is found out.
        engine: one of `mclrec.data.backends.ENGINES` for files, DuckDB if None; a frame has its own.

    Raises:
        DataError: missing, empty or malformed file; unknown column; null or unusable values.
        ConfigError: there is no such engine, or it is not installed.
    """
    reading = reading or Reading()
    columns = reading.columns or Columns()
    check_engine("duckdb" if engine is None else engine)
    with ExitStack() as stack:
        if isinstance(source, str | Path):
            name = str(source).rstrip("/").rpartition("/")[2]
            if engine == "spark" and "://" in str(source):
                frame, ticks, found = of_spark(scan_spark([str(source)], str(source)), columns, str(source))
                return Log(frame, str(source), name, ticks, found, stack.pop_all())
            if "://" in str(source):
                raise DataError(f"{source}: an address is read by the engine spark alone; copy it to a file")
            frame, ticks, found = _read_path(Path(source), columns, reading.header, engine or "duckdb", stack)
            return Log(frame, str(source), name.partition(".")[0] or name, ticks, found, stack.pop_all())
        if engine is not None:
            raise ConfigError(
                f"a frame is prepared by its own engine, not by {engine}: give a path, or no engine"
            )
        if is_spark(source):
            frame, ticks, found = of_spark(source, columns, "pyspark frame")
            return Log(frame, "pyspark frame", "data", ticks, found, stack.pop_all())
        raw = frame_table(source)
        log = normalised(raw, columns)
        frame, ticks = _stored(log, raw.engine, stack)
        return Log(frame, raw.place, "data", ticks, log.found(), stack.pop_all())


def _read_path(
    path: Path, columns: Columns, header: bool | None, engine: str, stack: ExitStack
) -> tuple[nw.LazyFrame[Any], int, Found]:
    files = log_files(path)
    if suffix_of(files[0]) not in PARQUET:
        connection, folder = _connect(stack)
        with foreign_errors(str(path), "cannot be read"):
            found = load_text(connection, files[0], folder, columns, header)
        return on_engine(nw.from_native(found.relation), engine, stack), found.ticks, found.found
    raw = ParquetTable(files, str(path))
    if engine == "spark" and spark_reads(raw, columns):
        links = linked(files, _folder(stack), ".parquet")
        return of_spark(scan_spark([str(link) for link in links], str(path)), columns, str(path))
    log = normalised(raw, columns)
    return *_stored(log, engine, stack), log.found()


def _stored(log: Normalised, engine: str, stack: ExitStack) -> tuple[nw.LazyFrame[Any], int]:
    """The rows on an engine, and the ticks of their times; text goes through DuckDB, which reads it."""
    place = log.raw.place
    if engine != "duckdb" and not log.text:
        with foreign_errors(place, "cannot be read"):
            return move_table(pa.Table.from_batches(log.batches, log.schema), engine, stack), log.ticks
    connection, _ = _connect(stack)
    with foreign_errors(place, "cannot be read"):
        store(connection, log.schema, log.batches)
        found = typed(connection, log.schema.names, place, log.raw.row_place, text_ids=False)
        return on_engine(nw.from_native(found.relation), engine, stack), log.ticks * found.ticks


def _folder(stack: ExitStack) -> Path:
    """A temporary folder that goes when ``stack`` closes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))


def _connect(stack: ExitStack) -> tuple[duckdb.DuckDBPyConnection, Path]:
    """A database in a temporary folder, and that folder."""
    folder = _folder(stack)
    connection = duckdb.connect(str(folder / "log.duckdb"))
    stack.callback(connection.close)
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {sql_text(folder / 'spill')}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection, folder
