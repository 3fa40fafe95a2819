"""Parquet files with a checksum of all their bytes, which is verified before any of them is parsed.

The checksum is stored in the metadata of the file: zeros while it is computed, overwritten afterwards. Any Parquet
reader can read such a file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.errors import MclrecError
from mclrec.files import atomic_file, regular_file

__all__ = ["read_parquet", "write_parquet"]

_KEY = b"mclrec.sha256"
_DIGITS = 64
_BETWEEN = 2
"""Bytes between key and value in Parquet's footer: the type and the length of the value."""


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table with its metadata as one Parquet file with a checksum, atomically."""
    with atomic_file(path) as temporary:
        with pq.ParquetWriter(temporary, table.schema, compression="zstd") as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({_KEY: b"0" * _DIGITS})
        content = temporary.read_bytes()
        place = _place(content)
        with temporary.open("rb+") as file:
            file.seek(place)
            file.write(_digest(content, place))


def read_parquet(path: Path, error: type[MclrecError], cure: str) -> pa.Table:
    """Read a file that `write_parquet` wrote.

    Args:
        path: the file.
        error: class of the error to raise.
        cure: what to do about a damaged file, for the message.

    Raises:
        error: the file is missing, damaged, or was not written by `write_parquet`.
    """
    try:
        content = regular_file(path, error).read_bytes()
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from None
    place = _place(content)
    if not place or content[place : place + _DIGITS] != _digest(content, place):
        what = "its checksum differs" if place else "it has no checksum"
        raise error(f"{path}: damaged, or not written by mclrec: {what}; {cure}")
    try:
        # Not read_table, which imports pyarrow.dataset and thereby pandas if that is installed.
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            return file.read()
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise error(f"{path}: cannot be read: {problem}; {cure}") from None


def _place(content: bytes) -> int:
    """Offset of the checksum; 0 if there is none."""
    key = content.rfind(_KEY)
    return 0 if key < 0 else key + len(_KEY) + _BETWEEN


def _digest(content: bytes, place: int) -> bytes:
    """The checksum of a file, with zeros in place of the checksum itself."""
    digest = hashlib.sha256(memoryview(content)[:place])
    digest.update(b"0" * _DIGITS)
    digest.update(memoryview(content)[place + _DIGITS :])
    return digest.hexdigest().encode()
