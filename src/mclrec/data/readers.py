"""Read an interaction log, from a file or a data frame, as one lazy table: user, item, time, sequence.

Whatever the engine, paths are opened by `mclrec.data.places`, text is read by `mclrec.data.texts`, and Parquet and
frames become Arrow arrays, whose types `mclrec.data.column_types` interprets. The rows then go to the engine that
orders them: by default a temporary DuckDB database on disk, so that a log larger than memory spills. The result is a
narwhals frame, which `mclrec.data.preparation` processes with the same code for all engines.

| file | read as |
| --- | --- |
| ``.csv .tsv .dat .data .txt`` | fields between commas, tabs, ``;``, ``|``, ``::`` or blanks, with a header or not |
| ``.inter`` | the same, with RecBole's header of ``name:type`` |
| the same | one user per line, items in order: ``user item item ...`` or ``user:item item ...``, no header |
| ``.jsonl .ndjson .json`` | one JSON object or Python dict per line, or one array of objects |
| ``.parquet .pq`` | Parquet |
| a folder or pattern | files of one of these types, as one log |
| ``https:// s3://`` ... | a file at this address, fetched by DuckDB's extension httpfs |

The form of text is detected from its lines, and the roles of columns without names from their values. Text may be
gzipped, and any file compressed as ``.bz2``, ``.zst`` or ``.zip``. A path that exists is never a pattern. In text and
JSON, ids are integers if all of them are ("007" is not); in Parquet and frames, the type of the column decides.
"""

from __future__ import annotations

import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import duckdb
import narwhals as nw
import pyarrow as pa

from mclrec.data.backends import check_engine, move_table, on_engine, scan_spark
from mclrec.data.columns import Columns, has_ending
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.histories import settle
from mclrec.data.intake import Found
from mclrec.data.list_columns import SOURCE_ROW
from mclrec.data.normalisation import Normalised, normalised
from mclrec.data.origin import Reading
from mclrec.data.places import PARQUET, linked, log_files
from mclrec.data.raw_tables import ParquetTable, frame_table
from mclrec.data.remote import fetched
from mclrec.data.spark_logs import is_spark, of_spark, spark_holds, spark_reads, spark_table
from mclrec.data.text_tables import sql_text, store
from mclrec.data.texts import load_text
from mclrec.data.typed_text import typed
from mclrec.data.unpacking import unpacked
from mclrec.errors import ConfigError, DataError, MclrecWarning, quoted

__all__ = ["Log", "PartRead", "read_log", "temporary_database"]

_MEMORY = "2GB"  # limit of DuckDB; larger sorts and joins spill to the temporary directory


class PartRead(NamedTuple):
    """One file of a log in several parts: its place, and what was found in it."""

    place: str
    found: Found


@dataclass
class Log:
    """A log as a lazy table; closing it removes the temporary database.

    Attributes:
        frame: columns ``user`` and ``item`` (Int64 or String), and, if the log has them, ``time`` (Int64 or Float64)
            and ``sequence``; no nulls.
        place: file name or kind of frame, for messages.
        name: name of the log in reports.
        ticks: ticks of ``time`` per second, or per unit of the log if its times are numbers.
        found: format, columns, and the rows that were dropped while the log was read.
        parts: what was found in the training, validation and test files, if the log consists of these; ``frame`` then
            has a column ``part`` with the number of each row's file, from 0.
    """

    frame: nw.LazyFrame[Any]
    place: str
    name: str
    ticks: int = 1
    found: Found = field(default_factory=Found)
    resources: ExitStack = field(default_factory=ExitStack, repr=False)
    parts: tuple[PartRead, ...] = ()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def read_log(source: Any, reading: Reading | None = None, *, engine: str | None = None) -> Log:
    """Open a log; use it in a ``with`` block.

    Args:
        source: path of a file or folder, a pattern, an address, or a frame of any engine that narwhals supports.
        reading: names of columns and other reading options; those that are not given are detected.
        engine: one of `mclrec.data.backends.ENGINES` for files, DuckDB if None; None for a frame, which has its own.

    Raises:
        DataError: missing, empty or malformed file; unknown column; null or unusable values.
        ConfigError: there is no such engine, or it is not installed.
    """
    reading = reading or Reading()
    check_engine("duckdb" if engine is None else engine)
    log = _opened(source, reading, engine)
    _warn_of_endings(log, reading.columns or Columns())
    return log


def _warn_of_endings(log: Log, asked: Columns) -> None:
    """Warn about columns that were not named and were chosen by the ending of their name."""
    for column in log.found.columns:
        if log.found.followed and column.role == "item":
            continue  # a list and the item after it, shown under one name
        name = column.name.rpartition(": ")[2]  # name of a field in lists
        if getattr(asked, column.role, None) is None and has_ending(column.role, name):
            warnings.warn(
                f"{log.place}: took {quoted(name)} as the {column.role} by the end of its name; if that is wrong: "
                f"--{column.role}-column",
                MclrecWarning,
                stacklevel=4,
            )


