"""Sequences: dense item ids of all users in flat arrays, together with the outside ids and the origin of the data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from mclrec.arguments import path_of
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.intake import Intake
from mclrec.data.origin import Origin
from mclrec.data.packed import IntArray, Packed, counted
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, invalid_value, quoted
from mclrec.files import atomic_directory, regular_file, sha256_file
from mclrec.json_files import read_json, write_json
from mclrec.sealed_json import check_folder, is_of_kind

__all__ = ["SequenceData", "check_place", "comes_in_parts", "distinct_items", "is_saved"]

_KIND, _FORMAT = "mclrec sequences", 2
_ID_FILES = ("items.parquet", "users.parquet")


@dataclass(frozen=True, eq=False)
class SequenceData:
    """Interactions of U users with V items, user by user, each user's in order of time.

    Attributes:
        items: (N,) int32 dense item ids, 1..V; may be memory-mapped.
        offsets: (U + 1,) int64; user row ``u`` owns ``items[offsets[u]:offsets[u + 1]]``.
        item_ids: outside ids of the items.
        user_ids: outside ids of the users; user row ``u`` has the dense id ``u + 1``.
        times: (N,) int64 if the log has times: integers as in the log, floats rounded down, dates and timestamps as
            seconds since 1970 (UTC). None without times.
        name: name of the data in reports.
        origin: where the data were read from; None for data made from arrays.
        intake: what was taken of the log; None for arrays, and for data prepared by earlier versions.
        cuts: (4, U) int64 if the log came in training, validation and test files; None for one log. Numbers of
            interactions of each user that are training data, that precede the validation file's targets, that precede
            the end of that file, and that precede the test file's targets. The first two differ if the validation file
            itself has histories before its targets, and the last two if the test file has.
    """

    items: npt.NDArray[np.int32]
    offsets: IntArray
    item_ids: Vocabulary
    user_ids: Vocabulary
    times: IntArray | None = None
    name: str = "data"
    origin: Origin | None = None
    intake: Intake | None = None
    cuts: IntArray | None = None

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
        """SHA-256 of sequences and catalogue size; equal for equal data, whichever engine prepared them."""
        digest = hashlib.sha256(f"{self.num_users} {self.num_items} {self.num_interactions}\n".encode())
        digest.update(np.ascontiguousarray(self.offsets, dtype="<i8").data)
        digest.update(np.ascontiguousarray(self.items, dtype="<i4").data)
        if self.cuts is not None:
            digest.update(b"cuts")
            digest.update(np.ascontiguousarray(self.cuts, dtype="<i8").data)
        return digest.hexdigest()

    @cached_property
    def times_checksum(self) -> str | None:
        """SHA-256 of the times, on which only splits by time depend; None without times."""
        if self.times is None:
            return None
        return hashlib.sha256(np.ascontiguousarray(self.times, dtype="<i8").data).hexdigest()

    def same_rows(self, other: SequenceData) -> bool:
        """Whether sequences and times equal those of other data, whatever the outside ids are."""
        return (self.fingerprint, self.times_checksum) == (other.fingerprint, other.times_checksum)

    @cached_property
    def provenance(self) -> Origin:
        """The origin if these are all of its sequences; otherwise (a part of a data set) one of kind ``memory``."""
        if self.origin is not None and self.origin.fingerprint == self.fingerprint:
            return self.origin
        place = "arrays" if self.origin is None else f"a part of {self.origin.place}"
        return Origin(kind="memory", place=place, fingerprint=self.fingerprint, times=self.times_checksum)

    @property
    def taken(self) -> Intake | None:
        """The intake if these are all of its sequences; None for a part of a data set."""
        known = self.intake is not None and self.intake.fingerprint == self.fingerprint
        return self.intake if known else None

    def save(self, directory: Path | str) -> None:
        """Write a directory that `load` can map into memory, atomically.

        Raises:
            DataError, OutputError: as for `check_place`.
        """
        path = path_of("directory", directory)
        check_place(path)
        with atomic_directory(path) as folder:
            np.save(folder / "items.npy", self.items, allow_pickle=False)
            np.save(folder / "offsets.npy", self.offsets, allow_pickle=False)
            if self.times is not None:
                np.save(folder / "times.npy", self.times, allow_pickle=False)
            if self.cuts is not None:
                np.save(folder / "cuts.npy", self.cuts.ravel(), allow_pickle=False)
            self.item_ids.save(folder / "items.parquet")
            self.user_ids.save(folder / "users.parquet")
            write_json(folder / "meta.json", self._meta(folder).model_dump(mode="json"))

    def _meta(self, folder: Path) -> _Meta:
        return _Meta(
            kind="mclrec sequences",
            format=_FORMAT,
            name=self.name,
            times=self.times_checksum,
            cuts=self.cuts is not None,
            users=self.num_users,
            items=self.num_items,
            interactions=self.num_interactions,
            fingerprint=self.fingerprint,
            ids={name: sha256_file(folder / name) for name in _ID_FILES},
            origin=self.provenance,
            intake=None if self.taken is None else self.taken.to_json(),
        )

    @classmethod
    def load(cls, directory: Path | str) -> SequenceData:
        """Load a directory that `save` wrote. Arrays are mapped into memory, and read once to verify their checksums.

        Raises:
            DataError: the directory is missing, of another kind or format, or damaged.
        """
        path = Path(directory)
        meta = _read_meta(path)
        data = cls(
            items=_map(path / "items.npy", np.int32),
            offsets=_map(path / "offsets.npy", np.int64),
            item_ids=Vocabulary.load(path / "items.parquet"),
            user_ids=Vocabulary.load(path / "users.parquet"),
            times=_map(path / "times.npy", np.int64) if meta.times is not None else None,
            cuts=_cuts(path / "cuts.npy") if meta.cuts else None,
            name=meta.name,
            origin=Origin(
                kind="prepared",
                place=str(directory),
                path=str(path.absolute()),
                fingerprint=meta.fingerprint,
                times=meta.times,
                log=meta.origin,
            ),
            intake=None
            if meta.intake is None
            else Intake.of_json(meta.intake, f"{path / 'meta.json'}: intake"),
        )
        sizes = (data.num_users, data.num_items, data.num_interactions)
        lengths_fit = len(data.user_ids) == data.num_users and (
            data.times is None or len(data.times) == len(data.items)
        )
        lengths_fit = lengths_fit and (data.cuts is None or data.cuts.shape[1] == data.num_users)
        if (
            not lengths_fit
            or (path / "times.npy").exists() != (meta.times is not None)
            or (path / "cuts.npy").exists() != meta.cuts
            or sizes != (meta.users, meta.items, meta.interactions)
            or (data.fingerprint, data.times_checksum) != (meta.fingerprint, meta.times)
            or meta.ids != {name: sha256_file(path / name) for name in _ID_FILES}
        ):
            raise DataError(
                f"{path}: the files do not belong together or are damaged; prepare the data again"
            )
        return data


class _Meta(BaseModel):
    """Contents of ``meta.json``, with checksums of all other files of the directory."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    kind: Literal["mclrec sequences"]
    format: int
    name: str
    times: str | None
    cuts: bool = False
    users: int
    items: int
    interactions: int
    fingerprint: str
    ids: dict[str, str]
    origin: Origin | None = None
    intake: dict[str, Any] | None = None


