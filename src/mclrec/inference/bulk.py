"""Recommendations for every user of a log, in bounded memory, resumable after a kill.

Until all is done, ``FILE.parts/`` lies beside the output file, with ``state.json``, which identifies the call, and a
Parquet file for each finished block of users. The same call resumes with the missing blocks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.data.sequences import SequenceData, is_saved
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import ConfigError
from mclrec.files import atomic_file, check_not_read, check_writable, remove_leftovers
from mclrec.inference.compiled_rules import CompiledRules
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import Runtime
from mclrec.json_files import read_json, write_json
from mclrec.locks import lock_in
from mclrec.progress import advancing

if TYPE_CHECKING:
    from mclrec.data.columns import Columns
    from mclrec.data.origin import Reading

__all__ = ["BulkFacts", "BulkOptions", "check_format", "check_out", "recommend_users", "users_of"]

_USERS = 16_384
"""Users per block, which is answered and then written."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """Options that all users of a bulk run share.

    Attributes:
        k: length of the lists.
        exclude: outside ids of items that may not be recommended.
        allow: outside ids of the only items that may be recommended; None for all.
        include_seen: whether items of a user's history may be recommended.
        rules: business rules; None for none.
    """

    k: int
    exclude: Sequence[OutsideId] = ()
    allow: Sequence[OutsideId] | None = None
    include_seen: bool = False
    rules: CompiledRules | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BulkFacts:
    """Counts of what was unknown or missing in a bulk run.

    Attributes:
        empty: number of users whose history has no known item.
        unknown: indices of the data's items that the model does not know.
        short: number of users whose list has fewer than k items, including those without any.
        without_list: number of users for whom no item was left.
    """

    empty: int
    unknown: IntArray
    short: int
    without_list: int


@dataclass(frozen=True, slots=True)
class _Bulk:
    """A bulk run: the runtime, the users and the options."""

    runtime: Runtime
    data: SequenceData
    options: BulkOptions


def users_of(users: Any, columns: Columns | None, reading: Reading | None) -> SequenceData:
    """The users and histories of prepared data, or of a log, which is not filtered."""
    if isinstance(users, SequenceData) and columns is None and reading is None:
        return users
    # Reading logs needs the database engine; recommending does not.
    from mclrec.data.loading import is_prepared, load, prepare

    if is_prepared(users):
        return load(users, reading=reading, columns=columns)
    return prepare(users, reading=reading, min_count=1, columns=columns)


def recommend_users(runtime: Runtime, data: SequenceData, out: Path, options: BulkOptions) -> BulkFacts:
    """Write one list per user; show a progress bar on the error stream.

    Args:
        runtime: the model.
        data: the users and their histories.
        out: file of a format that `check_format` knows: user, rank (from 1), item, score. It is written atomically.
        options: the same for all users.

    Raises:
        ConfigError: a different bulk run to the same file is unfinished, or the format is unknown.
        InUseError: another process is writing the file.
    """
    write, bulk = check_format(out), _Bulk(runtime, data, options)
    items = runtime.catalogue.items
    dense = np.concatenate([[0], items.dense_all(data.item_ids)])
    with (
        _parts(out.with_name(f"{out.name}.parts"), bulk) as folder,
        advancing("users", data.num_users) as advance,
    ):
        empty, paths = 0, []
        for start in range(0, data.num_users, _USERS):
            rows = np.arange(start, min(start + _USERS, data.num_users))
            histories = _known(_histories(data, rows, dense))
            empty += int((histories.lengths == 0).sum())
            paths.append(folder / f"{start:012}.parquet")
            if not paths[-1].exists():
                answers = runtime.engine.answer(list(_queries(bulk, rows, histories)))
                with atomic_file(paths[-1]) as temporary:
                    pq.write_table(_table(bulk, rows, answers), temporary, compression="zstd")
            advance(len(rows))
        reached = _Reached(options.k)
        with atomic_file(out) as temporary:
            write(temporary, _schema(data.user_ids, items), reached.counted(map(pq.read_table, paths)))
    return BulkFacts(
        empty,
        np.flatnonzero(dense[1:] == 0),
        short=data.num_users - reached.whole,
        without_list=data.num_users - reached.any,
    )


class _Reached:
    """Counts the lists that have at least one item, and those that have k, while their rows are written."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.any = self.whole = 0

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Pass the tables through, counting the lists of each."""
        for table in tables:
            ranks = table["rank"].to_numpy()
            self.any += int(np.count_nonzero(ranks == 1))
            self.whole += int(np.count_nonzero(ranks == self.k))
            yield table


def _queries(bulk: _Bulk, rows: IntArray, histories: Packed) -> Iterator[DenseQuery]:
    """One query for each of consecutive user rows; all share the arrays of excluded and allowed items."""
    runtime, options = bulk.runtime, bulk.options
    items = runtime.catalogue.items
    excluded = items.dense_known(options.exclude)
    allowed = None if options.allow is None else items.dense_known(options.allow)
    rules = None
    if options.rules is not None:
        excluded, allowed = options.rules.narrow(excluded, allowed)
        rules = options.rules.dense
    users = np.zeros(len(rows), dtype=np.int64)
    if runtime.users is not None:
        users = runtime.users.dense_all(bulk.data.user_ids.take(rows))
    for row, user in enumerate(users.tolist()):
        yield DenseQuery(histories[row], options.k, user, excluded, allowed, options.include_seen, rules)


@contextmanager
def _parts(folder: Path, bulk: _Bulk) -> Iterator[Path]:
    """Yield the folder of the blocks; it is removed when all blocks are done, or if none was.

    Only the process that holds its lock removes anything.

    Raises:
        InUseError: another process holds the lock.
        ConfigError: the folder has blocks of a different call.
    """
    with lock_in(folder, "wait until it has ended, or give another file"):
        try:
            _begin(folder, bulk)
            yield folder
        except BaseException:
            if not any(folder.glob("*.parquet")):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _begin(folder: Path, bulk: _Bulk) -> None:
    """Record the inputs of a bulk run, or check that those of an unfinished one are the same.

    Raises:
        ConfigError: they are not the same.
    """
    path, options = folder / "state.json", bulk.options
    wanted = {
        "block": _USERS,
        "log": _digest(bulk.data),
        "model": bulk.runtime.checksum,
        "k": options.k,
        "include_seen": options.include_seen,
        "exclude": _digest_of_set(options.exclude),
        "allow": None if options.allow is None else _digest_of_set(options.allow),
        "rules": None if options.rules is None else options.rules.checksum,
    }
    if path.exists():
        begun = read_json(path, ConfigError)
        changed = [name for name in wanted if not isinstance(begun, dict) or begun.get(name) != wanted[name]]
        if changed:
            raise ConfigError(
                f"{folder}: unfinished recommendations, made with another {changed[0]}: repeat that command to "
                "continue, or remove the folder to start again"
            )
    remove_leftovers(folder)
    write_json(path, wanted)


def _digest(data: SequenceData) -> str:
    """Checksum of sequences and outside ids."""
    ids = (_digest_of(vocabulary) for vocabulary in (data.user_ids, data.item_ids))
    return _digest_of([data.fingerprint, *ids])


def _digest_of(ids: Iterable[OutsideId]) -> str:
    """Checksum of outside ids, which depends on their order."""
    digest = hashlib.sha256()
    for id_ in ids:
        digest.update(f"{id_}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _digest_of_set(ids: Iterable[OutsideId]) -> str:
    """Checksum of outside ids whose order has no effect: that of a set differs between processes."""
    return _digest_of(sorted(set(map(str, ids))))


def _known(packed: Packed) -> Packed:
    """Remove unknown items, whose id is 0, from the sequences."""
    kept = packed.items > 0
    places = np.concatenate([[0], np.cumsum(kept)])
    return Packed(packed.items[kept], places[packed.offsets])


def _histories(data: SequenceData, rows: IntArray, dense: IntArray) -> Packed:
    """Histories of consecutive user rows in the model's dense ids; ``dense`` maps the data's ids to them."""
    offsets = data.offsets[rows[0] : rows[-1] + 2]
    return Packed(dense[data.items[offsets[0] : offsets[-1]]], offsets - offsets[0])


def _table(bulk: _Bulk, rows: IntArray, answers: Sequence[Ranked]) -> pa.Table:
    """The lists of user rows as a table, one row per item."""
    users, items = bulk.data.user_ids, bulk.runtime.catalogue.items
    lengths = np.array([len(ranked.items) for ranked in answers], dtype=np.int64)
    columns = [
        users.take(np.repeat(rows, lengths)).to_arrow(),
        pa.array(ranges(np.ones_like(lengths), lengths), pa.int32()),
        items.take(np.concatenate([ranked.items for ranked in answers]) - 1).to_arrow(),
        pa.array(np.concatenate([ranked.scores for ranked in answers]), pa.float32()),
    ]
    return pa.table(columns, schema=_schema(users, items))


def _schema(users: Vocabulary, items: Vocabulary) -> pa.Schema:
    user, item = (ids.to_arrow().type for ids in (users, items))
    return pa.schema({"user": user, "rank": pa.int32(), "item": item, "score": pa.float32()})


# -------------------------------------------------------------------------------- formats

_Writer = Callable[[Path, pa.Schema, Iterable[pa.Table]], None]


def check_format(out: Path) -> _Writer:
    """Return the writer for the format given by the suffix of a file's name.

    Raises:
        ConfigError: the format is unknown.
    """
    writer = _WRITERS.get(out.suffix.lower())
    if writer is None:
        raise ConfigError(
            f"{out}: recommendations are written as {', '.join(_WRITERS)}; use one of these endings"
        )
    return writer


def check_out(users: object, out: Path, *further: object) -> None:
    """Check, before any work, that the output file may be written.

    Args:
        users: the log of the users, or what it became.
        out: the output file.
        further: paths of other files that are read.

    Raises:
        OutputError: it is one of the files that are read, not a regular file, or not writable.
    """
    check_writable(out)
    check_not_read(out, [users, *_paths_behind(users), *further])


def _paths_behind(users: object) -> Iterator[str]:
    """Paths from which prepared data were read, or a pattern of the files of a folder that is a log."""
    if isinstance(users, str | Path) and Path(users).is_dir() and not is_saved(Path(users)):
        yield str(Path(users) / "*")
    origin = users.origin if isinstance(users, SequenceData) else None
    while origin is not None:
        yield from filter(None, [origin.path, *(origin.parts or {}).values()])
        origin = origin.log


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def _write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write CSV with a header; ids are quoted where they need it."""
    from pyarrow import csv

    options = csv.WriteOptions(quoting_style="needed")
    with csv.CSVWriter(str(path), schema, write_options=options) as writer:
        for table in tables:
            writer.write_table(table)


def _write_jsonl(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:  # noqa: ARG001 - as the others
    """Write one JSON object per line, in UTF-8."""
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            # Converted via text, which has only the digits that a single-precision score needs.
            scores = map(float, pc.cast(table["score"], pa.string()).to_pylist())
            columns = [table[name].to_pylist() for name in ("user", "rank", "item")]
            for user, rank, item, score in zip(*columns, scores, strict=True):
                row = {"user": user, "rank": rank, "item": item, "score": score}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


_WRITERS: dict[str, _Writer] = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}
