"""Reader of any system's recommendation lists: csv, tsv, JSON, Parquet and TREC run files, and data frames.

A row contains a user, an item, and its rank or score, or a user and an ordered list of items. This covers the output of
RecTools (``user_id,item_id,score,rank``) and RePlay (``query_id,item_id,rating``), column names with RecBole's types
(``item_id_list:token_seq``), and run files (``qid Q0 docid rank score tag``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import (
    ColumnType,
    UnfitError,
    common_type,
    converted,
    is_text,
    missing_values,
    plain,
)
from mclrec.data.places import PARQUET, log_files, path_exists
from mclrec.data.raw_tables import ParquetTable, RawTable, frame_table
from mclrec.data.unpacking import Unpacked, unpacked
from mclrec.errors import DataError, quoted
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.recommended_columns import ListColumns, Ordering
from mclrec.evaluation.recommended_text import number_values, read_text
from mclrec.files import regular_file
from mclrec.wording import count_of

__all__ = ["RecommendedLists", "read_lists"]

_PARQUET = b"PAR1"

Order = npt.NDArray[Any]
"""int64 or float64."""


@dataclass(frozen=True, slots=True, eq=False)
class RecommendedLists:
    """Rows of a file of recommendations, each an item recommended to a user.

    Attributes:
        place: file or kind of frame, for messages.
        users: (R,) outside ids, int64 or large_string.
        items: (R,) outside ids, int64 or large_string.
        order: (R,) ranks, scores or row numbers, which order the rows of a user.
        ordering: which of them ``order`` contains.
        columns: columns that were used, by role.
        not_listed: rows that were left out because their score is missing, NaN or minus infinity.
    """

    place: str
    users: pa.Array
    items: pa.Array
    order: Order
    ordering: Ordering
    columns: dict[str, str]
    not_listed: int

    def __len__(self) -> int:
        return len(self.users)


def read_lists(source: Any, columns: ListColumns | None = None) -> RecommendedLists:
    """Read recommendation lists.

    Args:
        source: path of a file, or of a folder of files of one type; or a data frame of any kind supported for logs.
        columns: names of the columns; recognised by common names if not given.

    Raises:
        DataError: missing, empty or damaged file; unknown column; missing or invalid user, item, rank or score; several
            lists of a user.
    """
    columns = columns or ListColumns()
    if not isinstance(source, str | Path):
        return _of_table(frame_table(source), columns)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))
        files = [part for file in _files(Path(source)) for part in unpacked(file, folder)]
        if not _is_parquet(files[0]):
            return _of_text(files, columns, str(source))
        contents = [file.content for file in files]
        return _of_table(ParquetTable([file.path for file in files], str(source), contents), columns)


def _files(path: Path) -> list[Path]:
    """The files of a path; a single file may have any name, as TREC run files do."""
    if path_exists(path) and not path.is_dir():
        return [regular_file(path)]
    return log_files(path)


def _is_parquet(file: Unpacked) -> bool:
    if file.suffix in PARQUET:
        return True
    try:
        with file.content.open("rb") as content:
            return content.read(len(_PARQUET)) == _PARQUET
    except OSError as problem:
        raise DataError(f"{file.path}: cannot be read: {problem.strerror or problem}") from None


@dataclass(slots=True)
class _Gathered:
    """Accumulator for the rows of successive parts of a source.

    Attributes:
        place: file or kind of frame.
        ordering: what orders the items of a list.
        columns: columns that are used, by role.
        users: one array per part; likewise ``items`` and ``orders``.
        not_listed: number of rows that were left out.
        rows: number of rows kept so far.
    """

    place: str
    ordering: Ordering
    columns: dict[str, str]
    users: list[pa.Array] = field(default_factory=list)
    items: list[pa.Array] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    not_listed: int = 0
    rows: int = 0

    def add(
        self, users: pa.Array, items: pa.Array, order: pa.Array | None, row_place: Callable[[int], str]
    ) -> None:
        """Add rows; lists of items are flattened into rows.

        Raises:
            DataError: a rank is missing or invalid, or a score is not a number.
        """
        if pa.types.is_nested(items.type):
            parents = pc.list_parent_indices(items)
            users, items = users.take(parents), pc.list_flatten(items)
        if self.ordering == "rows" or order is None:
            values: Order = np.arange(self.rows, self.rows + len(users))
        elif self.ordering == "rank":
            values = _ranks(order, row_place)
        else:
            values, listed = _scores(order, row_place)
            kept = pa.array(listed)
            users, items, values = users.filter(kept), items.filter(kept), values[listed]
            self.not_listed += int(np.count_nonzero(~listed))
        self.rows += len(users)
        self.users.append(users)
        self.items.append(items)
        self.orders.append(values)

    def result(self) -> RecommendedLists:
        """Concatenate all rows.

        Raises:
            DataError: there are no rows.
        """
        if not self.rows:
            what = f": {count_of(self.not_listed, 'row')} without a score" if self.not_listed else ""
            raise DataError(f"{self.place}: contains no recommendations{what}")
        users, items = (pa.chunked_array(parts).combine_chunks() for parts in (self.users, self.items))
        return RecommendedLists(
            self.place,
            users,
            items,
            np.concatenate(self.orders),
            self.ordering,
            self.columns,
            self.not_listed,
        )


def _of_text(files: Sequence[Unpacked], columns: ListColumns, place: str) -> RecommendedLists:
    gathered: _Gathered | None = None
    for file in files:
        rows = read_text(file, columns)
        lists = pa.types.is_nested(rows.items.type)
        if gathered is None:
            gathered = _Gathered(place, columns.ordering(rows.columns, lists=lists), rows.columns)
        if rows.columns != gathered.columns:
            raise DataError(
                f"{file.path}: has other columns than {files[0].path}; all files need the same columns"
            )
        if lists:
            _refuse_second_lists([*gathered.users, rows.users], rows.row_place)
        gathered.add(rows.users, rows.items, rows.order, rows.row_place)
    assert gathered is not None
    return gathered.result()


def _of_table(raw: RawTable, columns: ListColumns) -> RecommendedLists:
    """Read lists from Parquet or a frame.

    Raises:
        DataError: as in `read_lists`.
    """
    named = columns.resolve(raw.names, raw.place)
    selection = raw.read([raw.names.index(column) for column in named.values()])
    types = {
        role: [(part, kinds[number]) for part, kinds in selection.types] for number, role in enumerate(named)
    }
    lists = _is_list(types["item"][0][1])
    taken = {role: column for role, column in named.items() if role != "order" or not lists}
    gathered = _Gathered(raw.place, columns.ordering(named, lists=lists), taken)
    if gathered.ordering == "rows" and not lists:
        columns.check_order(raw.names, raw.place, in_order=raw.in_order)
    targets = {role: _id_type(role, types[role], lists=lists) for role in ("user", "item")}
    start = 0
    for arrays in selection.batches:
        found = dict(zip(named, map(plain, arrays), strict=True))

        def row_place(row: int, start: int = start) -> str:
            return raw.row_place(start + row)

        users = _converted("user", found["user"], targets["user"], row_place)
        if lists:
            _refuse_second_lists([*gathered.users, users], row_place)
        items = _items(found["item"], targets["item"], row_place)
        gathered.add(users, items, found.get("order"), row_place)
        start += len(users)
    return gathered.result()


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _id_type(role: str, types: list[tuple[str, pa.DataType]], *, lists: bool) -> ColumnType:
    """Common type of a column of ids, or of the elements of a column of lists."""
    if role == "item" and lists:
        types = [(part, kind.value_type if _is_list(kind) else kind) for part, kind in types]
    return common_type(role, types)


def _converted(role: str, values: pa.Array, target: ColumnType, row_place: Callable[[int], str]) -> pa.Array:
    """Convert ids to int64 or text.

    Raises:
        DataError: an id is missing or cannot be converted.
    """
    row = pc.index(missing_values(role, values), True).as_py()
    if row >= 0:
        raise DataError(f"{row_place(row)}: has no {role}; fix the file or leave the row out")
    try:
        return converted(role, values, target)
    except UnfitError as problem:
        raise DataError(f"{row_place(problem.row)}: {problem}") from None


def _items(values: pa.Array, target: ColumnType, row_place: Callable[[int], str]) -> pa.Array:
    """Convert items, or the elements of lists of items, to int64 or text."""
    if not _is_list(values.type):
        return _converted("item", values, target, row_place)
    flat, parents = plain(pc.list_flatten(values)), pc.list_parent_indices(values)
    flat = _converted("item", flat, target, lambda row: row_place(parents[row].as_py()))
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat)


def _refuse_second_lists(users: Sequence[pa.Array], row_place: Callable[[int], str]) -> None:
    """Refuse a second list of a user, since it is ambiguous which one counts.

    Raises:
        DataError: the last part contains a second list of a user.
    """
    seen = pa.chunked_array(users).to_pylist()
    if len(set(seen)) == len(seen):
        return
    before = set(seen[: len(seen) - len(users[-1])])
    for row, user in enumerate(users[-1].to_pylist()):
        if user in before:
            raise DataError(f"{row_place(row)}: user {quoted(user)} already has a list; leave one out")
        before.add(user)


def _ranks(values: pa.Array, row_place: Callable[[int], str]) -> npt.NDArray[np.int64]:
    """Parse ranks.

    Raises:
        DataError: a rank is missing, not an integer, negative or not below `MISS`.
    """
    numbers = _numbers("rank", values, row_place).cast(pa.float64())
    whole = pc.and_kleene(
        pc.equal(numbers, pc.floor(numbers)),
        pc.and_kleene(pc.greater_equal(numbers, 0), pc.less(numbers, MISS)),
    )
    row = pc.index(pc.fill_null(whole, False), False).as_py()
    if row >= 0:
        raise DataError(
            f"{row_place(row)}: rank {quoted(values[row].as_py())} is not a whole number of at least 1; if it is a "
            "score, name the column with --list-score"
        )
    found: npt.NDArray[np.int64] = numbers.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _scores(values: pa.Array, row_place: Callable[[int], str]) -> tuple[Order, npt.NDArray[np.bool_]]:
    """Parse scores, and whether each row counts as listed: not if its score is missing, NaN or minus infinity."""
    numbers = _numbers("score", values, row_place)
    listed = pc.is_valid(numbers).to_numpy(zero_copy_only=False)
    found: Order = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if found.dtype == np.float64:
        listed = listed & (found > -np.inf)  # False for NaN too
        found = found + 0.0  # turns -0 into 0
    return found, listed


def _numbers(role: str, values: pa.Array, row_place: Callable[[int], str]) -> pa.Array:
    """Convert a column to int64 or float64.

    Raises:
        DataError: a value is not a number, or is an integer beyond 64 bits.
    """
    kind = values.type
    if is_text(kind):
        return number_values(role, values.cast(pa.large_string()), row_place)
    if pa.types.is_integer(kind):
        beyond = pc.index(pc.greater(values, 2**63 - 1), True).as_py() if kind == pa.uint64() else -1
        if beyond >= 0:
            raise DataError(f"{row_place(beyond)}: {role} {values[beyond].as_py()} is beyond 64 bits")
        return values.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    raise DataError(f"{row_place(0)}: the {role} holds {kind}; cast the column to numbers")
