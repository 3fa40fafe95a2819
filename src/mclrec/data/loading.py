"""Load data by name, path or frame: read and prepare them, and read again the data that a run was made from."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from mclrec.arguments import path_of, text_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.columns import Columns
from mclrec.data.datasets import dataset, dataset_names, is_dataset, locate, looks_like_path
from mclrec.data.origin import Origin, Reading, ReadingOptions
from mclrec.data.part_sources import FramePart
from mclrec.data.parts import read_parts
from mclrec.data.places import path_exists
from mclrec.data.preparation import prepare_log
from mclrec.data.readers import read_log
from mclrec.data.sequences import SequenceData, check_place, is_saved
from mclrec.data.watched_text import watched_warnings
from mclrec.errors import ConfigError, DataError, MclrecWarning, quoted, unknown_name
from mclrec.progress import working
from mclrec.wording import commanded, for_caller

__all__ = ["is_prepared", "load", "prepare", "read_again"]

_MIN_COUNT = 5
"""Default k-core of a log."""


@refusals_as_ours()
def load(
    source: Any,
    *,
    reading: Reading | None = None,
    name: str | None = None,
    directory: Path | str | None = None,
    engine: str | None = None,
    **options: Unpack[ReadingOptions],
) -> SequenceData:
    """Return the sequences of a data set, a log, a frame or a folder of prepared data.

    Args:
        source: name of a data set, path of a log, frame, folder that `SequenceData.save` wrote, or `SequenceData`,
            which are returned as they are. The last two are prepared already: of the other arguments, they accept only
            ``name``.
        reading: as in `prepare`; likewise all other arguments.

    Raises:
        DataError: no such name or file, a failed download, a log that cannot be prepared, or options for prepared data.
        ConfigError: there is no such engine, or it is not installed.
    """
    given = Reading.of(reading, **options)
    prepared = _prepared(source)
    if prepared is None:
        return prepare(source, reading=given, name=name, directory=directory, engine=engine)
    if given != Reading() or (directory, engine) != (None, None):
        raise DataError(
            f"{source if isinstance(source, str | Path) else prepared.name}: is already prepared; give the log "
            "itself to prepare it differently"
        )
    return prepared if name is None else replace(prepared, name=text_of("name", name))


@refusals_as_ours()
def prepare(
    source: Any,
    *,
    reading: Reading | None = None,
    name: str | None = None,
    directory: Path | str | None = None,
    engine: str | None = None,
    **options: Unpack[ReadingOptions],
) -> SequenceData:
    """Turn a log into sequences.

    Rows are ordered by user, time and the optional sequence column, and then by a hash of user, item and time; dense
    ids follow the outside ids, integers by value and strings by UTF-8 bytes. The result is therefore the same on
    every engine. A file with one user per line keeps its order, and its ids if they are 1..V.

    Args:
        source: name of a data set, path of a file or folder, or a frame: pandas, Polars, DuckDB, PyArrow, Spark or
            any other that narwhals takes (see `mclrec.data.readers`).
        reading: how the log becomes sequences, in one structure.
        name: name of the data in reports; the file's name if not given.
        directory: where to save the result, which is then mapped into memory from there.
        engine: what reads and orders files: duckdb (the default), polars, pandas or spark; a frame has its own.
        options: fields of `Reading`, which override those of ``reading``:
            min_count: users and items with fewer interactions are removed until none are left (k-core); 1 keeps all.
            If not given, what a named data set states (1 for ours, except for ml-100k), and 5 for any other log.
            drop_repeats: keep only the first interaction of a user with an item; applied before the k-core.
            drop_duplicates: keep one of several rows with the same user, item and time: one event written repeatedly.
            columns: names of the columns (`Columns`); guessed if not given.
            where: keep rows for which a condition over the columns of the log is true, such as ``rating >= 4``.
            ties: ``file`` if rows with equal times are in order in the log; by default a hash, which reveals nothing.
            header, quote, encoding, time_format, drop_missing: as in `Reading`.
            valid, test: validation and test set, if ``source`` is the training set of an existing split: paths beside
            a path, frames beside a frame. That split is then used, and nothing is removed by the k-core.

    Raises:
        DataError: the log cannot be read, or nothing is left of it.
        ConfigError: there is no such engine or option, or the engine is not installed.
    """
    name = None if name is None else text_of("name", name)
    place = None if directory is None else path_of("directory", directory)
    if place is not None:
        check_place(place)
    found = _open(source, Reading.of(reading, **options))
    reading = found.reading
    read = read_parts if reading.in_parts else read_log
    with (
        working(f"reading {found.origin.place or 'the log'}") if commanded() else nullcontext(),
        read(found.log, _numbered(reading), engine=engine) as log,
    ):
        data = prepare_log(
            log,
            min_count=reading.min_count or 1,
            drop_repeats=reading.drop_repeats,
            drop_duplicates=reading.drop_duplicates,
            ties=reading.ties,
        )
    if not commanded():
        _warn_of_rows(data, log.place)
    kept = {
        "place": found.origin.place or log.place,
        "fingerprint": data.fingerprint,
        "times": data.times_checksum,
    }
    origin = found.origin.model_copy(update=kept)
    data = replace(data, name=name or found.name or log.name, origin=origin)
    if place is None:
        return data
    data.save(place)
    return SequenceData.load(place)


def read_again(origin: Origin, name: str, source: Any = None) -> SequenceData:
    """Read data again as they were read before, from their original place or from another.

    A path is tried from the root first, then as it was given, from the working directory; if a folder of prepared data
    is gone, its log is prepared again. The first data with the fingerprint of ``origin`` are returned, else the first
    that can be read: a caller that needs the very same data has to compare fingerprints.

    Args:
        origin: origin of the data.
        name: name of the data.
        source: the data, or where they are now, if not in their original place.

    Raises:
        DataError: they came from memory, or cannot be read any more.
    """
    places = _places(origin) if source is None else [(source, origin.source)]
    if not places:
        raise DataError(
            f"{name}: came from memory ({origin.place}, fingerprint {origin.fingerprint[:12]}), so the data cannot "
            "be read again"
        )
    found: list[SequenceData] = []
    problems: list[DataError] = []
    for place, log in places:
        try:
            data = _prepared(place)
            if data is None:
                engine = "spark" if "://" in str(place) else None
                data = prepare(place, **_options(place, log), name=name, engine=engine)
        except DataError as problem:
            problems.append(problem)
            continue
        if data.fingerprint == origin.fingerprint and origin.times in (None, data.times_checksum):
            return data
        found.append(data)
    if not found:
        raise problems[-1 if origin.log is None else 0]
    return found[0]


def _places(origin: Origin) -> list[tuple[str, Origin]]:
    """Places where the data may be now, in the order to try, each with the origin that says how they are read there."""
    if origin.kind == "memory":
        return []
    places = [origin.place] if origin.path in (None, origin.place) else [origin.path, origin.place]
    return [(place, origin) for place in places if place] + (
        [] if origin.log is None else _places(origin.log)
    )


def _options(place: Any, log: Origin) -> dict[str, Any]:
    """The options for reading a log at ``place``, with those of its data set unless ``place`` is a data set's name."""
    options = log.reading.options()
    if log.parts is not None and place == log.path:
        options |= log.parts
    if log.kind != "dataset" or (isinstance(place, str) and is_dataset(place)):
        return options
    return log.reading.filled(dataset(log.place).reading).options()


