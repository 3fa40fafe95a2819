"""Columns of frames and Parquet files as Arrow arrays, whatever their names and whichever library holds them.

Columns are selected by position, not by name: names may not be text, may contain dots, quotes or wildcards, or may
differ only in case. Each source is read once, from its first row to its last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.column_types import countable
from mclrec.data.foreign_errors import foreign_errors
from mclrec.errors import DataError, quoted

__all__ = ["ParquetTable", "RawTable", "Selection", "SparkTable", "frame_table", "kind_of"]

_ROWS = 1 << 17  # per batch
_COUNTED = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "ENUM", "BOOLEAN"),
}
"""DuckDB's types whose values can be counted."""


Types = list[tuple[str, list[pa.DataType]]]
"""Column types in each part of a log, with the part's name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of columns of a log.

    Attributes:
        types: types of the columns in each part of the log.
        batches: the columns, one batch of rows at a time.
    """

    types: Types
    batches: Iterator[list[pa.Array]]


class RawTable(Protocol):
    """A log as it was given, before its columns are interpreted.

    Attributes:
        place: file or kind of frame, for messages.
        names: column names, as text.
        in_order: whether its rows have an order.
        engine: the engine that orders it by default.
        format: the format, in words.
    """

    place: str
    format: str
    engine: str
    names: list[str]
    in_order: bool

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position; call it once only, as some sources can be read just once."""

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be read and counted along with others, whatever its name is."""

    def row_place(self, row: int) -> str:
        """Description of a row, for messages."""


# -------------------------------------------------------------------------------- Parquet


class ParquetTable:
    """Parquet files, read one by one in order; all of them need the columns of the first.

    Args:
        files: regular files, as named in messages.
        place: the path that was given.
        contents: files to read instead, if the content is elsewhere.

    Raises:
        DataError: a file is damaged or not Parquet.
    """

    in_order = True
    engine = "duckdb"

    def __init__(self, files: Sequence[Path], place: str, contents: Sequence[Path] | None = None) -> None:
        self.place = place
        self.format = "Parquet" if len(files) == 1 else f"Parquet, {len(files)} files"
        self._files = list(files)
        self._contents = dict(zip(self._files, contents or self._files, strict=True))
        self._starts: list[int] = []
        self._schemas: list[pa.Schema] = []
        rows = 0
        for file in self._files:
            with _parquet(file, self._contents[file]) as source:
                self._starts.append(rows)
                self._schemas.append(source.schema_arrow)
                rows += source.metadata.num_rows
        self.names = list(self._schemas[0].names)
        self.kinds = list(self._schemas[0].types)

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position."""
        return Selection(self.types(wanted), self._batches(wanted))

    def types(self, wanted: Sequence[int]) -> Types:
        """The types of some columns in each file.

        Raises:
            DataError: a file lacks one of them, or has it more than once.
        """
        return [
            (str(file), [schema.types[place] for place in self._places(number, wanted)])
            for number, (file, schema) in enumerate(zip(self._files, self._schemas, strict=True))
        ]

    def _batches(self, wanted: Sequence[int]) -> Iterator[list[pa.Array]]:
        for number, file in enumerate(self._files):
            places = self._places(number, wanted)
            with _parquet(file, self._contents[file]) as source:
                names = list(dict.fromkeys(self._schemas[number].names[place] for place in places))
                for batch in source.iter_batches(_ROWS, columns=names):
                    columns = [_column(batch, self._schemas[number].names[place]) for place in places]
                    for column in columns:
                        column.validate(full=True)  # text in a damaged file may not be UTF-8
                    yield columns

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be counted in all files."""
        name = self.names[place]
        return all(
            schema.names.count(name) == 1 and countable(schema.types[schema.names.index(name)])
            for schema in self._schemas
        )

    def row_place(self, row: int) -> str:
        """The file, and the number of the row in it, from 1."""
        number = bisect_right(self._starts, row) - 1
        return f"{self._files[number]}: row {row - self._starts[number] + 1}"

    def _places(self, number: int, wanted: Sequence[int]) -> list[int]:
        names, first = self._schemas[number].names, self._schemas[0].names
        for place in wanted:
            if (count := names.count(first[place])) != 1:
                many = "no column" if not count else f"{count} columns"
                raise DataError(f"{self._files[number]}: has {many} called {first[place]!r}")
        return [names.index(first[place]) for place in wanted]


@contextmanager
def _parquet(file: Path, content: Path) -> Iterator[pq.ParquetFile]:
    # From an open file: Arrow does not accept paths that are not UTF-8.
    with foreign_errors(str(file), "cannot be read"), content.open("rb") as source:
        yield pq.ParquetFile(source)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.names.index(name))


# -------------------------------------------------------------------------------- frames


def frame_table(source: Any) -> RawTable:
    """Wrap a frame as a raw table.

    Raises:
        DataError: the source is not a frame, or cannot be read.
    """
    if nw.dependencies.is_pandas_like_dataframe(source):
        return _PandasTable(source)
    if isinstance(source, pa.Table):
        return _EagerTable("pyarrow frame", source.column_names, source.column)
    if isinstance(source, duckdb.DuckDBPyRelation):
        return _Relation(source)
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise DataError(
            f"cannot read a {type(source).__name__}: give the name of a data set, a path, or a frame (pandas, "
            "Polars, DuckDB, PyArrow, Spark)"
        ) from None
    if isinstance(frame, nw.DataFrame):
        native = nw.to_native(frame)
        if nw.dependencies.is_pandas_like_dataframe(native):
            return _PandasTable(native)
        names = frame.columns
        return _EagerTable(kind_of(frame), names, lambda place: frame.get_column(names[place]).to_arrow())
    return _LazyTable(frame)