def check_place(directory: Path) -> None:
    """Check in advance that `SequenceData.save` can write a directory.

    Raises:
        DataError: the directory exists and holds something else.
        OutputError: it is a file or a link, or its parent is not writable.
    """
    check_folder(directory, "meta.json", _KIND, "prepared data; name another directory")


def is_saved(directory: Path) -> bool:
    """Whether ``directory`` looks like one that `SequenceData.save` wrote."""
    return is_of_kind(directory / "meta.json", _KIND)


def comes_in_parts(directory: Path) -> bool:
    """Whether ``directory`` holds prepared data of a log in training, validation and test files."""
    return is_saved(directory) and bool(read_json(directory / "meta.json").get("cuts"))


def _read_meta(path: Path) -> _Meta:
    meta = read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("kind") != _KIND:
        raise DataError(f"{path}: not a directory of prepared data (meta.json is of another kind)")
    if meta.get("format") != _FORMAT:
        raise DataError(
            f"{path}: written in format {quoted(meta.get('format'))}, but this version reads {_FORMAT}; "
            "prepare the data again"
        )
    try:
        return _Meta.model_validate(meta)
    except ValidationError as problem:
        raise DataError(f"{path / 'meta.json'}: {invalid_value(problem)}; prepare the data again") from None


def _map(path: Path, dtype: type[np.signedinteger[Any]]) -> Any:
    """A one-dimensional array on disk, mapped into memory for reading."""
    regular_file(path)
    with foreign_errors(str(path), "damaged"):
        # As a plain array: everything computed from a memmap would be a memmap too.
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if array.dtype != dtype or array.ndim != 1:
        raise DataError(f"{path}: damaged: holds {array.dtype} of {array.ndim} dimensions")
    return array


def _cuts(path: Path) -> IntArray:
    """Load the (4, U) cuts, which are stored flat."""
    flat: IntArray = _map(path, np.int64)
    if len(flat) % 4:
        raise DataError(f"{path}: damaged: holds {len(flat)} numbers, not four per user")
    return flat.reshape(4, -1)


def distinct_items(data: SequenceData) -> Packed:
    """The distinct items of each user in ascending order: the rows of the binary user-item matrix X."""
    base = data.num_items + 1
    rows = np.repeat(np.arange(data.num_users), data.lengths)
    users, items = np.divmod(np.unique(rows * base + data.items), base)
    counts = np.bincount(users, minlength=data.num_users)
    return Packed(items, np.concatenate([[0], np.cumsum(counts)]))
