"""Published models by name: looked up in ``MCLREC_MODELS`` and in the cache, else downloaded and verified.

Our own are listed in ``published_models.toml``; register yours with `register_published_model`.

Environment:
    MCLREC_MODELS: folders (separated as in ``PATH``) of model directories, which are searched first.
    MCLREC_CACHE: where downloads are kept; ``$XDG_CACHE_HOME/mclrec`` or ``~/.cache/mclrec`` if not set.
    MCLREC_MIRROR: URL of a folder to download from instead of the models' own URLs.
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
from mclrec.files import atomic_directory, cache_folder, sha256_file
from mclrec.json_files import read_json, write_json
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
"""Files of a run's directory that are published: no checkpoints, and no ranks of users."""

_ARCHIVE, _CHECKSUMS = "download.zip", "downloaded.json"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published model.

    Attributes:
        name: name to pass to `mclrec.Model.load`.
        address: http(s) URL of its archive, a ZIP file of a model directory.
        sha256: checksum of the archive, in lower-case hexadecimal digits.
        about: one-line description.
    """

    name: str
    address: str
    sha256: str
    about: str = ""


_REGISTERED: dict[str, PublishedModel] = {}


def register_published_model(name: str, *, address: str, sha256: str, about: str = "") -> None:
    """Register a published model under a name that `mclrec.Model.load` then accepts.

    Args:
        name: name of the model.
        address: http(s) URL of the archive that ``scripts.publish --weights`` has made.
        sha256: checksum of the archive, in hexadecimal digits; an archive with another one is refused.
        about: one-line description.

    Raises:
        ConfigError: another model has the name, the name could be taken for a path, the address is not an http(s) URL,
            or the checksum is not a SHA-256.
    """
    if not name or looks_like_path(name) or name != name.strip():
        raise ConfigError(f"{quoted(name)} cannot be the name of a model: it could be mistaken for a path")
    if not is_web_address(address):
        raise ConfigError(f"{address}: not an http address that {name!r} could be downloaded from")
    added = PublishedModel(name, address, checksum_of(sha256, name), about)
    if published_models().get(name, added) != added:
        raise ConfigError(f"a model named {name!r} is published already: {published_models()[name].address}")
    _REGISTERED[name] = added


def published_models() -> dict[str, PublishedModel]:
    """The published models by name: our own and the registered ones."""
    return {**_ours(), **_REGISTERED}


@cache
def _ours() -> dict[str, PublishedModel]:
    text = (resources.files(__package__) / "published_models.toml").read_text(encoding="utf-8")
    return {model.name: model for model in read_entries(text)}


def read_entries(text: str) -> list[PublishedModel]:
    """Parse the published models of a TOML text, in the format that ``scripts.publish --weights`` writes."""
    return [PublishedModel(name, **entry) for name, entry in tomllib.loads(text).items()]


def model_directory(given: str | Path) -> Path:
    """Resolve a path, or the name of a published model, to a model directory; download the model if necessary.

    A directory of that name in the working directory takes precedence. Downloads are cached under their checksum.

    Raises:
        ModelFileError: the text is neither a path nor the name of a published model (the message suggests the nearest
            name), or the download failed or has another checksum.
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
    """The model's directory in the cache, downloaded if necessary; the archive's checksum is part of its name.

    If the files differ from those that were unpacked, the model is downloaded again.
    """
    target = cache_folder() / "models" / f"{model.name}-{model.sha256[:16]}"
    if _is_whole(target):
        return target
    damaged = f"the copy in {target} is damaged: " if target.exists() else ""
    with atomic_directory(target) as temporary:
        archive = temporary / _ARCHIVE
        download(
            model.address,
            archive,
            name=model.name,
            sha256=model.sha256,
            cure=f"{damaged}try again, or put its directory into a folder and name that folder in MCLREC_MODELS",
            error=ModelFileError,
        )
        _unpack(archive, temporary, model.address)
        archive.unlink()
        write_json(temporary / _CHECKSUMS, _checksums(temporary))
    return target


def _is_whole(folder: Path) -> bool:
    """Whether a cached directory is intact: all its files are as they were unpacked.

    A directory from an earlier version has no checksums, and counts as intact if its configuration and weights can be
    read.
    """
    try:
        if (folder / _CHECKSUMS).is_file():
            return bool(read_json(folder / _CHECKSUMS) == _checksums(folder))
        return bool(read_config(folder))
    except MclrecError:
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each model file in a directory."""
    return {name: sha256_file(folder / name) for name in PUBLISHED_FILES if (folder / name).is_file()}


def _unpack(archive: Path, folder: Path, shown: str) -> None:
    """Unpack an archive of plain files; names that could lead outside the folder are refused."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not name or name == _ARCHIVE or set(name) & set("/\\:") or name.startswith("."):
                    raise ModelFileError(f"{shown}: holds {quoted(name)}, which is not a file of a model")
            packed.extractall(folder)
    except UNPACKING_ERRORS as problem:
        raise ModelFileError(f"{shown}: not an archive of a model: {problem}") from None
