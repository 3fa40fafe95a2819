"""Logs in separate files for training, validation and test: each is read as a log, and all are merged into one table.

The columns of the first file determine how the others are read. Ids are merged as if all rows were in one file, and
times are converted to one unit. DuckDB holds the merged table, whichever engine has read the files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw

from mclrec.data.columns import Columns
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.intake import PART_NAMES, Counts, Found, Step
from mclrec.data.origin import Reading
from mclrec.data.part_sources import source_of
from mclrec.data.places import log_files
from mclrec.data.readers import Log, PartRead, read_log, temporary_database
from mclrec.data.text_tables import sql_text
from mclrec.data.watched_columns import watched_in_all
from mclrec.errors import ConfigError, DataError

__all__ = ["read_parts"]

_OPTIONS = ("the log", "--valid", "--test")
_EXACT = 2**53
_FLOAT_ID = r"(0|-?[1-9]\d{0,14})\.0"


@dataclass(frozen=True, slots=True)
class _Copied:
    """A file of the log, copied to Parquet.

    Attributes:
        log: the log that was read, closed by now.
        files: the copy, as an SQL literal for DuckDB's ``read_parquet``.
        kinds: DuckDB's types of its columns, by role.
        rows: number of rows.
    """

    log: Log
    files: str
    kinds: dict[str, str]
    rows: int


def read_parts(source: Any, reading: Reading, *, engine: str | None = None) -> Log:
    """Open a log in three files; use it in a ``with`` block.

    Args:
        source: the training set: a path or frame, as for `mclrec.data.readers.read_log`.
        reading: how each file is read; ``valid`` and ``test`` are the sources of the other two.
        engine: as for `mclrec.data.readers.read_log`.

    Raises:
        DataError: as for one log; or two of them are the same file, or their columns or types differ.
        ConfigError: there is no such engine, or it is not installed, or frames are mixed with paths.
    """
    sources = [source, source_of(reading.valid), source_of(reading.test)]
    _check_apart(sources, reading)
    alone = reading.model_copy(update={"valid": None, "test": None})
    with ExitStack() as stack:
        connection, _ = temporary_database(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))
        copied: list[_Copied] = []
        for number, part in enumerate(sources):
            one = alone if not copied else _reading_by_first(alone, copied[0].log.found)
            copied.append(_copied(connection, part, one, engine, folder / f"part{number}.parquet", number))
        first = copied[0].log
        for other in copied[1:]:
            _check_alike(copied[0], other)
        with foreign_errors(first.place, "cannot be merged with its validation and test files"):
            ticks = max(part.log.ticks for part in copied)
            queries = " UNION ALL ".join(
                _query(connection, copied, number, ticks) for number in range(len(copied))
            )
            connection.execute(f"CREATE TABLE merged AS {queries}")
        return Log(
            nw.from_native(connection.table("merged")).lazy(),
            first.place,
            first.name,
            ticks,
            _found(copied),
            stack.pop_all(),
            tuple(PartRead(part.log.place, part.log.found) for part in copied),
        )


def _check_apart(sources: Sequence[Any], reading: Reading) -> None:
    """Refuse a mixture of paths and frames, and parts that share a file or frame."""
    frames = [not isinstance(source, str | Path) for source in sources]
    if any(frames) != all(frames):
        raise ConfigError("--valid, --test: give paths if the log is a path, and frames if it is a frame")
    places = [{id(source)} if frames[0] else _files_of(source) for source in sources]
    for later in (1, 2):
        for earlier in range(later):
            if twice := places[earlier] & places[later]:
                shown = str(reading.valid if later == 1 else reading.test) if frames[0] else str(min(twice))
                raise DataError(
                    f"{shown}: is read for both {_OPTIONS[earlier]} and {_OPTIONS[later]}; each part of a split needs "
                    "files of its own"
                )


def _files_of(source: str | Path) -> set[Any]:
    if "://" in str(source):
        return {str(source)}
    return {file.resolve() for file in log_files(Path(source))}


def _reading_by_first(reading: Reading, found: Found) -> Reading:
    """Reading options of a further file, with the columns of the first."""
    given = reading.columns or Columns()
    if found.columns_again is None:
        return reading
    again = replace(found.columns_again, numbered=given.numbered)
    again = replace(again, file_order=again.file_order or given.file_order)
    return reading.model_copy(update={"columns": again})


def _copied(
    connection: duckdb.DuckDBPyConnection,
    source: Any,
    reading: Reading,
    engine: str | None,
    path: Path,
    number: int,
) -> _Copied:
    """Read a file and copy its rows to Parquet."""
    try:
        with read_log(source, reading, engine=engine) as log, foreign_errors(log.place, "cannot be read"):
            log.frame.sink_parquet(str(path))
    except DataError as problem:
        if isinstance(source, str | Path):
            raise
        raise DataError(f"the {PART_NAMES[number]} set: {problem}") from None
    files = sql_text(path / "*.parquet" if path.is_dir() else path)
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({files})").fetchall()  # noqa: S608 - ours
    [(rows,)] = connection.execute(f"SELECT count(*) FROM read_parquet({files})").fetchall()  # noqa: S608 - ours
    if not rows:
        raise DataError(f"{log.place}: has no rows")
    return _Copied(log, files, {str(name): str(kind) for name, kind, *_ in described}, rows)


def _check_alike(first: _Copied, other: _Copied) -> None:
    """Refuse a file whose columns differ from those of the first."""
    more = [role for role in other.kinds if role not in first.kinds]
    lacking = [role for role in first.kinds if role not in other.kinds]
    if more or lacking:
        role, what = (lacking[0], "no") if lacking else (more[0], "a")
        raise DataError(
            f"{other.log.place}: has {what} {role} column, unlike {first.log.place}; the files of a split need "
            "the same columns"
        )


def _query(connection: duckdb.DuckDBPyConnection, parts: Sequence[_Copied], number: int, ticks: int) -> str:
    """SQL: the rows of a file, with the column types that all files share."""
    part = parts[number]
    chosen = [f'{_id(connection, parts, number, role)} AS "{role}"' for role in ("user", "item")]
    if "time" in part.kinds:
        chosen.append(f"{_time(connection, parts, number, ticks)} AS time")
    if "sequence" in part.kinds:
        same = len({other.kinds["sequence"] for other in parts}) == 1
        # It only orders rows within a file, so its ranks order them as well.
        chosen.append("sequence" if same else "dense_rank() OVER (ORDER BY sequence) AS sequence")
    if "label" in part.kinds:
        chosen.append("label")
    return f"SELECT {', '.join(chosen)}, CAST({number} AS TINYINT) AS part FROM read_parquet({part.files})"  # noqa: S608 - ours


def _id(connection: duckdb.DuckDBPyConnection, parts: Sequence[_Copied], number: int, role: str) -> str:
    """SQL: an id, unchanged if all files have one type; as text if only some of several text files hold integers."""
    kinds = [part.kinds[role] for part in parts]
    part, other = parts[number], next((place for place, kind in enumerate(kinds) if kind != kinds[0]), None)
    name = f'"{role}"'
    if other is None:
        return name
    texts = all(part.log.found.text_ids for part in parts)
    if kinds[number] == "VARCHAR" and texts:
        test = f"regexp_full_match({name}, {sql_text(_FLOAT_ID)})"
        texts = not _any_row_passes(connection, part, test)
    if not texts:
        first, second = ("text" if kinds[place] == "VARCHAR" else "integers" for place in (0, other))
        raise DataError(
            f"{parts[other].log.place}: the {role} column holds {second}, but that of {parts[0].log.place} {first}; "
            "write ids the same way in all files"
        )
    return f"CAST({name} AS VARCHAR)"


def _any_row_passes(connection: duckdb.DuckDBPyConnection, part: _Copied, test: str) -> bool:
    """Whether any row of a file passes a test."""
    query = f"SELECT count(*) FROM read_parquet({part.files}) WHERE {test}"  # noqa: S608 - ours
    return bool(connection.execute(query).fetchall() != [(0,)])


def _time(connection: duckdb.DuckDBPyConnection, parts: Sequence[_Copied], number: int, ticks: int) -> str:
    """SQL: a time in ticks shared by all files, as a float if any file has floats."""
    part = parts[number]
    floats = any(other.kinds["time"] == "DOUBLE" for other in parts)
    exact = floats and part.kinds["time"] != "DOUBLE"
    if exact and _any_row_passes(connection, part, f"abs(time) > {_EXACT}"):
        raise DataError(
            f"{part.log.place}: has times beyond 2^53, which cannot be ordered with the floats of another file; "
            "write times the same way in all files"
        )
    factor = ticks // part.log.ticks
    return f"CAST(time AS {'DOUBLE' if floats else 'BIGINT'}){f' * {factor}' if factor > 1 else ''}"


def _found(parts: Sequence[_Copied]) -> Found:
    """What was found in all files combined; format and columns are those of the first."""
    founds = [part.log.found for part in parts]
    read = None
    if any(found.read is not None for found in founds):
        read = sum(part.rows if part.log.found.read is None else part.log.found.read for part in parts)
    watched = watched_in_all([found.watched for found in founds])
    steps: list[Step] = []
    for place, step in enumerate(founds[0].steps):
        left = [
            found.steps[place].left.rows if place < len(found.steps) else part.rows
            for part, found in zip(parts, founds, strict=True)
        ]
        steps.append(step.model_copy(update={"left": Counts(users=None, items=None, rows=sum(left))}))
    return replace(
        founds[0],
        format=f"{founds[0].format}, in three files",
        read=read,
        steps=tuple(steps),
        watched=watched,
    )
