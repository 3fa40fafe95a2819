"""The folder beside a search's journal, which belongs to this journal alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from filelock import FileLock

from mclrec.files import write_text

__all__ = ["claim_folder", "folder_of"]

_OWNER = "journal"
"""File in a folder that names the journal which owns it; folders from earlier versions have none."""


def folder_of(storage: Path) -> Path:
    """The folder for a search's data, trials, best recipe and report: ``one-search`` for ``one.journal``.

    If another journal with the same stem, such as ``one.log``, owns that folder, it is ``one.journal-search``.
    """
    return next(folder for folder in _candidates(storage) if _is_own_or_free(storage, folder))


def _candidates(storage: Path) -> Iterator[Path]:
    names = chain((storage.stem, storage.name), (f"{storage.name}-{number}" for number in count(2)))
    return (storage.with_name(f"{name}-search") for name in names)


def _is_own_or_free(storage: Path, folder: Path) -> bool:
    """Whether a folder belongs to this journal, or to none."""
    owner = folder / _OWNER
    if owner.is_file():
        return owner.read_text(encoding="utf-8").strip() == storage.name
    return storage.is_file() or not (folder.exists() and _has_sibling(storage))


def _has_sibling(storage: Path) -> bool:
    """Whether another file has the journal's stem: a folder without an owner may belong to its search."""
    beside = storage.parent.iterdir()
    return any(one.stem == storage.stem and one.name != storage.name and one.is_file() for one in beside)


def claim_folder(storage: Path) -> Path:
    """Create the folder of a search, and record this journal as its owner."""
    with FileLock(storage.with_name(f".{storage.stem}.folder")):
        folder = folder_of(storage)
        if not (folder / _OWNER).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / _OWNER, f"{storage.name}\n")
    return folder
