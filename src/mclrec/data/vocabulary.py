"""Vocabularies: mapping between the outside ids of a log and dense ids, and what an id may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.packed import IntArray
from mclrec.errors import DataError, quoted
from mclrec.files import atomic_file, regular_file

__all__ = ["OutsideId", "Vocabulary", "as_text", "id_list", "is_integer", "plain_id"]

OutsideId = int | str

_SLICE = 1024
"""Number of ids that are converted to Python objects at a time."""

_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
"""Canonical text of a 64-bit integer: no plus sign, no leading zeros, no blanks."""


class Vocabulary:
    """Vocabulary of outside ids in the order of their dense ids: the id at place ``i`` has the dense id ``i + 1``.

    Ids are all integers or all strings (any Unicode); a mixture becomes strings, and so do integers beyond 64 bits.
    They are stored in one Arrow array, which is compact for millions of ids; the look-up table is built on first use.

    Args:
        ids: the outside ids, or an Arrow array of them.

    Raises:
        DataError: an id is neither text nor an integer.
    """

    def __init__(self, ids: Iterable[OutsideId] | npt.NDArray[np.integer[Any]] | pa.Array) -> None:
        self._ids: pa.Array = ids if isinstance(ids, pa.Array) else _arrow_ids(ids)
        self.integers = bool(pa.types.is_integer(self._ids.type))

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[OutsideId]:
        """Yield outside ids in order, converted in slices: converting a million at once would block other threads."""
        for start in range(0, len(self), _SLICE):
            yield from self._ids.slice(start, _SLICE).to_pylist()

    def __getitem__(self, dense: int) -> OutsideId:
        """Outside id of a dense id in 1..V."""
        if not 1 <= dense <= len(self):
            raise IndexError(f"dense id {dense} is not in 1..{len(self)}")
        value: OutsideId = self._ids[int(dense) - 1].as_py()
        return value

    def outside_all(self, dense: IntArray) -> list[OutsideId]:
        """Outside ids of many dense ids in 1..V; the first call builds a list of all ids."""
        listed, given = self._listed, dense.tolist()
        if given and min(given) < 1:
            raise IndexError(f"dense id {min(given)} is not in 1..{len(self)}")
        return [listed[item - 1] for item in given]

    @cached_property
    def _listed(self) -> list[OutsideId]:
        """All ids as Python objects, shared with the look-up table."""
        return list(self._places)

    @cached_property
    def _places(self) -> dict[OutsideId, int]:
        places = {value: place for place, value in enumerate(self, start=1)}
        if len(places) < len(self):
            raise DataError("not a vocabulary: two ids are the same as text")
        return places

    def dense(self, outside: OutsideId | np.integer[Any]) -> int:
        """Dense id of an outside id, 0 if unknown: exact inverse of `__getitem__`.

        An integer may be given as text as Python writes it ("7", not "007" or "+7"), and such text as an integer.

        Raises:
            DataError: the id is neither text nor an integer; see `plain_id`.
        """
        outside = plain_id(outside)
        if isinstance(outside, str) and self.integers:
            return self._places.get(int(outside), 0) if _DECIMAL.fullmatch(outside) else 0
        if isinstance(outside, int) and not self.integers:
            text = as_text(outside)
            return 0 if text is None else self._places.get(text, 0)
        return self._places.get(outside, 0)

    def dense_all(self, outside: Iterable[OutsideId] | npt.NDArray[np.integer[Any]]) -> IntArray:
        """Dense ids of many outside ids, 0 for unknown ones. Raises like `dense`."""
        places, own = self._places, int if self.integers else str
        return np.array(
            [places.get(value, 0) if type(value) is own else self.dense(value) for value in id_list(outside)],
            dtype=np.int64,
        )

    def dense_known(self, outside: Iterable[OutsideId]) -> IntArray:
        """Dense ids of the known ones among some outside ids."""
        dense = self.dense_all(outside)
        return dense[dense > 0]

    def shared_with(self, other: Vocabulary) -> int:
        """Number of ids that the other vocabulary has too; 7 and "7" are the same."""
        here, there = self._ids, other.to_arrow()
        if self.integers != other.integers:
            here, there = here.cast(pa.large_string()), there.cast(pa.large_string())
        return int(pc.sum(pc.is_in(here, value_set=there)).as_py() or 0)

    def take(self, places: IntArray) -> Vocabulary:
        """The ids at the given places, counted from 0, in that order."""
        return Vocabulary(self._ids.take(pa.array(places)))

    def to_arrow(self) -> pa.Array:
        """The ids in the order of dense ids, int64 or large_string."""
        return self._ids

    @classmethod
    def from_arrow(cls, ids: pa.Array) -> Vocabulary:
        """Inverse of `to_arrow`, for arrays from files.

        Raises:
            DataError: the ids are not distinct integers or strings.
        """
        integers = pa.types.is_integer(ids.type)
        if not (integers or pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
            raise DataError(f"not a vocabulary: its ids are neither integers nor strings but {ids.type}")
        if ids.null_count or pc.count_distinct(ids).as_py() != len(ids):
            raise DataError("not a vocabulary: an id is missing or duplicated")
        return cls(ids.cast(pa.int64() if integers else pa.large_string()))

    def save(self, path: Path) -> None:
        """Write a Parquet file, atomically."""
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            pq.write_table(pa.table({"id": self._ids}), file, compression="zstd", write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a Parquet file that `save` wrote.

        Raises:
            DataError: the file is missing, damaged or not a vocabulary.
        """
        regular_file(path)
        what = "damaged, or not a vocabulary"
        try:
            with foreign_errors(str(path), what), path.open("rb") as file:
                table = pq.read_table(file, columns=["id"], page_checksum_verification=True)
                table.validate(full=True)
            return cls.from_arrow(table["id"].combine_chunks())
        except DataError as problem:
            text = str(problem)
            raise DataError(text if text.startswith(str(path)) else f"{path}: {what}: {text}") from None


