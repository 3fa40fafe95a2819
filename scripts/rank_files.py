"""Rank files, from which published numbers are made, and checks that they rank the right targets.

A file has one row per target: ``user``, ``item``, ``in_history`` (whether the target is in the user's history) and
``rank`` (from 1; empty, or 2147483647, if the target is in no list). It is Parquet or csv, and may have further
columns. ``results/targets.toml`` identifies the targets of each data set, so that a file is checked without the data.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from mclrec.data.loading import load
from mclrec.data.packed import IntArray
from mclrec.data.parquet_files import write_parquet
from mclrec.data.split import Split, Targets, make_split
from mclrec.data.vocabulary import OutsideId
from mclrec.errors import DataError, quoted, unknown_name
from mclrec.evaluation.effects import nested_interval
from mclrec.evaluation.metrics import MISS, parse_metric, per_user
from mclrec.evaluation.protocol import repeats
from mclrec.evaluation.significance import Interval
from mclrec.files import regular_file, write_text
from mclrec.randomness import Stream, generator
from mclrec.runs.run import Run
from mclrec.sealed_json import validated

COLUMNS = ("user", "item", "in_history", "rank")
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TargetSet(BaseModel):
    """The test targets of a data set under a rule of splitting.

    Attributes:
        fingerprint: fingerprint of the data.
        targets: number of targets.
        items: number of items that are ranked.
        sha256: checksum of all targets: user, item, and whether it is in the history; see `digest_of`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Digest
    targets: Annotated[int, Field(ge=1)]
    items: Annotated[int, Field(ge=1)]
    sha256: Digest

    @classmethod
    def of(cls, split: Split) -> TargetSet:
        """The test targets of a split."""
        users, items, in_history = _columns(split.test)
        return cls(
            fingerprint=split.data.fingerprint,
            targets=len(split.test),
            items=split.data.num_items,
            sha256=digest_of(map(str, users), map(str, items), in_history),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FileRanks:
    """Ranks of a file, sorted by the user's id as text.

    Attributes:
        users: (M,) outside ids as text, sorted.
        items: (M,) outside ids of the targets as text.
        in_history: (M,) whether the target is in the history.
        ranks: (M,) int64, 1 = best, `MISS` = in no list.
    """

    users: list[str]
    items: list[str]
    in_history: npt.NDArray[np.bool_]
    ranks: IntArray

    def metric(self, name: str) -> float:
        """Mean of a metric such as HR@5."""
        return parse_metric(name).mean(self.ranks)


def known_targets(folder: Path) -> dict[tuple[str, str], TargetSet]:
    """The test targets of each data set and rule of splitting, from ``targets.toml`` in the folder of results.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "targets.toml"
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}") from None
    by_data = validated(dict[str, dict[str, TargetSet]], found, str(path))
    return {(data, rule): targets for data, rules in by_data.items() for rule, targets in rules.items()}


def targets_of(known: Mapping[tuple[str, str], TargetSet], data: str, split: str, place: Path) -> TargetSet:
    """The targets of one data set; ``place`` is the file that names it.

    Raises:
        DataError: its targets are not known.
    """
    if (data, split) not in known:
        names = sorted({name for name, rule in known if rule == split})
        name = unknown_name("data set", data, names) if names else f"unknown data set {quoted(data)}"
        raise DataError(f"{place}: {name} of the split {quoted(split)} in results/targets.toml")
    return known[data, split]


def digest_of(users: Iterable[str], items: Iterable[str], in_history: Iterable[bool]) -> str:
    """Sha256 of the targets, sorted by user, each as a line of JSON: ``["user", "item", false]``."""
    rows = sorted(zip(users, items, in_history, strict=True))
    lines = (json.dumps([user, item, bool(returned)]) for user, item, returned in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_ranks(path: Path, targets: Targets, ranks: IntArray) -> None:
    """Write ranks of targets as Parquet, atomically.

    Args:
        path: path of the file.
        targets: M targets.
        ranks: (M,) int64, 1 = best, `MISS` = in no list.
    """
    columns = [*_columns(targets), _nullable_ranks(ranks)]
    write_parquet(path, pa.table(dict(zip(COLUMNS, columns, strict=True))))


def publish_ranks(run: Run, label: str, path: Path) -> None:
    """Write the test ranks of a run under one protocol as a rank file."""
    found = run.ranks("test", label)
    path.parent.mkdir(exist_ok=True)
    columns = [found.users, found.items, found.in_history, _nullable_ranks(found.ranks)]
    write_parquet(path, pa.table(dict(zip(COLUMNS, columns, strict=True))))


def publish_targets(name: str, folder: Path, rule: str = "leave-one-out") -> Path:
    """Add the test targets of a named data set to ``targets.toml`` in the folder of results."""
    known = known_targets(folder)
    known[name, rule] = TargetSet.of(make_split(load(name), rule))
    lines = ["# Test targets of data sets, by which files of ranks are checked; see scripts/rank_files.py."]
    for (data, split), targets in sorted(known.items()):
        lines += ["", f"[{json.dumps(data)}.{json.dumps(split)}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in targets.model_dump(mode="json").items()]
    path = folder / "targets.toml"
    write_text(path, "\n".join(lines) + "\n")
    return path


def read_ranks(path: Path) -> FileRanks:
    """Read a rank file, Parquet or csv.

    Raises:
        DataError: it is missing or damaged, or lacks a column.
    """
    table = _table(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: has no column {quoted(missing[0])}; a file of ranks has {', '.join(COLUMNS)}"
        )
    try:
        users, items = (_text(table[name]) for name in ("user", "item"))
        returned = table["in_history"].cast(pa.bool_())
        ranks = pc.fill_null(table["rank"].cast(pa.int64()), MISS).to_numpy()
    except (pa.ArrowException, ValueError, NotImplementedError) as problem:
        raise DataError(f"{path}: in_history is true or false, and rank a whole number: {problem}") from None
    if users.null_count or items.null_count or returned.null_count:
        raise DataError(f"{path}: a row has no user, item or in_history")
    order = pc.sort_indices(users).to_numpy()
    return FileRanks(
        users.take(order).to_pylist(), items.take(order).to_pylist(), returned.to_numpy()[order], ranks[order]
    )


def check_ranks(path: Path, found: FileRanks, known: TargetSet, label: str, length: int | None) -> None:
    """Check that ranks are those of a data set's targets, and follow the rules of a protocol.

    Args:
        path: path of the file, for messages.
        found: its ranks.
        known: the targets.
        label: protocol, U or F.
        length: length of the lists; None if all items are ranked.

    Raises:
        DataError: the ranks are of other targets, or break a rule.
    """
    if len(found.ranks) != known.targets:
        raise DataError(f"{path}: ranks {len(found.ranks):,} targets, but the data have {known.targets:,}")
    if digest_of(found.users, found.items, found.in_history.tolist()) != known.sha256:
        raise DataError(
            f"{path}: ranks other targets than the data have, or differs in which are in their user's history; "
            "mclrec prepare --export-split writes the targets"
        )
    ranks, listed = found.ranks, found.ranks[found.ranks != MISS]
    longest = min(known.items, length or known.items)
    if len(listed) and listed.min() < 1:
        raise DataError(f"{path}: ranks count from 1, but one is {listed.min()}")
    if len(listed) and listed.max() > longest:
        raise DataError(
            f"{path}: has rank {listed.max():,}, but lists have at most {longest:,} items; "
            f"give a target that is in no list an empty rank, or {MISS}"
        )
    returned = int(np.count_nonzero(ranks[found.in_history] != MISS))
    if label == "F" and returned:
        raise DataError(
            f"{path}: under F a target in its user's history is a miss, but {returned:,} of them have a rank"
        )


def interval_of(tables: Sequence[FileRanks], name: str) -> Interval:
    """Mean of a metric over the trainings of a system, with its 95 % interval over users and trainings."""
    metric = parse_metric(name)
    values = np.stack([per_user(table.ranks, metric.name, metric.k) for table in tables])
    return nested_interval(values, generator(0, Stream.BOOTSTRAP))


def _columns(targets: Targets) -> tuple[list[OutsideId], list[OutsideId], list[bool]]:
    """Outside ids of users and targets, and whether each target is in its user's history."""
    data, items = targets.data, targets.items
    returned = repeats(targets.histories(np.arange(len(targets))), items)
    users = [data.user_ids[user + 1] for user in targets.users.tolist()]
    return users, [data.item_ids[item] for item in items.tolist()], returned.tolist()


def _nullable_ranks(ranks: IntArray) -> pa.Array:
    return pa.array(ranks, mask=ranks == MISS)


def _table(path: Path) -> pa.Table:
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise DataError(f"{path}: a file of ranks should be Parquet or csv")
    try:
        content = regular_file(path).read_bytes()
        if kind == ".csv":
            types: dict[str, Any] = {"user": pa.string(), "item": pa.string()}
            options = pyarrow.csv.ConvertOptions(column_types=types)
            return pyarrow.csv.read_csv(pa.BufferReader(content), convert_options=options)
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            return file.read()
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}") from None


def _text(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())