def is_prepared(source: Any) -> bool:
    """Whether `load` returns data as they are: `SequenceData`, or a folder that they were saved in."""
    named = isinstance(source, str) and is_dataset(source)
    saved = isinstance(source, str | Path) and not named and is_saved(Path(source))
    return saved or isinstance(source, SequenceData)


def _prepared(source: Any) -> SequenceData | None:
    """The data if they are prepared already, given as such or loaded from their folder; else None."""
    if isinstance(source, SequenceData):
        return source
    return SequenceData.load(source) if is_prepared(source) else None


@dataclass(frozen=True, slots=True)
class _Source:
    """A log to be read.

    Attributes:
        log: path or frame.
        reading: how it is read, with the defaults filled in.
        origin: origin of the resulting data, still without the fingerprint.
        name: name of the data set; None if the log provides one.
    """

    log: Any
    reading: Reading
    origin: Origin
    name: str | None = None


def _open(source: Any, given: Reading) -> _Source:
    if isinstance(source, SequenceData):
        raise DataError(f"{source.name}: is already prepared; give the log itself to prepare it differently")
    if given.in_parts:
        _check_parts(source, given)
    if isinstance(source, str) and is_dataset(source):
        _warn_of_shadowed(source)
        own = dataset(source).reading
        origin = Origin(kind="dataset", place=source, reading=given.beside(own), fingerprint="")
        return _Source(locate(source), given.filled(own), origin, source)
    reading = given.filled(Reading(min_count=1 if given.in_parts else _MIN_COUNT))
    if not isinstance(source, str | Path):
        return _Source(source, reading, Origin(kind="memory", place="", reading=given, fingerprint=""))
    path = None
    if "://" not in str(source):
        if not path_exists(Path(source)) and isinstance(source, str) and not looks_like_path(source):
            raise DataError(f"{unknown_name('data set', source, dataset_names())}; and there is no such file")
        path = str(Path(source).absolute())
    parts = {name: _absolute(getattr(given, name)) for name in ("valid", "test")} if given.in_parts else None
    origin = Origin(kind="file", place=str(source), path=path, reading=given, fingerprint="", parts=parts)
    return _Source(source, reading, origin)