def _opened(source: Any, reading: Reading, engine: str | None) -> Log:
    with ExitStack() as stack:
        if isinstance(source, str | Path):
            if engine == "spark" and "://" in str(source):
                table = scan_spark([str(source)], str(source))
                frame, ticks, found = _open_spark(table, reading, str(source), stack)
                name = str(source).rstrip("/").rpartition("/")[2]
                return Log(frame, str(source), name, ticks, found, stack.pop_all())
            frame, ticks, found = _read_path(source, reading, engine or "duckdb", stack)
            return Log(frame, str(source), _name(source), ticks, found, stack.pop_all())
        if engine is not None:
            raise ConfigError(
                f"a frame is prepared by its own engine, not by {engine}: give a path, or no engine"
            )
        if is_spark(source):
            frame, ticks, found = _open_spark(source, reading, "pyspark frame", stack)
            return Log(frame, "pyspark frame", "data", ticks, found, stack.pop_all())
        raw = frame_table(source)
        log = normalised(raw, reading)
        frame, ticks = _stored(log, raw.engine, reading, stack)
        return Log(frame, raw.place, "data", ticks, log.found(), stack.pop_all())


def _name(source: str | Path) -> str:
    """Name of a log in reports: the file name without its suffixes."""
    name = str(source).partition("?")[0].rstrip("/").rpartition("/")[2]
    return name.partition(".")[0] or name


def _read_path(
    source: str | Path, reading: Reading, engine: str, stack: ExitStack
) -> tuple[nw.LazyFrame[Any], int, Found]:
    place, folder = str(source), _folder(stack)
    path = fetched(place, folder) if "://" in place else Path(source)
    files = [part for file in log_files(path) for part in unpacked(file, folder)]
    if files[0].suffix not in PARQUET:
        connection, links = temporary_database(stack)
        with foreign_errors(place, "cannot be read"):
            found = load_text(connection, files, place, links, reading)
        for doubt in found.doubts:
            warnings.warn(doubt, MclrecWarning, stacklevel=5)
        return on_engine(nw.from_native(found.relation), engine, stack), found.ticks, found.found
    contents = [file.content for file in files]
    raw = ParquetTable([file.path for file in files], place, contents)
    if engine == "spark" and spark_reads(raw, reading):
        parts = linked(contents, _folder(stack), ".parquet")
        return _open_spark(scan_spark([str(part) for part in parts], place), reading, place, stack)
    log = normalised(raw, reading)
    return *_stored(log, engine, reading, stack), log.found()


def _open_spark(
    table: Any, reading: Reading, place: str, stack: ExitStack
) -> tuple[nw.LazyFrame[Any], int, Found]:
    """Open a Spark table: with Spark if it represents the column types without loss, otherwise through Arrow."""
    if spark_holds(table, reading, place):
        return of_spark(table, reading.columns or Columns(), place)
    log = normalised(spark_table(table, place), reading)
    return *_stored(log, "spark", reading, stack), log.found()


def _stored(
    log: Normalised, engine: str, reading: Reading, stack: ExitStack
) -> tuple[nw.LazyFrame[Any], int]:
    """Move rows to an engine (text and lists are parsed by DuckDB first); return them and the ticks of their times."""
    place = log.raw.place
    if engine != "duckdb" and not log.text and not log.lists:
        if reading.time_format is not None:
            raise DataError(f"{place}: has no times as text, so --time-format cannot be used")
        with foreign_errors(place, "cannot be read"):
            return move_table(pa.Table.from_batches(log.batches, log.schema), engine, stack), log.ticks
    connection, _ = temporary_database(stack)
    with foreign_errors(place, "cannot be read"):
        store(connection, log.schema, log.batches)
        row_place = log.rows.row_place
        if log.lists:
            settle(connection, row_place, timed="time" in log.schema.names)
        roles = [name for name in log.schema.names if name != SOURCE_ROW]
        found = typed(connection, roles, place, row_place, reading, text_ids=False, day=log.day)
        return on_engine(nw.from_native(found.relation), engine, stack), log.ticks * found.ticks


def _folder(stack: ExitStack) -> Path:
    """A temporary folder that is removed when ``stack`` closes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))


def temporary_database(stack: ExitStack) -> tuple[duckdb.DuckDBPyConnection, Path]:
    """Open a DuckDB database in a temporary folder; return it and the folder."""
    folder = _folder(stack)
    connection = duckdb.connect(str(folder / "log.duckdb"))
    stack.callback(connection.close)
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {sql_text(folder / 'spill')}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection, folder
