"""Sequences: the dense item ids of each user in flat arrays, with the outside ids and the origin beside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from mclrec.arguments import path_of
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.origin import Origin
from mclrec.data.packed import IntArray, counted
from mclrec.errors import DataError, invalid_value, quoted
from mclrec.files import atomic_directory, atomic_file, read_json, regular_file, sha256_file, write_json

__all__ = [
    "OutsideId",
    "SequenceData",
    "Vocabulary",
    "as_text",
    "id_list",
    "is_integer",
    "is_saved",
    "plain_id",
]

OutsideId = int | str

_KIND, _FORMAT = "mclrec sequences", 2
_ID_FILES = ("items.parquet", "users.parquet")

_AT_ONCE = 1024
"""Ids that become Python objects at once."""

_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
"""The one way to write an integer of 64 bits as text: no sign of a positive one, no zeros in front, no blanks."""


class Vocabulary:
    """Vocabulary of outside ids in the order of their dense ids: the id at place ``i`` has the dense id ``i + 1``.

    Ids are all integers or all strings (any Unicode); a mixture becomes strings, and so do integers beyond 64 bits.
    They are held in one Arrow array, so that millions cost little; the table for look-ups is built when the first one
    is made.

    Args:
        ids: the outside ids, or an Arrow array of them.

    Raises:
        DataError: one of them is neither text nor an integer.
    """

    def __init__(self, ids: Iterable[OutsideId] | npt.NDArray[np.integer[Any]] | pa.Array) -> None:
        self._ids: pa.Array = ids if isinstance(ids, pa.Array) else _arrow_ids(ids)
        self.integers = bool(pa.types.is_integer(self._ids.type))

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[OutsideId]:
        """Outside ids in order, some at a time: a million at once would hold up other threads."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self._ids.slice(start, _AT_ONCE).to_pylist()

    def __getitem__(self, dense: int) -> OutsideId:
        """Outside id of a dense id in 1..V."""
        if not 1 <= dense <= len(self):
            raise IndexError(f"dense id {dense} is not in 1..{len(self)}")
        value: OutsideId = self._ids[int(dense) - 1].as_py()
        return value

    @cached_property
    def _places(self) -> dict[OutsideId, int]:
        places = {value: place for place, value in enumerate(self, start=1)}
        if len(places) < len(self):
            raise DataError("not a vocabulary: two ids are the same as text")
        return places

    def dense(self, outside: OutsideId | np.integer[Any]) -> int:
        """Dense id of an outside id, 0 if unknown: exact inverse of `__getitem__`.

        An integer may be given as text, written as Python writes it ("7", not "007" or "+7"), and the other way round.

        Raises:
            DataError: it is neither text nor an integer; see `plain_id`.
        """
        outside = plain_id(outside)
        if isinstance(outside, str) and self.integers:
            return self._places.get(int(outside), 0) if _DECIMAL.fullmatch(outside) else 0
        if isinstance(outside, int) and not self.integers:
            text = as_text(outside)
            return 0 if text is None else self._places.get(text, 0)
        return self._places.get(outside, 0)

    def dense_all(self, outside: Iterable[OutsideId] | npt.NDArray[np.integer[Any]]) -> IntArray:
        """Dense ids of many outside ids, 0 where unknown. Raises as `dense`."""
        places, own = self._places, int if self.integers else str
        return np.array(
            [places.get(value, 0) if type(value) is own else self.dense(value) for value in id_list(outside)],
            dtype=np.int64,
        )

    def dense_known(self, outside: Iterable[OutsideId]) -> IntArray:
        """Dense ids of those outside ids that are known."""
        dense = self.dense_all(outside)
        return dense[dense > 0]

    def shared_with(self, other: Vocabulary) -> int:
        """How many of the ids are the other's too; 7 and "7" are the same."""
        here, there = self._ids, other.to_arrow()
        if self.integers != other.integers:
            here, there = here.cast(pa.large_string()), there.cast(pa.large_string())
        return int(pc.sum(pc.is_in(here, value_set=there)).as_py() or 0)

    def take(self, places: IntArray) -> Vocabulary:
        """The ids at some places, counted from 0, in their order."""
        return Vocabulary(self._ids.take(pa.array(places)))

    def to_arrow(self) -> pa.Array:
        """The ids in the order of dense ids, int64 or large_string."""
        return self._ids

    @classmethod
    def from_arrow(cls, ids: pa.Array) -> Vocabulary:
        """Inverse of `to_arrow`, for arrays from files.

        Raises:
            DataError: these are not distinct integers or strings.
        """
        integers = pa.types.is_integer(ids.type)
        if not (integers or pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
            raise DataError(f"not a vocabulary: its ids are neither integers nor strings but {ids.type}")
        if ids.null_count or pc.count_distinct(ids).as_py() != len(ids):
            raise DataError("not a vocabulary: an id is missing or there twice")
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
    """An id as Python's own int or str, whatever library it comes from.

    Raises:
        DataError: it is neither text nor an integer. Truth values are none, nor are numbers with a point: 5.0 in a
            column of integers comes from a missing value, and 5.7 would name another item.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if is_integer(value):
        return int(value)
    raise DataError(
        f"{quoted(value)}: no id of an item or user: ids are text or whole numbers, as in the log"
    )


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, of whatever library; a truth value is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def id_list(ids: object) -> Iterator[Any]:
    """Ids as they were given, if they are a list of some kind.

    Raises:
        DataError: they are not; a text would be taken for a list of letters.
    """
    try:
        if not isinstance(ids, str | bytes):
            return iter(ids)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        pass
    raise DataError(f"{quoted(ids)}: no list of ids")


def as_text(value: object) -> str | None:
    """An id as text; None where Python refuses to write so long an integer."""
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
        pass  # beyond 64 bits: as text
    try:
        return pa.array([str(value) for value in values], pa.large_string())
    except ValueError as problem:  # half of a surrogate pair, or a number of thousands of digits
        raise DataError(f"an id cannot be stored: {_first_line(problem)}") from None


@dataclass(frozen=True, eq=False)
class SequenceData:
    """Interactions of U users with V items, user after user, each in order of time.

    Attributes:
        items: (N,) int32 dense item ids, 1..V; may be memory-mapped.
        offsets: (U + 1,) int64; user row ``u`` owns ``items[offsets[u]:offsets[u + 1]]``.
        item_ids: outside ids of the items.
        user_ids: outside ids of the users; user row ``u`` has the dense id ``u + 1``.
        times: (N,) int64 where the log has times: integers as the log has them, floats rounded down, dates
            and timestamps as seconds since 1970 (UTC).
        name: how reports call this data.
        origin: where they were read from; None for arrays that were given.
    """

    items: npt.NDArray[np.int32]
    offsets: IntArray
    item_ids: Vocabulary
    user_ids: Vocabulary
    times: IntArray | None = None
    name: str = "data"
    origin: Origin | None = None

    @property
    def num_users(self) -> int:
        """Number of users, U."""
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        """Number of items, V."""
        return len(self.item_ids)

    @property
    def num_interactions(self) -> int:
        """Number of interactions, N."""
        return len(self.items)

    @property
    def lengths(self) -> IntArray:
        """(U,) number of interactions of each user."""
        return np.diff(self.offsets)

    def sequence(self, user: int) -> npt.NDArray[np.int32]:
        """Dense item ids of user row ``user``, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @cached_property
    def popularity(self) -> IntArray:
        """(V + 1,) number of interactions of each dense item id; place 0 is zero."""
        return counted(self.items, self.num_items + 1)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over sequences and catalogue size: equal data give equal fingerprints on every engine."""
        digest = hashlib.sha256(f"{self.num_users} {self.num_items} {self.num_interactions}\n".encode())
        digest.update(np.ascontiguousarray(self.offsets, dtype="<i8").data)
        digest.update(np.ascontiguousarray(self.items, dtype="<i4").data)
        return digest.hexdigest()

    @cached_property
    def times_checksum(self) -> str | None:
        """Sha256 over the times, which only a split by time depends on; None where there are none."""
        if self.times is None:
            return None
        return hashlib.sha256(np.ascontiguousarray(self.times, dtype="<i8").data).hexdigest()

    def same_rows(self, other: SequenceData) -> bool:
        """Whether sequences and times are those of other data, whatever their ids are."""
        return (self.fingerprint, self.times_checksum) == (other.fingerprint, other.times_checksum)

    @cached_property
    def provenance(self) -> Origin:
        """The origin, if these sequences are all that came from there; else memory, as for a part of a data set."""
        if self.origin is not None and self.origin.fingerprint == self.fingerprint:
            return self.origin
        place = "arrays" if self.origin is None else f"a part of {self.origin.place}"
        return Origin(kind="memory", place=place, fingerprint=self.fingerprint, times=self.times_checksum)

    def save(self, directory: Path | str) -> None:
        """Write a directory that `load` maps into memory; it is whole or not there.

        Raises:
            DataError: ``directory`` exists and holds something else.
        """
        path = path_of("directory", directory)
        if path.exists() and not is_saved(path) and not (path.is_dir() and not any(path.iterdir())):
            raise DataError(f"{path}: exists and does not hold prepared data; name another directory")
        with atomic_directory(path) as folder:
            np.save(folder / "items.npy", self.items, allow_pickle=False)
            np.save(folder / "offsets.npy", self.offsets, allow_pickle=False)
            if self.times is not None:
                np.save(folder / "times.npy", self.times, allow_pickle=False)
            self.item_ids.save(folder / "items.parquet")
            self.user_ids.save(folder / "users.parquet")
            write_json(folder / "meta.json", self._meta(folder).model_dump(mode="json"))

    def _meta(self, folder: Path) -> _Meta:
        return _Meta(
            kind="mclrec sequences",
            format=_FORMAT,
            name=self.name,
            times=self.times_checksum,
            users=self.num_users,
            items=self.num_items,
            interactions=self.num_interactions,
            fingerprint=self.fingerprint,
            ids={name: sha256_file(folder / name) for name in _ID_FILES},
            origin=self.provenance,
        )

    @classmethod
    def load(cls, directory: Path | str) -> SequenceData:
        """Read what `save` wrote. The arrays are mapped into memory, and read through once to be checked.

        Raises:
            DataError: the directory is missing, foreign, of another format, or damaged.
        """
        path = Path(directory)
        meta = _read_meta(path)
        data = cls(
            items=_map(path / "items.npy", np.int32),
            offsets=_map(path / "offsets.npy", np.int64),
            item_ids=Vocabulary.load(path / "items.parquet"),
            user_ids=Vocabulary.load(path / "users.parquet"),
            times=_map(path / "times.npy", np.int64) if meta.times is not None else None,
            name=meta.name,
            origin=Origin(
                kind="prepared",
                place=str(directory),
                path=str(path.absolute()),
                fingerprint=meta.fingerprint,
                times=meta.times,
                log=meta.origin,
            ),
        )
        sizes = (data.num_users, data.num_items, data.num_interactions)
        lengths_fit = len(data.user_ids) == data.num_users and (
            data.times is None or len(data.times) == len(data.items)
        )
        if (
            not lengths_fit
            or (path / "times.npy").exists() != (meta.times is not None)
            or sizes != (meta.users, meta.items, meta.interactions)
            or (data.fingerprint, data.times_checksum) != (meta.fingerprint, meta.times)
            or meta.ids != {name: sha256_file(path / name) for name in _ID_FILES}
        ):
            raise DataError(
                f"{path}: the files do not belong together or are damaged; prepare the data again"
            )
        return data


class _Meta(BaseModel):
    """What ``meta.json`` says; with checksums of all that lies beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    kind: Literal["mclrec sequences"]
    format: int
    name: str
    times: str | None
    users: int
    items: int
    interactions: int
    fingerprint: str
    ids: dict[str, str]
    origin: Origin | None = None


def is_saved(directory: Path) -> bool:
    """Whether ``directory`` looks like one that `SequenceData.save` wrote."""
    try:
        meta = read_json(directory / "meta.json")
    except DataError:
        return False
    return isinstance(meta, dict) and meta.get("kind") == _KIND


def _read_meta(path: Path) -> _Meta:
    meta = read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("kind") != _KIND:
        raise DataError(f"{path}: not a directory of prepared data (meta.json is of another kind)")
    if meta.get("format") != _FORMAT:
        raise DataError(
            f"{path}: written in format {quoted(meta.get('format'))}, but {_FORMAT} is read; prepare the data again"
        )
    try:
        return _Meta.model_validate(meta)
    except ValidationError as problem:
        raise DataError(f"{path / 'meta.json'}: {invalid_value(problem)}; prepare the data again") from None


def _map(path: Path, dtype: type[np.signedinteger[Any]]) -> Any:
    """A one-dimensional array on disk, mapped into memory for reading."""
    regular_file(path)
    with foreign_errors(str(path), "damaged"):
        # As a plain array: a memmap would pass its class on to everything computed from it.
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if array.dtype != dtype or array.ndim != 1:
        raise DataError(f"{path}: damaged: holds {array.dtype} of {array.ndim} dimensions")
    return array


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0]
