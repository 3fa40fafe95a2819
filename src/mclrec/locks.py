"""Locks of directories: one process at a time writes into a directory, and others are told which one it is.

A lock is held through the operating system (``flock``) on a file that also names its holder. The system releases it
when the process ends, however it ends: the file that a killed process leaves locks nobody out.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import stat
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mclrec.errors import InUseError, MclrecWarning, OutputError, visible

__all__ = ["LOCK_FILE", "Lock", "is_empty", "is_held", "lock_beside", "lock_in"]

LOCK_FILE = ".lock"
"""Name of the lock file inside a directory; a directory that holds nothing else counts as empty."""

_PATIENCE = 0.5
"""Seconds to wait for a lock, as a process that merely checks whether it is held holds it for a moment."""

_POLL = 0.02
_LONGEST = 100
"""Maximum characters of the other process's command in messages."""

_OPEN_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
_LOCKS_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Lock:
    """An exclusive lock on writing to one place; also a context manager.

    A folder that was created for the lock and is still empty is removed with it.

    Args:
        file: the lock file, which exists while the lock is held.
        place: what is written to, for messages.
        cure: what to do if another process holds the lock, for messages.
    """

    def __init__(self, file: Path, place: Path, cure: str) -> None:
        self._file, self._place, self._cure = file, place, cure
        self._descriptor: int | None = None
        self._made_folder = False

    def acquire(self, patience: float = _PATIENCE) -> Self:
        """Take the lock and record its holder in the file; a missing folder is created.

        Args:
            patience: seconds to wait for another process.

        Raises:
            InUseError: another process, or another `Lock` of this process, holds it.
            OutputError: the folder cannot be written.
        """
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= deadline:
                raise InUseError(
                    f"{self._place}: another process is writing there{_described(self._owner())}; {self._cure}"
                )
            time.sleep(_POLL)
        self._take_over()
        return self

    def release(self) -> None:
        """Release the lock and remove its file; no effect if it is not held."""
        if self._descriptor is None:
            return
        if self._is_current(self._descriptor):
            with suppress(OSError):
                self._file.unlink()
            if self._made_folder:
                with suppress(OSError):
                    self._file.parent.rmdir()
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self if self._descriptor is not None else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _try(self) -> bool:
        """Try once to take the lock; False if another process holds it or has just removed the file."""
        try:
            if not self._file.parent.exists():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._made_folder = True
            descriptor = os.open(self._file, _OPEN_FLAGS | os.O_CREAT, 0o666)
        except FileNotFoundError:  # its folder was removed in between
            return False
        except FileExistsError as problem:  # as above, unless it is not a folder
            if _is_other_than_folder(self._file.parent):
                raise self._unwritable(problem) from None
            return False
        except OSError as problem:
            raise self._unwritable(problem) from None
        try:
            held = self._locked(descriptor) and self._is_current(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return held

    def _locked(self, descriptor: int) -> bool:
        """Lock the open file; False if another process has locked it. A file system without locks is a warning."""
        try:
            return _flock(descriptor)
        except OSError as problem:
            if problem.errno not in _LOCKS_UNSUPPORTED:
                raise self._unwritable(problem) from None
        warnings.warn(
            f"{self._place}: its file system has no locks; make sure that nothing else writes there",
            MclrecWarning,
            stacklevel=5,
        )
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still the one that was opened; its previous holder may have removed it."""
        try:
            return os.path.samestat(self._file.stat(), os.fstat(descriptor))
        except OSError:
            return False

    def _take_over(self) -> None:
        """Record this process as the holder; warn if a process of another machine never released the lock."""
        before = self._owner()
        if before.get("host", socket.gethostname()) != socket.gethostname():
            warnings.warn(
                f"{self._place}: was left locked by a process on another machine{_described(before)}; "
                "if that is still running, end it",
                MclrecWarning,
                stacklevel=4,
            )
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": _command(),
            "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        }
        assert self._descriptor is not None
        with suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(owner).encode(), 0)

    def _owner(self) -> Mapping[str, Any]:
        """The holder of the lock as recorded in its file; empty if unknown."""
        try:
            found = json.loads(self._file.read_bytes()[:10_000])
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _unwritable(self, problem: OSError) -> OutputError:
        if problem.errno in _FULL:
            return OutputError(
                f"{self._place}: no room left on the disk: free some room and repeat the command"
            )
        return OutputError(f"{self._place}: cannot be written: {problem.strerror or problem}")


def lock_in(directory: Path, cure: str = "wait until it has ended") -> Lock:
    """The lock of a directory whose files are written one by one; the lock file lies inside."""
    return Lock(directory / LOCK_FILE, directory, cure)


def lock_beside(path: Path, cure: str = "wait until it has ended") -> Lock:
    """The lock of a directory that is replaced as a whole; the lock file lies beside it."""
    name = os.fsdecode(os.fsencode(path.name)[:200])  # within the limit on file names
    return Lock(path.with_name(f".{name}.lock"), path, cure)


def is_held(directory: Path) -> bool:
    """Whether a process holds the lock in ``directory``; changes nothing there."""
    try:
        descriptor = os.open(directory / LOCK_FILE, _OPEN_FLAGS)
    except OSError:
        return False
    try:
        return not _flock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def is_empty(directory: Path) -> bool:
    """Whether a directory is empty except for a lock file."""
    return all(path.name == LOCK_FILE for path in directory.iterdir())


def _is_other_than_folder(path: Path) -> bool:
    """Whether ``path`` is a file or a link, in a single look, as folders come and go."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _flock(descriptor: int) -> bool:
    """Lock an open file; False if another process has locked it.

    Raises:
        OSError: the file cannot be locked.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        raise OSError(errno.ENOSYS, "the system has no such locks") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _command() -> str:
    """The command line of this process."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def _described(owner: Mapping[str, Any]) -> str:
    """The command, process, machine and time of a lock's owner, in parentheses."""
    if not owner:
        return ""
    command, pid, host, since = (
        visible(str(owner.get(key, "?")))[:limit]
        for key, limit in (("command", _LONGEST), ("pid", 10), ("host", 30), ("since", 25))
    )
    return f" ({command}, process {pid} on {host} since {since})"