def _check_parts(source: Any, given: Reading) -> None:
    """Refuse what is incompatible with a split in files.

    Raises:
        ConfigError: a k-core was asked for, which would change the split, or a named data set, which is not split.
    """
    if given.min_count not in (None, 1):
        raise ConfigError(
            f"--min-count {given.min_count}: removing rare users and items would change a split given in files; "
            "leave it out, or filter the log before splitting it"
        )
    if isinstance(source, str) and is_dataset(source):
        raise ConfigError(
            f"--valid, --test: {source} is a named data set, which is a single log; give the file of a "
            "training set instead, or use --split"
        )


def _absolute(part: str | FramePart) -> str:
    """The absolute path of a part; an address or a frame as it is."""
    text = str(part)
    return text if isinstance(part, FramePart) or "://" in text else str(Path(text).absolute())


def _numbered(reading: Reading) -> Reading:
    """The reading options, with rows numbered if their order in the file breaks ties."""
    columns = reading.columns or Columns()
    if reading.ties != "file":
        return reading
    if columns.sequence is not None:
        raise ConfigError(
            f"ties: rows at the same time are ordered by the sequence column {quoted(columns.sequence)}; "
            "leave out one of the two"
        )
    return reading.model_copy(update={"columns": replace(columns, numbered=True)})


def _warn_of_rows(data: SequenceData, place: str) -> None:
    """Warn that rows may not be interactions; not called for a command, which prints all warnings of the intake."""
    for _, text in watched_warnings(() if data.intake is None else data.intake.watched):
        warnings.warn(for_caller(f"{place}: {text}"), MclrecWarning, stacklevel=4)


def _warn_of_shadowed(name: str) -> None:
    """Warn that a data set is read if a file or folder has the same name."""
    if Path(name).exists():
        warnings.warn(
            f"{name}: the data set of this name is read, not the file or folder here; for those, use ./{name}",
            MclrecWarning,
            stacklevel=4,
        )