def kind_of(frame: nw.DataFrame[Any] | nw.LazyFrame[Any]) -> str:
    """The kind of a frame, such as "polars frame"."""
    return f"{frame.implementation} frame".replace("Implementation.", "").lower()


def _engine_of(kind: str) -> str:
    """The frame's own engine; DuckDB instead of one that cannot order logs."""
    engine = kind.partition(" ")[0]
    return engine if engine in ("pandas", "polars", "pyarrow") else "duckdb"


class _EagerTable:
    """A frame in memory; only columns that are used are converted to Arrow."""

    in_order = True

    def __init__(self, place: str, names: Sequence[Any], column: Callable[[int], Any]) -> None:
        self.place = self.format = place
        self.engine = _engine_of(place)
        self.names = [str(name) for name in names]
        self._column = column
        self._converted: dict[int, pa.Table] = {}

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position."""
        columns = [self._values(place) for place in wanted]
        return Selection([(self.place, [column.type for column in columns])], _parts(columns))

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be converted and counted."""
        try:
            return countable(self._values(place).type)
        except DataError:
            return False

    def row_place(self, row: int) -> str:
        """The number of the row, from 1."""
        return f"{self.place}: row {row + 1}"

    def _values(self, place: int) -> pa.ChunkedArray:
        if place not in self._converted:
            with foreign_errors(self.place, f"the column {quoted(self.names[place])} cannot be read"):
                values = self._column(place)
                whole = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
                whole.validate(full=True)
                self._converted[place] = whole
        return self._converted[place]


def _parts(columns: list[pa.ChunkedArray]) -> Iterator[list[pa.Array]]:
    names = [str(number) for number in range(len(columns))]
    for batch in pa.Table.from_arrays(columns, names=names).to_batches(_ROWS):
        yield batch.columns


class _PandasTable(_EagerTable):
    def __init__(self, frame: Any) -> None:
        kind = kind_of(nw.from_native(frame.iloc[:, :0]))
        super().__init__(kind, list(frame.columns), lambda place: _series_to_arrow(frame.iloc[:, place]))


def _series_to_arrow(series: Any) -> Any:
    if series.dtype == object:
        kinds = {type(value) for value in series}
        if len(kinds) > 1 and any(issubclass(kind, np.datetime64 | np.timedelta64) for kind in kinds):
            # For such a mixture, Arrow reads memory that it does not own.
            raise ValueError(f"mixes {' and '.join(sorted(kind.__name__ for kind in kinds))}")
    return nw.from_native(series, series_only=True).to_arrow()


class _Relation:
    """A DuckDB relation; its query runs only once, because a query that samples returns other rows each time."""

    in_order = False
    engine = "duckdb"

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self.place = self.format = "duckdb frame"
        self._relation = relation
        with foreign_errors(self.place, "cannot be read"):
            self.names = list(relation.columns)
            self._kinds = [str(kind).partition("(")[0] for kind in relation.types]
        self._reader: pa.RecordBatchReader | None = None

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position; this runs the query."""
        columns = ", ".join(f"#{place + 1} AS c{number}" for number, place in enumerate(wanted))
        with foreign_errors(self.place, "the query failed"):
            reader = self._relation.project(columns).to_arrow_reader(_ROWS)
        return Selection([(self.place, list(reader.schema.types))], self._batches(reader))

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[list[pa.Array]]:
        with foreign_errors(self.place, "the query failed"):
            for batch in reader:
                yield batch.columns

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be counted."""
        return self._kinds[place] in _COUNTED

    def row_place(self, row: int) -> str:
        """The number of the row in the result, from 1."""
        return f"{self.place}: row {row + 1} of the result"


class _LazyTable:
    """Any other kind of lazy frame; collected as Arrow."""

    in_order = False

    def __init__(self, frame: nw.LazyFrame[Any]) -> None:
        self.place = self.format = kind_of(frame)
        self.engine = _engine_of(self.place)
        self._frame = frame
        with foreign_errors(self.place, "cannot be read"):
            schema = frame.collect_schema()
            self.names = [str(name) for name in schema.names()]
            self._kinds = list(schema.dtypes())

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position; this collects the frame."""
        with foreign_errors(self.place, "cannot be collected"):
            # By position: Polars reads some names as patterns.
            chosen = [nw.nth(place).alias(str(number)) for number, place in enumerate(wanted)]
            frame = self._frame.select(chosen).collect()
        table = _EagerTable(self.place, frame.columns, lambda place: frame.get_column(str(place)).to_arrow())
        return table.read(range(len(wanted)))

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be counted."""
        kind = self._kinds[place]
        return kind.is_numeric() or kind in (nw.String, nw.Boolean, nw.Categorical, nw.Enum)

    def row_place(self, row: int) -> str:
        """The number of the collected row, from 1."""
        return f"{self.place}: row {row + 1} of what was collected"


class SparkTable:
    """A Spark table, whose columns are collected in this process."""

    in_order = False
    engine = "spark"

    def __init__(self, native: Any, place: str) -> None:
        self.place = self.format = place
        self.names = [str(name) for name in native.columns]
        self._native = native

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position; this collects the table."""
        with foreign_errors(self.place, "cannot be collected"):
            # By position: Spark reads dots in names as access to fields of structures.
            renamed = self._native.toDF(*[f"c{number}" for number in range(len(self.names))])
            table = renamed.select([f"c{place}" for place in wanted]).toArrow()
        return Selection([(self.place, list(table.schema.types))], _parts(table.columns))

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be counted."""
        kind = self._native.schema.fields[place].dataType.typeName()
        return kind in ("byte", "short", "integer", "long", "float", "double", "decimal", "string", "boolean")

    def row_place(self, row: int) -> str:
        """The number of the collected row, from 1."""
        return f"{self.place}: row {row + 1} of what was collected"
