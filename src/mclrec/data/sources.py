"""Data by name or path: found in ``MCLREC_DATA``, in the cache, or downloaded and checked.

Environment:
    MCLREC_DATA: folders (separated as in ``PATH``) that are searched first.
    MCLREC_CACHE: where downloads are kept; ``$XDG_CACHE_HOME/mclrec`` or ``~/.cache/mclrec`` if not set.
    MCLREC_MIRROR: address of a folder to download from instead of the public one.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn

from mclrec.data.columns import Columns
from mclrec.data.prepare import prepare
from mclrec.data.sequences import SequenceData, is_saved
from mclrec.errors import DataError, unknown_name
from mclrec.files import atomic_file, sha256_file

__all__ = ["DATASETS", "Dataset", "load", "locate"]

_ADDRESS = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/"
_BLOCK = 1 << 16
_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that has a name.

    Attributes:
        name: what `load` takes.
        about: what it is, in a line.
        file: name under which folders hold it.
        remote: name under which it is downloaded; None if it comes with the package.
        sha256: of the file.
        users: number of users, likewise ``items`` and ``interactions``.
    """

    name: str
    about: str
    file: str
    remote: str | None
    sha256: str
    users: int
    items: int
    interactions: int


DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {
        dataset.name: dataset
        for dataset in (
            Dataset(
                "complete-journey",
                "grocery: each household's last 40 first purchases of a product type (comes with the package)",
                "complete-journey.parquet",
                None,
                "5d22cba9b5ea209c781118985abc3e9594a7eb097e3534dc97284a522ea7de33",
                2447,
                1509,
                92285,
            ),
            Dataset(
                "beauty",
                "Amazon reviews, Beauty, 5-core",
                "beauty.txt",
                "Beauty.txt",
                "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
                22363,
                12101,
                198502,
            ),
            Dataset(
                "sports",
                "Amazon reviews, Sports and Outdoors, 5-core",
                "sports.txt",
                "Sports_and_Outdoors.txt",
                "2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2",
                35598,
                18357,
                296337,
            ),
            Dataset(
                "yelp",
                "Yelp reviews, 5-core",
                "yelp.txt",
                "Yelp.txt",
                "724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed",
                30431,
                20033,
                316354,
            ),
            Dataset(
                "toys",
                "Amazon reviews, Toys and Games, 5-core",
                "toys.txt",
                "Toys_and_Games.txt",
                "176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f",
                19412,
                11924,
                167597,
            ),
        )
    }
)
"""The named data sets; the first is the default."""


def load(
    source: Any,
    *,
    min_count: int | None = None,
    drop_repeats: bool = False,
    columns: Columns | None = None,
    header: bool | None = None,
    name: str | None = None,
    directory: Path | str | None = None,
    engine: str | None = None,
) -> SequenceData:
    """Data by name, from a log, or as saved.

    Args:
        source: name of a data set, path of a log, frame, or directory that `SequenceData.save` wrote.
        min_count: k-core; when None, 1 (all rows) for a named data set, which is 5-core already, and 5 for a log.
        drop_repeats: see `prepare`, likewise ``columns``, ``header``, ``name``, ``directory`` and ``engine``.

    Raises:
        DataError: no such name or file, a failed download, or a log that cannot be prepared.
    """
    known = isinstance(source, str) and source in DATASETS
    if known:
        columns, name = columns or _columns(source), name or source
        source = locate(source)
    elif isinstance(source, str | Path):
        path = Path(source)
        if is_saved(path):
            if (min_count, drop_repeats, columns, header, directory, engine) != (None, False, *[None] * 4):
                raise DataError(f"{path}: is prepared already; give the log itself to prepare it otherwise")
            return SequenceData.load(path)
        if not path.exists() and path.name == str(source) and not path.suffix:
            raise DataError(f"{unknown_name('data set', str(source), DATASETS)}; nor is there such a file")
    return prepare(
        source,
        min_count=(1 if known else 5) if min_count is None else min_count,
        drop_repeats=drop_repeats,
        columns=columns,
        header=header,
        name=name,
        directory=directory,
        engine=engine,
    )


def locate(name: str) -> Path:
    """The checked file of a named data set, downloaded if need be.

    Raises:
        DataError: unknown name, failed download, or a file whose checksum differs.
    """
    if name not in DATASETS:
        raise DataError(unknown_name("data set", name, DATASETS))
    dataset = DATASETS[name]
    if dataset.remote is None:
        return _bundled(dataset)
    cached = _cache() / dataset.file
    folders = [Path(folder) for folder in os.environ.get("MCLREC_DATA", "").split(os.pathsep) if folder]
    candidates = [folder / file for folder in folders for file in (dataset.file, dataset.remote)]
    for path in (*candidates, cached):
        if path.is_file():
            _check(path, dataset, path)
            return path
    _download(dataset, cached)
    return cached


def _columns(name: str) -> Columns | None:
    return Columns(item="product_type", sequence="position") if DATASETS[name].remote is None else None


def _bundled(dataset: Dataset) -> Path:
    path = Path(str(resources.files("mclrec.data") / "bundled" / dataset.file))
    if not path.is_file():
        raise DataError(f"{path}: no such file; install the package again, unpacked")
    _check(path, dataset, path)
    return path


def _cache() -> Path:
    own = os.environ.get("MCLREC_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mclrec"


def _check(path: Path, dataset: Dataset, shown: object) -> None:
    found = sha256_file(path)
    if found != dataset.sha256:
        raise DataError(
            f"{shown}: not the file that {dataset.name!r} is: sha256 {found} instead of {dataset.sha256}; "
            "remove it or use another name"
        )


def _download(dataset: Dataset, target: Path) -> None:
    """Fetch to a temporary file; only a whole and checked file takes its place."""
    base = os.environ.get("MCLREC_MIRROR") or _ADDRESS
    address = f"{base.rstrip('/')}/{dataset.remote}"
    if not address.startswith(("https://", "http://")):
        raise DataError(f"{address}: not an http address; check MCLREC_MIRROR")
    with atomic_file(target) as temporary:
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as response, temporary.open("wb") as file:  # noqa: S310 - scheme checked above
                _copy(response, file, dataset.name)
        except (OSError, HTTPException) as problem:
            raise DataError(
                f"{address}: download failed: {problem}; try again, or put {dataset.file} into a folder "
                "and name that in MCLREC_DATA"
            ) from None
        _check(temporary, dataset, address)


def _copy(response: Any, file: BinaryIO, name: str) -> None:
    """Copy a response to a file, with a bar on a terminal; a short one raises OSError."""
    size = response.headers.get("Content-Length")
    total = None if size is None else int(size)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(f"downloading {name}"),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(name, total=total)
        received = 0
        while block := response.read(_BLOCK):
            file.write(block)
            received += len(block)
            bar.update(task, completed=received)
    if total is not None and received < total:
        raise OSError(f"connection closed after {received} of {total} bytes")
