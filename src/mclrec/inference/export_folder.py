"""Functions shared by all kinds of export: loading a model with vectors, checking the folder, locks, checksums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mclrec.errors import ConfigError
from mclrec.files import sha256_file
from mclrec.locks import lock_in
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import LoadedModel, load_model

__all__ = ["check_free", "checksums", "locked", "vector_model"]


def vector_model(run: Path) -> tuple[LoadedModel, VectorRecommender]:
    """Load the model of a run for export.

    Raises:
        ConfigError: the model has no vectors.
        ModelFileError: the run cannot be read.
    """
    loaded = load_model(run)
    if not isinstance(loaded.model, VectorRecommender):
        raise ConfigError(f"{run}: {loaded.name} has no vectors, so there is nothing to export")
    return loaded, loaded.model


@contextmanager
def locked(run: Path, directory: Path) -> Iterator[None]:
    """Hold the lock of the run if the export goes into it: a training may be about to replace its weights.

    Raises:
        InUseError: another process writes to the run.
    """
    if not directory.resolve().is_relative_to(run.resolve()):
        yield
        return
    with lock_in(run):
        yield


def check_free(directory: Path, own: str) -> None:
    """Check that an export would replace nothing but an export.

    Args:
        directory: directory of the export.
        own: name of the file that identifies an export of this kind.

    Raises:
        ConfigError: something else is there.
    """
    if not directory.exists() or (directory / own).exists():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise ConfigError(f"{directory}: exists and is not an export; give another --out")


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of an export."""
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
