"""The part of a model directory that is read without torch: configuration, items and users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.packed import IntArray
from mclrec.data.sequences import Vocabulary
from mclrec.errors import DataError, ModelFileError
from mclrec.files import atomic_file, read_json

__all__ = [
    "CONFIG",
    "FORMAT",
    "ITEMS",
    "TENSORS",
    "USERS",
    "read_config",
    "read_items",
    "read_users",
    "strangers_of",
    "write_ids",
    "write_users",
]

FORMAT = 2
"""Version of the directory's layout."""

CONFIG, TENSORS, ITEMS, USERS = "config.json", "model.safetensors", "items.parquet", "users.parquet"


def read_config(directory: Path) -> dict[str, Any]:
    """Read ``config.json`` of a model directory.

    Raises:
        ModelFileError: there is no such directory, or the file is missing, damaged or of another format.
    """
    path = directory / CONFIG
    if not directory.is_dir():
        raise ModelFileError(f"{directory}: no such model directory")
    if not path.exists():
        raise ModelFileError(
            f"{directory}: not a model directory, or its training has not ended: no {CONFIG}"
        )
    info = read_json(path, ModelFileError)
    if not isinstance(info, dict) or "format" not in info:
        raise ModelFileError(f"{path}: not written by mclrec: it has no format")
    if info["format"] != FORMAT:
        cure = (
            "train it again"
            if isinstance(info["format"], int) and info["format"] < FORMAT
            else "update mclrec"
        )
        raise ModelFileError(
            f"{path}: format {info['format']!r}, but this version of mclrec reads {FORMAT}; {cure}"
        )
    for key, kind in {"model": str, "config": dict, "num_items": int, "num_users": int}.items():
        if not isinstance(info.get(key), kind):
            raise ModelFileError(f"{path}: {key} is missing or not of type {kind.__name__}")
    return info


def read_items(path: Path, size: int) -> tuple[Vocabulary, IntArray]:
    """Read ``items.parquet``: outside ids, and the training count of each dense id (V + 1,).

    Raises:
        ModelFileError: the file is missing, damaged, not ours, or does not hold ``size`` items.
    """
    items, table = _read_ids(path, size)
    if "count" not in table.column_names or table["count"].type != pa.int64() or table["count"].null_count:
        raise ModelFileError(f"{path}: has no column 'count' of whole numbers")
    # Not to_numpy, which imports pandas where that is installed.
    return items, np.concatenate([[0], np.from_dlpack(table["count"].combine_chunks())])


def read_users(path: Path, size: int) -> tuple[Vocabulary, npt.NDArray[np.bool_]]:
    """Read ``users.parquet``: outside ids of the users, and (U,) whether training has seen each.

    Raises:
        ModelFileError: the file is missing, damaged, not ours, or does not hold ``size`` users.
    """
    users, table = _read_ids(path, size)
    if (
        "trained" not in table.column_names
        or table["trained"].type != pa.bool_()
        or table["trained"].null_count
    ):
        raise ModelFileError(f"{path}: has no column 'trained' of truth values; train the model again")
    # Not to_numpy, which imports pandas where that is installed.
    return users, np.from_dlpack(table["trained"].combine_chunks().cast(pa.int8())).astype(np.bool_)


def strangers_of(trained: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Dense ids of the users that training has not seen."""
    return frozenset((np.flatnonzero(~trained) + 1).tolist())


def write_users(path: Path, users: Vocabulary, trained: npt.NDArray[np.bool_]) -> None:
    """Write ``users.parquet``, atomically; inverse of `read_users`."""
    write_ids(path, users, trained=pa.array(trained.tolist(), pa.bool_()))


def write_ids(path: Path, ids: Vocabulary, **columns: pa.Array) -> None:
    """Write outside ids and further columns as Parquet, atomically."""
    with atomic_file(path) as temporary:
        table = pa.table({"id": ids.to_arrow(), **columns})
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read_ids(path: Path, size: int) -> tuple[Vocabulary, pa.Table]:
    try:
        # Not read_table: it imports pyarrow.dataset, and with it pandas where that is installed.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        vocabulary = Vocabulary.from_arrow(table["id"].combine_chunks())
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, KeyError, DataError) as problem:
        raise ModelFileError(f"{path}: damaged, or not ours: {' '.join(str(problem).split())}") from None
    if len(vocabulary) != size:
        raise ModelFileError(f"{path}: holds {len(vocabulary)} ids, {CONFIG} says {size}")
    return vocabulary, table
