"""Export of a split as files for any system: training data, users with their histories, and held-out targets.

Ids are those of the log. ``position`` counts a user's interactions from 1, in the order in which models here read them;
times alone do not determine this order if some are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from mclrec.arguments import check_choice, path_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.loading import load, read_again
from mclrec.data.origin import Origin, Reading
from mclrec.data.packed import IntArray, ranges, spans
from mclrec.data.returns import PROTOCOLS, share_of_returns, suited_protocol
from mclrec.data.sequences import SequenceData
from mclrec.data.split import PARTS, Split, Targets, make_split
from mclrec.data.split_choice import chosen_split
from mclrec.errors import ConfigError, DataError
from mclrec.files import atomic_directory, sha256_file
from mclrec.json_files import write_json
from mclrec.sealed_json import check_folder, is_of_kind, read_sealed, sealed, validated

__all__ = [
    "FORMATS",
    "MANIFEST",
    "ExportedSplit",
    "check_export_place",
    "export_split",
    "is_export",
    "read_export",
]

FORMATS = ("parquet", "csv")
"""File formats of an export."""

MANIFEST = "split.json"
"""Name of the manifest of an export, which describes the other files."""

_KIND: Literal["mclrec split"] = "mclrec split"
_FORMAT: Literal[1] = 1

Batches = Iterator[pa.RecordBatch]


class _Span(NamedTuple):
    """Interactions ``starts[i]:ends[i]`` of the user rows ``users[i]``, with a description of what they are."""

    holds: str
    users: IntArray
    starts: IntArray
    ends: IntArray


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExportedFile(_Part):
    """One file of an export: what it holds, its number of rows, and the SHA-256 of its bytes."""

    holds: str
    rows: Annotated[int, Field(ge=0)]
    sha256: str


class ExportedSplit(_Part):
    """Contents of ``split.json``: the data, the split rule, and what the files of the export hold.

    Attributes:
        kind: kind of the file.
        format: version of the layout.
        name: name of the data.
        origin: origin of the data, with their fingerprint.
        split: rule by which targets were held out.
        users: number of users in all data; likewise ``items`` and ``interactions``.
        returns: share of validation targets that are in their user's history.
        suited: label of the protocol that suits the data.
        protocols: how each protocol treats items of the history, by label.
        files: descriptions of the files, by name.
    """

    kind: Literal["mclrec split"]
    format: Literal[1]
    name: str
    origin: Origin
    split: str
    users: int
    items: int
    interactions: int
    returns: float | None
    suited: Literal["F", "U"]
    protocols: dict[str, str]
    files: dict[str, ExportedFile]

    def data(self) -> SequenceData:
        """Read the data that were split again from their origin.

        Raises:
            DataError: the data are gone or have changed.
        """
        found = read_again(self.origin, self.name)
        same_times = self.origin.times in (None, found.times_checksum)
        if found.fingerprint != self.origin.fingerprint or not same_times:
            raise DataError(
                f"{self.origin.place}: does not have the interactions of the exported split; export it again"
            )
        return found


@refusals_as_ours()
def export_split(
    data: Any,
    out: str | Path,
    *,
    split: str | None = None,
    valid_from: int | str | date | None = None,
    test_from: int | str | date | None = None,
    test_until: int | str | date | None = None,
    targets: str | None = None,
    reading: Reading | None = None,
    format: str = "parquet",  # noqa: A002 - the command's word
) -> ExportedSplit:
    """Export a split as files that any system can train on and recommend for; `mclrec.judge` then judges its lists.

    Args:
        data: as for `mclrec.train`.
        out: folder to write.
        split: as for `mclrec.train`; likewise the moments and ``targets``.
        valid_from: with ``time``: the moment from which validation targets are taken.
        test_from: likewise for the test.
        test_until: with ``time``: the moment at which the test ends.
        targets: with ``time``: which interaction of a user is the target: ``first``, ``last`` or ``random``.
        reading: reading options of a log; as for `mclrec.load`.
        format: format of the files, ``parquet`` or ``csv``.

    Returns:
        The manifest: the files with their numbers of rows, the split rule, and the protocols.

    Raises:
        MclrecError: the subclass depends on the problem.
    """
    place, given = path_of("out", out), Reading.of(reading)
    check_choice("format", format, FORMATS)
    check_export_place(place)
    rule = chosen_split(data, given, split, valid_from, test_from, test_until, targets)
    return write_split(load(data, reading=given), place, rule, format)


def write_split(data: SequenceData, out: Path, rule: str, file_type: str = "parquet") -> ExportedSplit:
    """Write a split of data as files for any system, atomically in one folder.

    Args:
        data: data to split.
        out: the folder; an earlier export there is replaced.
        rule: split rule, as for `mclrec.data.split.make_split`.
        file_type: ``parquet`` or ``csv``.

    Raises:
        DataError: the rule does not apply to the data.
        ConfigError: there is no such rule, or it gives a user several targets in a part.
        OutputError: the folder cannot be written.
    """
    split = make_split(data, rule)
    for part in PARTS:
        users = split.targets(part).users
        if len(np.unique(users)) < len(users):
            raise ConfigError(
                f"{data.name}: the split holds out several targets per user, but a list answers only one; "
                "export it with --targets first, last or random"
            )
    returns = share_of_returns(split.validation)
    with atomic_directory(out) as folder:
        files = {}
        for stem, (holds, schema, batches) in _contents(split).items():
            path = folder / f"{stem}.{file_type}"
            rows = _write(path, schema, batches)
            files[path.name] = ExportedFile(holds=holds, rows=rows, sha256=sha256_file(path))
        manifest = ExportedSplit(
            kind=_KIND,
            format=_FORMAT,
            name=data.name,
            origin=data.provenance,
            split=rule,
            users=data.num_users,
            items=data.num_items,
            interactions=data.num_interactions,
            returns=returns,
            suited=suited_protocol(returns),
            protocols={label: words.note for label, words in PROTOCOLS.items()},
            files=files,
        )
        write_json(folder / MANIFEST, sealed(manifest.model_dump(mode="json")))
    return manifest


def check_export_place(directory: Path) -> None:
    """Check in advance that `write_split` can write a folder.

    Raises:
        DataError: the folder exists and holds something else.
        OutputError: it is a file or a link, or its parent is not writable.
    """
    check_folder(directory, MANIFEST, _KIND, "an exported split; name another folder")


def is_export(directory: Path) -> bool:
    """Whether a folder looks like one that `write_split` wrote."""
    return is_of_kind(directory / MANIFEST, _KIND)


def read_export(directory: Path) -> ExportedSplit:
    """Read the manifest of an export.

    Raises:
        DataError: it is missing or damaged.
    """
    path = directory / MANIFEST
    return validated(ExportedSplit, read_sealed(path), str(path))


# -------------------------------------------------------------------------------- what is in the files


def _contents(split: Split) -> dict[str, tuple[str, pa.Schema, Batches]]:
    """Description, schema and rows of each file, by file name without suffix."""
    data = split.data
    starts = data.offsets[:-1]
    spanned = {
        "training": _Span(
            "what a system may learn from", np.arange(data.num_users), starts, starts + split.training.lengths
        )
    }
    for part in PARTS:
        targets = split.targets(part)
        spanned[f"{part}-histories"] = _Span(
            f"what came before each {part} target: a system may look at it when it recommends for the {part} part",
            targets.users,
            data.offsets[targets.users],
            targets.places,
        )
        spanned[f"{part}-targets"] = _Span(
            f"the held-out item of each user of the {part} part, which no system may look at",
            targets.users,
            targets.places,
            targets.places + 1,
        )
    schema = _schema(data)
    files = {stem: (span.holds, schema, _rows(data, schema, span)) for stem, span in spanned.items()}
    for part in PARTS:
        files[f"{part}-users"] = (
            f"users to recommend items to for the {part} part",
            *_users(split.targets(part)),
        )
    items = data.item_ids.to_arrow()
    files["items"] = (
        "items that are ranked: every system may recommend any of them",
        pa.schema({"item": items.type}),
        iter([pa.record_batch([items], names=["item"])]),
    )
    return files


def _schema(data: SequenceData) -> pa.Schema:
    columns = {"user": data.user_ids.to_arrow().type, "item": data.item_ids.to_arrow().type}
    timed = {} if data.times is None else {"time": pa.int64()}
    return pa.schema({**columns, **timed, "position": pa.int64()})


def _rows(data: SequenceData, schema: pa.Schema, span: _Span) -> Batches:
    """Yield the interactions of a span, in batches of users."""
    users, starts, lengths = span.users, span.starts, span.ends - span.starts
    for first, last in spans(np.concatenate([[0], np.cumsum(lengths)])):
        part = slice(first, last)
        places, owners = ranges(starts[part], lengths[part]), np.repeat(users[part], lengths[part])
        columns = [
            data.user_ids.to_arrow().take(pa.array(owners)),
            data.item_ids.to_arrow().take(pa.array(data.items[places].astype(np.int64) - 1)),
        ]
        if data.times is not None:
            columns.append(pa.array(np.asarray(data.times[places])))
        columns.append(pa.array(places - data.offsets[owners] + 1))
        yield pa.record_batch(columns, schema=schema)


def _users(targets: Targets) -> tuple[pa.Schema, Batches]:
    ids = targets.data.user_ids.to_arrow()
    batch = pa.record_batch([ids.take(pa.array(targets.users))], names=["user"])
    return pa.schema({"user": ids.type}), iter([batch])


def _write(path: Path, schema: pa.Schema, batches: Batches) -> int:
    """Write rows in the format of the file's suffix; return their number."""
    rows = 0
    parquet = path.suffix == ".parquet"
    with (
        pq.ParquetWriter(path, schema, compression="zstd")
        if parquet
        else pa.csv.CSVWriter(path, schema) as file
    ):
        for batch in batches:
            file.write_batch(batch)
            rows += len(batch)
    return rows
