"""The directory of a run during training: it is claimed by one process, which may resume what an earlier one left."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from mclrec.errors import ConfigError, DataError, InUseError, MclrecWarning, TrainingError
from mclrec.evaluation.protocol import load_ranks
from mclrec.files import check_writable
from mclrec.locks import LOCK_FILE, Lock, is_empty, lock_in
from mclrec.models.directory import (
    CONFIG,
    METRICS,
    TENSORS,
    VECTORS_FOLDER,
    VECTORS_RECORD,
    weights_checksum,
)
from mclrec.runs.baselines import BASELINES
from mclrec.sealed_json import read_sealed
from mclrec.training.checkpoint import has_checkpoint

__all__ = ["CANDIDATES", "RunDirectory", "begin_or_resume", "run_lock"]

CANDIDATES = "candidates.json"
"""Name of the file in which a search for settings keeps its state, in the directory of the resulting run."""

_CURE = "wait until it has ended, or give another --out"
_UNFINISHED = ("history.jsonl", "checkpoint", "tensorboard")
"""Files and folders that a training writes before it has a model."""

_MOST_NUMBERS = 10_000


def run_lock(directory: Path) -> Lock:
    """The lock of a run's directory, which every writer holds."""
    return lock_in(directory, _CURE)


class RunDirectory:
    """The directory of one run, reserved for this process until `release`.

    Args:
        out: the directory; None for a free one under ``runs/``.
        resume: whether to resume the run in it.
        lock: lock of ``out`` if the caller holds it already; the caller keeps it.
        search: whether it is the directory of a search for settings, and not of a run.
    """

    def __init__(
        self, out: Path | None, *, resume: bool, lock: Lock | None = None, search: bool = False
    ) -> None:
        self._out, self._wanted, self._own = out, resume, lock is None
        self._lock, self._search = lock, search
        self.resume = resume

    def claim_given(self) -> str:
        """Claim the directory if one was given, before data are read; returns its name.

        Raises:
            ConfigError: it holds something else, or its run is finished.
            InUseError: another process writes there.
            OutputError: it cannot be written.
            TrainingError: there is nothing to resume.
        """
        if self._out is None:
            check_writable(Path("runs"), "folder")
        else:
            self._claim(self._out)
        return str(self._out)

    def claim(self, stem: str) -> Path:
        """Return the claimed directory; if none was given, claim a free one under ``runs/``, or the last to resume it.

        Args:
            stem: base name of a directory chosen under ``runs/``.

        Raises:
            MclrecError: as in `claim_given`.
        """
        if self._out is not None:
            return self._out
        if self._wanted:
            taken = list(takewhile(Path.exists, _numbered(stem)))
            if not taken:
                raise ConfigError(f"{Path('runs') / stem}: no run to resume; give its directory with --out")
            self._claim(taken[-1])
            return taken[-1]
        for path in _numbered(stem):
            if not path.exists() or (path.is_dir() and is_empty(path)):
                try:
                    self._claim(path)
                except (InUseError, ConfigError):  # another process was faster
                    continue
                return path
        raise ConfigError(f"{Path('runs') / stem}: too many runs of that name; give --out")

    @property
    def lock(self) -> Lock | None:
        """The lock of the directory, once it is claimed."""
        return self._lock

    def release(self) -> None:
        """Release the lock, unless it is the caller's."""
        if self._own and self._lock is not None:
            self._lock.release()

    def _claim(self, directory: Path) -> None:
        check_writable(directory, "folder")
        if self._wanted and not directory.exists():
            raise TrainingError(f"{directory}: no run to resume; leave --resume out to start one")
        lock = self._lock or run_lock(directory).acquire()
        try:
            self.resume = (_search_resumes if self._search else _resumes)(directory, self._wanted)
        except BaseException:
            if self._own:
                lock.release()
            raise
        self._lock = lock


def begin_or_resume(directory: Path) -> bool:
    """Whether ``directory`` has a checkpoint to resume from; without one, the directory is emptied."""
    if has_checkpoint(directory):
        return True
    if directory.is_dir():
        _remove(path for path in directory.iterdir() if path.name != LOCK_FILE)
    return False


def discard_stale(directory: Path) -> None:
    """Remove files that belong to earlier weights: metrics, baselines, the model card, ranks and exported vectors."""
    weights = weights_checksum(directory / TENSORS)
    stale = [directory / METRICS, directory / BASELINES, directory / "README.md"]
    for path in directory.glob("ranks-*.parquet"):
        try:
            if load_ranks(path).about.get("weights") != weights:
                stale.append(path)
        except DataError:
            stale.append(path)
    if _has_stale_vectors(directory / VECTORS_FOLDER, weights):
        stale.append(directory / VECTORS_FOLDER)
        warnings.warn(
            f"{directory / VECTORS_FOLDER}: vectors of the earlier weights were removed; export them again",
            MclrecWarning,
            stacklevel=2,
        )
    _remove(iter(stale))


def _has_stale_vectors(folder: Path, weights: str) -> bool:
    """Whether a folder holds exported vectors of other weights than those given."""
    try:
        return bool(read_sealed(folder / VECTORS_RECORD).get("weights") != weights)
    except DataError:
        return (folder / VECTORS_RECORD).exists()


def _resumes(directory: Path, wanted: bool) -> bool:
    """Whether a claimed directory has a run to resume; clears the remains of one that has no checkpoint yet.

    Raises:
        ConfigError: it is not empty although resuming was not requested, or holds no run that could be resumed.
    """
    if not wanted:
        if not is_empty(directory):
            raise ConfigError(f"{directory}: is not empty: continue with --resume, or give another --out")
        return False
    if has_checkpoint(directory):
        return True
    if (directory / CANDIDATES).exists():
        raise ConfigError(f"{directory}: holds a search for settings: continue with --minutes N --resume")
    if (directory / CONFIG).exists() and (directory / METRICS).exists():
        raise ConfigError(
            f"{directory}: has a trained model and no checkpoint to resume from; give another --out"
        )
    begun = [directory / name for name in (*_UNFINISHED, CONFIG, TENSORS)]
    if not is_empty(directory) and not any(path.exists() for path in begun):
        raise ConfigError(f"{directory}: holds no run to resume; give another --out")
    warnings.warn(
        f"{directory}: the run ended before its first checkpoint and starts from the beginning",
        MclrecWarning,
        stacklevel=2,
    )
    _remove(directory / name for name in _UNFINISHED)
    return False


def _search_resumes(directory: Path, wanted: bool) -> bool:
    """Whether a claimed directory has a search to resume.

    Raises:
        ConfigError: it is not empty although resuming was not requested, or holds no search.
    """
    if not wanted or is_empty(directory):
        return _resumes(directory, wanted=False)
    if not (directory / CANDIDATES).exists():
        raise ConfigError(
            f"{directory}: holds no search to continue; leave --minutes out, or give another --out"
        )
    return True


def _remove(paths: Iterator[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _numbered(stem: str) -> Iterator[Path]:
    yield Path("runs") / stem
    for number in range(2, _MOST_NUMBERS):
        yield Path("runs") / f"{stem}-{number}"
