"""Published models by name: found in ``MCLREC_MODELS``, in the cache, or downloaded, and checked.

Our own are listed in ``published_models.toml``; one of yours is registered by `register_published_model`.

Environment:
    MCLREC_MODELS: folders (separated as in ``PATH``) of model directories, which are searched first.
    MCLREC_CACHE: where downloads are kept; ``$XDG_CACHE_HOME/mclrec`` or ``~/.cache/mclrec`` if not set.
    MCLREC_MIRROR: address of a folder to download from instead of the models' own.
"""

from __future__ import annotations

import os
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from mclrec.arguments import path_of
from mclrec.data.datasets import looks_like_path
from mclrec.data.unpacking import UNPACKING_ERRORS
from mclrec.downloads import checksum_of, download, is_web_address
from mclrec.errors import ConfigError, MclrecError, ModelFileError, quoted, unknown_name
from mclrec.files import atomic_directory, cache_folder, read_json, sha256_file, write_json
from mclrec.models.directory import read_config

__all__ = [
    "PUBLISHED_FILES",
    "PublishedModel",
    "model_directory",
    "published_models",
    "read_entries",
    "register_published_model",
]

PUBLISHED_FILES = (
    "README.md",
    "baselines.json",
    "config.json",
    "history.jsonl",
    "intake.json",
    "items.parquet",
    "metrics.json",
    "model.safetensors",
    "users.parquet",
)
"""What of a run's directory is published: no checkpoints, and no ranks of users."""

_ARCHIVE, _CHECKSUMS = "download.zip", "downloaded.json"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published model.

    Attributes:
        name: what `mclrec.Model.load` takes.
        address: http(s) address of its archive, a ZIP file of a model directory.
        sha256: checksum of the archive, in lower-case hexadecimal digits.
        about: what it is, in a line.
    """

    name: str
    address: str
    sha256: str
    about: str = ""


_REGISTERED: dict[str, PublishedModel] = {}


def register_published_model(name: str, *, address: str, sha256: str, about: str = "") -> None:
    """Give a published model a name, by which `mclrec.Model.load` then finds it.

    Args:
        name: what it is called.
        address: http(s) address of the archive that ``scripts.publish --weights`` has made.
        sha256: checksum of the archive, in hexadecimal digits; another one is refused.
        about: what it is, in a line.

    Raises:
        ConfigError: another model has that name, it could be taken for a path, the address is none of http, or the
            checksum is none.
    """
    if not name or looks_like_path(name) or name != name.strip():
        raise ConfigError(f"{quoted(name)} cannot be the name of a model: it could be taken for a path")
    if not is_web_address(address):
        raise ConfigError(f"{address}: not an http address, from which {name!r} could be downloaded")
    added = PublishedModel(name, address, checksum_of(sha256, name), about)
    if published_models().get(name, added) != added:
        raise ConfigError(f"a model named {name!r} is published already: {published_models()[name].address}")
    _REGISTERED[name] = added


def published_models() -> dict[str, PublishedModel]:
    """The published models by name: ours, and those that were registered."""
    return {**_ours(), **_REGISTERED}


@cache
def _ours() -> dict[str, PublishedModel]:
    text = (resources.files(__package__) / "published_models.toml").read_text(encoding="utf-8")
    return {model.name: model for model in read_entries(text)}


def read_entries(text: str) -> list[PublishedModel]:
    """The models of a registry in TOML, such as ``scripts.publish --weights`` writes."""
    return [PublishedModel(name, **entry) for name, entry in tomllib.loads(text).items()]


def model_directory(given: str | Path) -> Path:
    """The directory of a model: what is at a path, or the published model of a name, downloaded if need be.

    A directory of that name in the working directory comes first. What was downloaded is kept under its checksum, and
    not downloaded again.

    Raises:
        ModelFileError: a text that is neither a path nor the name of a published model, with the nearest name; or the
            download failed, or is another file.
        InUseError: another process is downloading it.
    """
    path = path_of("path", given)
    if not isinstance(given, str) or looks_like_path(given) or path.exists():
        return path
    for folder in _folders():
        if (folder / given).is_dir():
            return folder / given
    known = published_models()
    if given not in known:
        names = [*known, *(place.name for folder in _folders() for place in _directories(folder))]
        raise ModelFileError(
            f"{path}: no such model directory; {unknown_name('published model', given, names)}"
        )
    return _cached(known[given])


def _folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get("MCLREC_MODELS", "").split(os.pathsep) if folder]


def _directories(folder: Path) -> Iterator[Path]:
    return (place for place in folder.iterdir() if place.is_dir()) if folder.is_dir() else iter(())


def _cached(model: PublishedModel) -> Path:
    """The model's directory in the cache; the archive's checksum is part of its name.

    A directory whose files are not those that were unpacked is downloaded again.
    """
    target = cache_folder() / "models" / f"{model.name}-{model.sha256[:16]}"
    if _is_whole(target):
        return target
    damaged = f"what was kept in {target} is damaged: " if target.exists() else ""
    with atomic_directory(target) as temporary:
        archive = temporary / _ARCHIVE
        download(
            model.address,
            archive,
            name=model.name,
            sha256=model.sha256,
            cure=f"{damaged}try again, or put its directory into a folder and name that in MCLREC_MODELS",
            error=ModelFileError,
        )
        _unpack(archive, temporary, model.address)
        archive.unlink()
        write_json(temporary / _CHECKSUMS, _checksums(temporary))
    return target


def _is_whole(folder: Path) -> bool:
    """Whether a directory of the cache has all that was unpacked into it, as it was.

    One of an earlier version has no checksums, and counts as whole if its configuration and weights can be read.
    """
    try:
        if (folder / _CHECKSUMS).is_file():
            return bool(read_json(folder / _CHECKSUMS) == _checksums(folder))
        return bool(read_config(folder))
    except MclrecError:
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """Sha256 of each file of a model in a directory."""
    return {name: sha256_file(folder / name) for name in PUBLISHED_FILES if (folder / name).is_file()}


def _unpack(archive: Path, folder: Path, shown: str) -> None:
    """Unpack an archive of plain files; no name may lead out of the folder."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not name or name == _ARCHIVE or set(name) & set("/\\:") or name.startswith("."):
                    raise ModelFileError(f"{shown}: holds {quoted(name)}, which is no file of a model")
            packed.extractall(folder)
    except UNPACKING_ERRORS as problem:
        raise ModelFileError(f"{shown}: not an archive of a model: {problem}") from None