def plain_id(value: object) -> OutsideId:
    """An id as a plain Python int or str, whatever library it comes from.

    Raises:
        DataError: the value is neither text nor an integer. Booleans and floats are refused too: 5.0 in a column of
            integers is the result of a missing value, and 5.7 would name another item.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if is_integer(value):
        return int(value)
    raise DataError(
        f"{quoted(value)}: not an id of an item or user: ids are text or whole numbers, as in the log"
    )


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of any library; booleans are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def id_list(ids: object) -> Iterator[Any]:
    """Iterate over ids, unchanged, if they are a list of some kind.

    Raises:
        DataError: they are not a list. Text would be read as a list of letters, a frame as a list of column names, and
            of a mapping the values would be lost.
    """
    try:
        if not isinstance(ids, str | bytes | Mapping) and not hasattr(ids, "columns"):
            return iter(ids)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        pass
    raise DataError(f"{quoted(ids)}: not a list of ids")


def as_text(value: object) -> str | None:
    """An id as text; None if it is an integer too long for Python to convert."""
    try:
        return str(value)
    except ValueError:
        return None


def _arrow_ids(ids: Iterable[OutsideId] | npt.NDArray[np.integer[Any]]) -> pa.Array:
    if isinstance(ids, np.ndarray) and np.issubdtype(ids.dtype, np.signedinteger):
        return pa.array(ids.astype(np.int64))
    values = [plain_id(value) for value in ids]
    try:
        if all(isinstance(value, int) for value in values):
            return pa.array(values, pa.int64())
    except OverflowError:
        pass  # beyond 64 bits: stored as text
    try:
        return pa.array([str(value) for value in values], pa.large_string())
    except ValueError as problem:  # half of a surrogate pair, or a number of thousands of digits
        raise DataError(f"an id cannot be stored: {_first_line(problem)}") from None


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0]
