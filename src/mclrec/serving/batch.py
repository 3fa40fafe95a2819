"""Recommendations for every user of a log: in bounded memory, and going on after a kill.

Beside the file that is wanted lies ``FILE.parts/`` until all is done: ``state.json``, which says what is being made,
and a Parquet file for each stretch of users. The same call goes on with the stretches that are not there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.data.sequences import SequenceData, Vocabulary
from mclrec.errors import ConfigError
from mclrec.files import atomic_file, read_json, remove_leftovers, write_json
from mclrec.serving.engine import FloatArray

__all__ = ["Batch", "known", "recommend_users"]

_USERS = 16_384
"""Users answered before their rows are written."""

Lists = Callable[[Packed, IntArray], tuple[IntArray, FloatArray]]
"""Histories of known items, maybe empty, and user rows -> dense ids (B, k), 0 where none is left, and scores (B, k)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be made.

    Attributes:
        data: the users and their histories.
        items: the model's outside ids.
        lists: makes the lists.
        key: what the lists depend on beside the data; a batch goes on only if it is the same.
    """

    data: SequenceData
    items: Vocabulary
    lists: Lists
    key: dict[str, Any]


def recommend_users(batch: Batch, out: Path) -> tuple[int, IntArray]:
    """Write one list a user; show a progress bar on the error stream.

    Args:
        batch: what is to be made.
        out: Parquet file: user, rank (from 1), item, score. It is whole or not there.

    Returns:
        The number of users whose history has no known item, and the places of the data's items that are unknown.

    Raises:
        ConfigError: another batch of that name is unfinished, or being made by another process.
    """
    dense = np.concatenate([[0], batch.items.dense_all(batch.data.item_ids)])
    with (
        _parts(out.with_name(f"{out.name}.parts"), batch) as folder,
        _progress(batch.data.num_users) as advance,
    ):
        empty, schema = 0, _schema(batch.data.user_ids, batch.items)
        paths = []
        for start in range(0, batch.data.num_users, _USERS):
            rows = np.arange(start, min(start + _USERS, batch.data.num_users))
            histories = known(_histories(batch.data, rows, dense))
            empty += int((histories.lengths == 0).sum())
            paths.append(folder / f"{start:012}.parquet")
            if not paths[-1].exists():
                table = _table(batch, rows, *batch.lists(histories, rows))
                with atomic_file(paths[-1]) as temporary:
                    pq.write_table(table, temporary, compression="zstd")
            advance(len(rows))
        with atomic_file(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for path in paths:
                writer.write_table(pq.read_table(path))
    return empty, np.flatnonzero(dense[1:] == 0)


@contextmanager
def _parts(folder: Path, batch: Batch) -> Iterator[Path]:
    """The folder of the stretches; it goes when all is done, or if nothing was."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            _begin(folder, batch)
            yield folder
            shutil.rmtree(folder)
    except Timeout:
        raise ConfigError(f"{folder}: another process is writing there; wait for it") from None
    finally:
        if folder.exists() and not any(folder.glob("*.parquet")):
            shutil.rmtree(folder)


def _begin(folder: Path, batch: Batch) -> None:
    """Go on with what is there if it is the same, or begin.

    Raises:
        ConfigError: it is not the same.
    """
    path = folder / "state.json"
    wanted = {"stretch": _USERS, "log": _digest(batch.data), **batch.key}
    if path.exists():
        begun = read_json(path, ConfigError)
        changed = [name for name in wanted if not isinstance(begun, dict) or begun.get(name) != wanted[name]]
        if changed:
            raise ConfigError(
                f"{folder}: unfinished recommendations, made by another {changed[0]}: repeat that command to go on, "
                "or remove the folder to start anew"
            )
    remove_leftovers(folder)
    write_json(path, wanted)


def _digest(data: SequenceData) -> str:
    """Of sequences and outside ids."""
    digest = hashlib.sha256(data.fingerprint.encode())
    for vocabulary in (data.user_ids, data.item_ids):
        for id_ in vocabulary:
            digest.update(f"{id_}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def known(packed: Packed) -> Packed:
    """The sequences without unknown items, whose id is 0."""
    kept = packed.items > 0
    places = np.concatenate([[0], np.cumsum(kept)])
    return Packed(packed.items[kept], places[packed.offsets])


def _histories(data: SequenceData, rows: IntArray, dense: IntArray) -> Packed:
    """Histories of consecutive user rows in the model's dense ids; ``dense`` maps the data's ids to them."""
    offsets = data.offsets[rows[0] : rows[-1] + 2]
    return Packed(dense[data.items[offsets[0] : offsets[-1]]], offsets - offsets[0])


def _table(batch: Batch, rows: IntArray, ids: IntArray, scores: FloatArray) -> pa.Table:
    """The lists of user rows as a table, one row an item."""
    kept = ids > 0
    lengths = kept.sum(1)
    columns = [
        batch.data.user_ids.take(np.repeat(rows, lengths)).to_arrow(),
        pa.array(ranges(np.ones_like(lengths), lengths), pa.int32()),
        batch.items.take(ids[kept] - 1).to_arrow(),
        pa.array(scores[kept], pa.float32()),
    ]
    return pa.table(columns, schema=_schema(batch.data.user_ids, batch.items))


def _schema(users: Vocabulary, items: Vocabulary) -> pa.Schema:
    user, item = (ids.to_arrow().type for ids in (users, items))
    return pa.schema({"user": user, "rank": pa.int32(), "item": item, "score": pa.float32()})


@contextmanager
def _progress(users: int) -> Iterator[Callable[[int], None]]:
    """Yield what moves a progress bar on, which is shown on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("users", total=users)
        yield lambda done: progress.advance(task, done)
