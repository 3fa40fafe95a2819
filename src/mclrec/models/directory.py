"""The part of a model directory that is read without torch: configuration, items and users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mclrec.data.packed import IntArray
from mclrec.data.parquet_files import read_parquet, write_parquet
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, ModelFileError
from mclrec.files import regular_file, system_reason
from mclrec.json_files import parse_json, read_json
from mclrec.sealed_json import read_sealed, unsealed
from mclrec.wording import count_of

__all__ = [
    "CONFIG",
    "FORMAT",
    "ITEMS",
    "METRICS",
    "TENSORS",
    "USERS",
    "VECTORS_FOLDER",
    "VECTORS_RECORD",
    "WEIGHTS_CHECKSUM",
    "check_weights",
    "read_config",
    "read_items",
    "read_metrics",
    "read_users",
    "strangers_of",
    "weights_checksum",
    "write_ids",
    "write_users",
]

FORMAT = 4
"""Version of the directory's layout."""

CONFIG, TENSORS, ITEMS, USERS = "config.json", "model.safetensors", "items.parquet", "users.parquet"
METRICS = "metrics.json"
VECTORS_FOLDER, VECTORS_RECORD = "vectors", "vectors.json"

WEIGHTS_CHECKSUM = "mclrec.crc32"
"""Key of the checksum in the metadata of a tensor file."""


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
    info = unsealed(info, str(path), ModelFileError)
    check_weights(directory, info.pop("weights", None), path)
    for key, kind in {"model": str, "config": dict, "num_items": int, "num_users": int}.items():
        if not isinstance(info.get(key), kind):
            raise ModelFileError(f"{path}: {key} is missing or not of type {kind.__name__}")
    return info


def read_items(path: Path, size: int) -> tuple[Vocabulary, IntArray]:
    """Read ``items.parquet``: outside ids, and the training count of each dense id (V + 1,).

    Raises:
        ModelFileError: the file is missing, damaged, not written by mclrec, or does not hold ``size`` items.
    """
    items, table = _read_ids(path, size)
    if "count" not in table.column_names or table["count"].type != pa.int64() or table["count"].null_count:
        raise ModelFileError(f"{path}: has no column 'count' of whole numbers")
    # Not to_numpy, which imports pandas where that is installed.
    return items, np.concatenate([[0], np.from_dlpack(table["count"].combine_chunks())])


def read_users(path: Path, size: int) -> tuple[Vocabulary, npt.NDArray[np.bool_]]:
    """Read ``users.parquet``: outside ids of the users, and (U,) whether training has seen each.

    Raises:
        ModelFileError: the file is missing, damaged, not written by mclrec, or does not hold ``size`` users.
    """
    users, table = _read_ids(path, size)
    if (
        "trained" not in table.column_names
        or table["trained"].type != pa.bool_()
        or table["trained"].null_count
    ):
        raise ModelFileError(f"{path}: has no column 'trained' of booleans; train the model again")
    # Not to_numpy, which imports pandas where that is installed.
    return users, np.from_dlpack(table["trained"].combine_chunks().cast(pa.int8())).astype(np.bool_)


def strangers_of(trained: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Dense ids of the users that training has not seen."""
    return frozenset((np.flatnonzero(~trained) + 1).tolist())


def write_users(path: Path, users: Vocabulary, trained: npt.NDArray[np.bool_]) -> None:
    """Write ``users.parquet``, atomically; inverse of `read_users`."""
    write_ids(path, users, trained=pa.array(trained.tolist(), pa.bool_()))


def write_ids(path: Path, ids: Vocabulary, **columns: pa.Array) -> None:
    """Write outside ids and further columns as Parquet with a checksum, atomically."""
    write_parquet(path, pa.table({"id": ids.to_arrow(), **columns}))


def weights_checksum(path: Path) -> str:
    """The checksum that a tensor file states, read without the tensors; it identifies the weights of measurements.

    Raises:
        ModelFileError: the file is missing, damaged, or has no checksum.
    """
    regular_file(path, ModelFileError)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(min(size, path.stat().st_size))
        return str(parse_json(header, str(path), ModelFileError)["__metadata__"][WEIGHTS_CHECKSUM])
    except OSError as problem:
        raise ModelFileError(f"{path}: cannot be read: {system_reason(problem)}") from None
    except ModelFileError:
        raise ModelFileError(f"{path}: damaged, or not a safetensors file") from None
    except (KeyError, TypeError):
        raise ModelFileError(f"{path}: was not written by mclrec: it has no checksum") from None


def read_metrics(directory: Path) -> dict[str, Any]:
    """Read ``metrics.json`` of a run: the results of the weights in the same directory.

    Raises:
        ModelFileError: the file is missing or damaged, or its results are those of other weights.
    """
    path = directory / METRICS
    record = read_sealed(path, ModelFileError)
    if "results" not in record:  # intact, but another file of the same run
        raise ModelFileError(f"{path}: is not the record of a training; take it from a backup or train again")
    check_weights(directory, record.get("weights"), path)
    return record


def check_weights(directory: Path, weights: object, path: Path) -> None:
    """Check that a file refers to the weights that a directory now has.

    Raises:
        ModelFileError: it refers to other weights.
    """
    if weights != weights_checksum(directory / TENSORS):
        raise ModelFileError(
            f"{path}: was made from different weights than {TENSORS}; repeat what wrote it (mclrec evaluate for ranks, "
            "mclrec train --resume for the rest)"
        )


def _read_ids(path: Path, size: int) -> tuple[Vocabulary, pa.Table]:
    table = read_parquet(path, ModelFileError, "take it from a backup or train again")
    try:
        vocabulary = Vocabulary.from_arrow(table["id"].combine_chunks())
    except (KeyError, DataError) as problem:
        raise ModelFileError(f"{path}: not written by mclrec: {problem}") from None
    if len(vocabulary) != size:
        raise ModelFileError(f"{path}: holds {count_of(len(vocabulary), 'id')}, {CONFIG} says {size}")
    return vocabulary, table
