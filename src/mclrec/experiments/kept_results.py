"""Stored results of a planned run: whether they are readable and match its weights, and what must be measured again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from mclrec.errors import DataError, EvaluationError, ModelFileError
from mclrec.models.directory import METRICS, TENSORS
from mclrec.models.storage import load_model
from mclrec.runs.run import LABELS, Run, ranks_path

__all__ = ["directories_with", "is_complete", "is_finished", "parts_to_measure", "unreadable"]

Stamp = tuple[int, int, int]
"""Inode, size and modification time of a file, which change when it does."""


def is_complete(directory: Path, parts: Iterable[str], *, model: bool = False) -> bool:
    """Whether a run is finished and all results that tables need from it can be read.

    Args:
        directory: directory of the run.
        parts: parts whose ranks are needed.
        model: whether the model is needed too.
    """
    if not is_finished(directory) or parts_to_measure(directory, parts):
        return False
    return not model or _has_model(directory, _stamps(path for path in directory.iterdir() if path.is_file()))


def is_finished(directory: Path) -> bool:
    """Whether training is finished according to the record; False if this cannot be read."""
    try:
        return Run(directory).record.finished
    except ModelFileError:
        return False


def unreadable(directory: Path) -> str | None:
    """Why the record of a run cannot be read; None if it can, or if there is none yet."""
    if not (directory / METRICS).exists():
        return None
    try:
        Run(directory).record  # noqa: B018 - reading is what may fail
    except ModelFileError as problem:
        return str(problem)
    return None


def parts_to_measure(directory: Path, parts: Iterable[str]) -> list[str]:
    """The parts whose ranks under some protocol are missing, damaged, or from other weights."""
    return [part for part in parts if not all(_has_ranks_now(directory, part, label) for label in LABELS)]


def directories_with(folder: Path, key: str) -> Sequence[Path]:
    """Directories of runs with this key, whatever the name of their data; finished runs first."""
    found = sorted(folder.glob(f"*-{key}"))
    return found if len(found) < 2 else sorted(found, key=lambda directory: not is_finished(directory))


def _has_ranks_now(directory: Path, part: str, label: str) -> bool:
    return _has_ranks(
        directory, part, label, _stamps([ranks_path(directory, part, label), directory / TENSORS])
    )


@cache  # tables ask for each metric of each row
def _has_ranks(directory: Path, part: str, label: str, _: tuple[Stamp | None, ...]) -> bool:
    """Whether ranks can be read; cached per state of the files, which the stamps identify."""
    try:
        Run(directory).ranks(part, label)
    except (DataError, EvaluationError, ModelFileError):
        return False
    return True


@cache
def _has_model(directory: Path, _: tuple[Stamp | None, ...]) -> bool:
    """Whether the model can be loaded; cached as in `_has_ranks`."""
    try:
        load_model(directory)
    except ModelFileError:
        return False
    return True


def _stamps(paths: Iterable[Path]) -> tuple[Stamp | None, ...]:
    return tuple(_stamp(path) for path in sorted(paths))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
