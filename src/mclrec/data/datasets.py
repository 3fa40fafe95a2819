"""Named data sets: found in ``MCLREC_DATA`` or in the cache, or downloaded, and verified by checksum.

`register_dataset` registers a data set of your own. An installed package registers its data sets through an entry point
of the group ``mclrec.datasets``, which names a module that calls `register_dataset` when it is imported.

Environment:
    MCLREC_DATA: folders (separated as in ``PATH``) that are searched first.
    MCLREC_CACHE: where downloads are kept; ``$XDG_CACHE_HOME/mclrec`` or ``~/.cache/mclrec`` if not set.
    MCLREC_MIRROR: address of a folder to download from instead of the data sets' own addresses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.data.ties import TieRule
from mclrec.downloads import check_sha256, checksum_of, download, is_web_address
from mclrec.errors import ConfigError, DataError, unknown_name
from mclrec.files import cache_folder
from mclrec.plugins import Plugins
from mclrec.records import Records

__all__ = [
    "Dataset",
    "asked_as",
    "dataset",
    "dataset_names",
    "datasets",
    "is_dataset",
    "known_as",
    "locate",
    "looks_like_path",
    "named_by",
    "register_dataset",
]

_S3REC_FILES = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/"
_RECBOLE_FILES = "https://raw.githubusercontent.com/RUCAIBox/RecBole/master/dataset/"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named data set.

    Attributes:
        name: the name, as `mclrec.load` takes it.
        about: a description of one line.
        address: http(s) address to download it from, or path of its file.
        sha256: checksum of the file.
        file: name of the file in folders and in the cache.
        reading: how its log is read by default; ``min_count`` is always set.
        users: number of users, likewise ``items`` and ``interactions``; None if not stated.
        fingerprint: of its sequences as they are read by default; None if not stated.
        auto: whether models whose recipes have no section for it are trained by the recipe ``auto``, as on a log.
    """

    name: str
    about: str
    address: str
    sha256: str
    file: str
    reading: Reading
    users: int | None = None
    items: int | None = None
    interactions: int | None = None
    fingerprint: str | None = None
    auto: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether its file is downloaded."""
        return is_web_address(self.address)


_DATASETS: dict[str, Dataset] = {}
_PLUGINS = Plugins("mclrec.datasets", "data set", lambda: _DATASETS)


def register_dataset(
    name: str,
    *,
    address: str | Path,
    sha256: str,
    about: str = "",
    file: str | None = None,
    min_count: int = 1,
    drop_repeats: bool = False,
    columns: Columns | None = None,
    header: bool | None = None,
    ties: TieRule | None = None,
    users: int | None = None,
    items: int | None = None,
    interactions: int | None = None,
    fingerprint: str | None = None,
    auto: bool = False,
) -> None:
    """Register a data set under a name for `mclrec.load`, `mclrec.train` and the command line.

    Args:
        name: its name.
        address: http(s) address to download it from, or path of a file, such as one that your package includes.
        sha256: checksum of that file, in hexadecimal digits; a file with another checksum is refused.
        about: a description of one line.
        file: name of the file in folders and in the cache; the last part of the address if not given.
        min_count: default k-core; 1 keeps all rows.
        drop_repeats: whether only the first interaction of a user with an item is kept.
        columns: names of its columns; guessed if not given.
        header: whether delimited text begins with names; guessed when None.
        ties: what orders rows of a user with equal times, as in `mclrec.prepare`.
        users: number of users, shown in lists of data sets; likewise ``items`` and ``interactions``.
        fingerprint: of its sequences, so that the same log under another name is recognised.
        auto: whether models whose recipes have no section for it are trained by ``auto``, as on a log, instead of by
            their default section.

    Raises:
        ConfigError: another data set has that name, the name could be taken for a path, or the checksum is invalid.
    """
    if not name or looks_like_path(name) or name != name.strip():
        raise ConfigError(f"{name!r} cannot be the name of a data set: it could be mistaken for a path")
    path = str(address)
    added = Dataset(
        name,
        about,
        path,
        checksum_of(sha256, name),
        file or path.rstrip("/").rpartition("/")[2],
        Reading(min_count=min_count, drop_repeats=drop_repeats, columns=columns, header=header, ties=ties),
        users,
        items,
        interactions,
        fingerprint,
        auto,
    )
    if _DATASETS.get(name, added) != added:
        raise ConfigError(f"a data set named {name!r} is already registered: {_DATASETS[name].address}")
    _DATASETS[name] = added


def dataset_names() -> list[str]:
    """Names of all data sets: those registered so far, then those of installed packages, which are not imported."""
    return _PLUGINS.names()


def is_dataset(name: str) -> bool:
    """Whether a data set has this name."""
    return name in _DATASETS or (not looks_like_path(name) and name in _PLUGINS.names())


def dataset(name: str) -> Dataset:
    """Return a data set by name.

    Raises:
        DataError: there is no such data set; the nearest name is suggested.
        ConfigError: the package that provides it cannot be imported.
    """
    if not is_dataset(name):
        raise DataError(unknown_name("data set", name, dataset_names()))
    _PLUGINS.load(name)
    return _DATASETS[name]


def datasets() -> Records[Dataset]:
    """List the data sets, as a table when printed; a package that cannot be imported is left out with a warning."""
    found = [_DATASETS[name] for name in _PLUGINS.load_all()]
    return Records(found, ("name", "users", "items", "interactions", "about"))


def named_by(fingerprint: str) -> str | None:
    """Name of the registered data set with a given fingerprint; None if there is none."""
    return next((known.name for known in _DATASETS.values() if known.fingerprint == fingerprint), None)


def known_as(data: SequenceData) -> str | None:
    """Name of the registered data set that these sequences are; None if they are not a registered one.

    Sequences with the fingerprint of a data set are that data set, whatever their name and location. A data set that
    states no fingerprint is recognised if they were read by its name, from the file with its checksum, with default
    options.
    """
    if known := named_by(data.fingerprint):
        return known
    log = data.provenance.source
    if log.kind != "dataset" or log.reading != Reading() or not is_dataset(log.place):
        return None
    return log.place if dataset(log.place).fingerprint is None else None


def asked_as(data: SequenceData) -> str | None:
    """Name of the registered data set that was requested by its name; None for a log, whatever it contains.

    A data set that is read with options other than its own counts as a log, as does a log with the name of a data set.
    """
    return known_as(data) if data.provenance.source.kind == "dataset" else None


def locate(name: str) -> Path:
    """Return the verified file of a named data set, downloading it if necessary.

    Raises:
        DataError: unknown name, failed download, or a file whose checksum differs.
    """
    wanted = dataset(name)
    if not wanted.is_remote:
        return _checked(Path(wanted.address), wanted)
    cached = cache_folder() / wanted.file
    folders = [Path(folder) for folder in os.environ.get("MCLREC_DATA", "").split(os.pathsep) if folder]
    remote = wanted.address.rpartition("/")[2]
    candidates = [folder / file for folder in folders for file in (wanted.file, remote)]
    for path in (*candidates, cached):
        if path.is_file():
            return _checked(path, wanted)
    cure = f"try again, or put {wanted.file} into a folder and set MCLREC_DATA to that folder"
    download(wanted.address, cached, name=wanted.name, sha256=wanted.sha256, cure=cure)
    return cached


def _checked(path: Path, wanted: Dataset) -> Path:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; reinstall the package that provides {wanted.name!r}, unpacked"
        )
    check_sha256(path, wanted.name, wanted.sha256, path)
    return path


def looks_like_path(name: str) -> bool:
    """Whether text has a character that names of data sets cannot have: a slash, a dot or a wildcard."""
    return bool(set(name) & set("/\\.*?["))


register_dataset(
    "complete-journey",
    about="grocery: each household's last 40 first purchases of a product type (comes with the package)",
    address=str(resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"),
    sha256="5d22cba9b5ea209c781118985abc3e9594a7eb097e3534dc97284a522ea7de33",
    columns=Columns(item="product_type"),  # positions in a basket follow product numbers: no order of buying
    ties="hash",
    users=2447,
    items=1509,
    interactions=92285,
    fingerprint="9484faa5d5823bae65c49c322de8837e8579c658b09fd101d2e668e54d88e5aa",
)
register_dataset(
    "beauty",
    about="Amazon reviews, Beauty, 5-core",
    address=_S3REC_FILES + "Beauty.txt",
    file="beauty.txt",
    sha256="226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
    users=22363,
    items=12101,
    interactions=198502,
    fingerprint="e6116fa4e0bec9c1a2a9616dd4948f045dd921a92c869a551fd4a0233d25e41d",
)
register_dataset(
    "sports",
    about="Amazon reviews, Sports and Outdoors, 5-core",
    address=_S3REC_FILES + "Sports_and_Outdoors.txt",
    file="sports.txt",
    sha256="2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2",
    users=35598,
    items=18357,
    interactions=296337,
    fingerprint="1436f250b450a9cc398740301a343b4f365d9052c773b564ecb71d16be01e6f5",
)
register_dataset(
    "yelp",
    about="Yelp reviews, 5-core",
    address=_S3REC_FILES + "Yelp.txt",
    file="yelp.txt",
    sha256="724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed",
    users=30431,
    items=20033,
    interactions=316354,
    fingerprint="214a5d873d1b6cac53c95e26e802aabf4b7181d9838054ec4d65154506244a41",
)
register_dataset(
    "toys",
    about="Amazon reviews, Toys and Games, 5-core",
    address=_S3REC_FILES + "Toys_and_Games.txt",
    file="toys.txt",
    sha256="176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f",
    users=19412,
    items=11924,
    interactions=167597,
)
register_dataset(
    "lastfm",
    about="Last.fm, artists in the order in which a listener tagged them, 5-core",
    address=_S3REC_FILES + "LastFM.txt",
    file="lastfm.txt",
    sha256="9ded486adb5b0fe9dc761950afa0a9a05e93ff018992e0c52bf11afec529f802",
    users=1090,
    items=3646,
    interactions=52551,
    fingerprint="9c0027470118baf5a69129711df43dec6cafce4f0d6224405962870f1a405ff3",
    auto=True,
)
register_dataset(
    "ml-100k",
    about="MovieLens 100k, ratings as in RecBole's files, reduced to their 5-core",
    address=_RECBOLE_FILES + "ml-100k/ml-100k.inter",
    sha256="4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    min_count=5,
    users=943,
    items=1349,
    interactions=99287,
    fingerprint="8be8f9b7797c7a7c1828828a1afae5efd111b27b84ebba5ca8e8ed1c5b7cc516",
    auto=True,
)
