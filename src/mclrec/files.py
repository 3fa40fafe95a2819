"""Files: atomic writes, checks before writing, checksums."""

from __future__ import annotations

import atexit
import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from mclrec.errors import DataError, MclrecError, OutputError
from mclrec.locks import lock_beside

__all__ = [
    "atomic_directory",
    "atomic_file",
    "cache_folder",
    "check_not_read",
    "check_writable",
    "disk_is_full",
    "irregular",
    "regular_file",
    "remove_leftovers",
    "remove_unfinished",
    "replaceable_file",
    "sha256_file",
    "system_reason",
    "without_temporary",
    "write_text",
]

_REASONS = {
    errno.ENOENT: "no such file or folder",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "is on a read-only disk",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "is a folder, not a file",
    errno.ENAMETOOLONG: "the name is too long for this disk",
    errno.ELOOP: "is a symbolic link that leads back to itself",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) or ask for fewer workers",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk does not work (input/output error)",
}
"""Explanations of the usual system errors."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Names of the kinds of paths that are not regular files."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = re.compile(
    r"no space left|disk quota exceeded|file too large|\d+ requested and \d+ written", re.I
)
"""Messages about a full disk from libraries that do not pass on ``errno``."""

_TEMPORARY = re.compile(r"\.([^/]+)\.[0-9a-f]{12}\.part")
_unfinished: set[Path] = set()
"""Temporary paths of `atomic_file` and `atomic_directory` that are in use in this process."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it.

    A new file gets its permissions from the user's umask, a replaced one keeps its own. A symbolic link is
    followed: the file that it points to is replaced, and the link stays.

    Raises:
        OutputError: ``path`` exists and is not a regular file (a folder, device or pipe), or the disk is full.
    """
    target = replaceable_file(path)
    with _naming_path(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused_name(target)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        _unfinished.add(temporary)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
            _unfinished.discard(temporary)


def replaceable_file(path: Path) -> Path:
    """The file that writing to ``path`` creates or replaces, with symbolic links followed.

    Raises:
        OutputError: ``path`` exists and is not a regular file.
    """
    _check_name(path)
    try:
        target = path.resolve() if path.is_symlink() else path
        is_folder, is_special = target.is_dir(), target.exists() and not target.is_file()
    except (OSError, RuntimeError) as problem:  # before Python 3.13, circular links raise RuntimeError
        reason = system_reason(problem) if isinstance(problem, OSError) else _REASONS[errno.ELOOP]
        raise OutputError(f"{path}: cannot be written: {reason}; name another file") from None
    if is_folder:
        raise OutputError(f"{path}: is a folder, but a file is to be written; name a file")
    if is_special:
        raise OutputError(f"{path}: is a device or a pipe, not a regular file; name another file")
    return target


def _unused_name(target: Path) -> Path:
    """An unused hidden name beside ``target`` that `remove_leftovers` recognises, within the limit on names."""
    name = os.fsdecode(os.fsencode(target.name)[:200])
    return target.with_name(f".{name}.{secrets.token_hex(6)}.part")


def check_writable(path: Path, kind: Literal["file", "folder", "whole folder"] = "file") -> None:
    """Check, before the work begins, that its result can be written to ``path``.

    Args:
        path: path to be written; missing parent folders would be created.
        kind: a file that is created or replaced, a folder that files are written into, or a folder that is created or
            replaced as a whole by `atomic_directory`.

    Raises:
        OutputError: the path is not UTF-8, something of another kind is there, or the folder cannot be written.
    """
    _check_name(path)
    place = replaceable_file(path) if kind == "file" else path
    try:
        if kind == "whole folder":
            _check_replaceable_folder(path)
        elif kind == "folder" and path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file, but a folder is to be written; name another folder")
        probe = _unused_name(_nearest_folder(place.absolute(), itself=kind == "folder") / "mclrec")
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as problem:
        reason = system_reason(problem)
        raise OutputError(f"{path}: cannot be written: {reason}; give another place") from None


def check_not_read(path: Path, inputs: Iterable[object]) -> None:
    """Check, before the work begins, that a file to be written is not one that the work reads.

    Args:
        path: path to be written.
        inputs: what is read: paths of files, and patterns of them; everything else is ignored.

    Raises:
        OutputError: one of the inputs is that file.
    """
    target = replaceable_file(path)
    for one in inputs if target.exists() else ():
        with suppress(OSError, ValueError):  # a name too long for a file, or with a null byte
            if isinstance(one, str | Path) and any(map(target.samefile, _files_of(Path(one)))):
                raise OutputError(
                    f"{path}: is read by the same command, and would be lost; give another file"
                )


def _files_of(path: Path) -> Iterable[Path]:
    """The file at a path, or those that match a pattern."""
    return [path] if path.exists() else map(Path, glob.glob(str(path)))  # noqa: PTH207 - absolute too


def _nearest_folder(path: Path, *, itself: bool) -> Path:
    """The nearest existing folder above ``path``, or ``path`` itself if ``itself`` is set and it exists.

    Raises:
        OSError: it is not a folder, or a missing name below it is not a valid one.
    """
    missing: list[str] = []
    while not (missing or itself) or not os.path.lexists(path):
        missing.append(path.name)
        path = path.parent
    if not stat.S_ISDIR(path.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "")
    for name in missing:
        with suppress(FileNotFoundError):
            (path / name).lstat()
    return path


def _check_replaceable_folder(path: Path) -> None:
    """Refuse a path that a folder cannot replace.

    Raises:
        OutputError: ``path`` is a link, a file or a mount point.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path}: is a link or a file, but a folder is to be written; name another folder")
    if path.is_mount():
        raise OutputError(f"{path}: a disk is mounted there, so it cannot be replaced; name a folder in it")


def _check_name(path: Path) -> None:
    """Refuse a path that no file can have, or that libraries cannot write to.

    Raises:
        OutputError: the path contains a null byte, or is not UTF-8.
    """
    with suppress(UnicodeEncodeError):
        if b"\0" not in str(path).encode():
            return
    raise OutputError(f"{path}: cannot be written: the name has a null byte or is not UTF-8; give another")


def cache_folder() -> Path:
    """The cache folder: ``MCLREC_CACHE``, ``$XDG_CACHE_HOME/mclrec`` or ``~/.cache/mclrec``."""
    if own := os.environ.get("MCLREC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mclrec"


def system_reason(problem: OSError) -> str:
    """A short explanation of a system error, without the path."""
    return (
        _REASONS.get(problem.errno or 0) or (problem.strerror or str(problem) or "input/output error").lower()
    )


def disk_is_full(problem: BaseException) -> bool:
    """Whether an exception of any library reports a full disk or an exceeded quota."""
    number = getattr(problem, "errno", None)
    return number in _FULL or (number is None and bool(_FULL_TEXTS.search(str(problem))))


def without_temporary(path: str) -> str:
    """A path with the name of a temporary file replaced by that of the file being written."""
    return _TEMPORARY.sub(r"\1", path)


@contextmanager
def _naming_path(path: Path) -> Iterator[None]:
    """Turn system errors about writing into an error that names ``path``, not the temporary file beside it."""
    try:
        yield
    except MclrecError:
        raise
    except Exception as problem:
        if disk_is_full(problem):
            raise OutputError(
                f"{without_temporary(str(path))}: no room left on the disk{_free_room(path)}; nothing was "
                "changed there: free some room and repeat the command"
            ) from None
        if isinstance(problem, OSError) and _is_about(problem, path):
            raise OutputError(f"{path}: cannot be written: {system_reason(problem)}") from None
        raise


def _is_about(problem: OSError, path: Path) -> bool:
    """Whether a system error comes from creating or replacing ``path``, not from other work in the block."""
    places = (problem.filename, problem.filename2)
    named = [without_temporary(os.fsdecode(place)) for place in places if isinstance(place, str | bytes)]
    return any(str(path) == place or str(path).startswith(f"{place}/") for place in named)


def _free_room(path: Path) -> str:
    """The free space where ``path`` is written, in parentheses; empty if unknown."""
    try:
        place = next(parent for parent in path.absolute().parents if parent.exists())
        return f" ({shutil.disk_usage(place).free / 1e6:,.1f} MB free)"
    except OSError:
        return ""


@atexit.register
def remove_unfinished() -> None:
    """Remove the temporary files and folders of this process when it ends before they are complete."""
    for path in list(_unfinished):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of `atomic_file` that a killed process left under ``directory``."""
    for part in directory.rglob(".*.part"):
        if part.is_file():
            part.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``path`` that replaces it if the block succeeds.

    Raises:
        InUseError: another process is writing it.
        OutputError: ``path`` exists and is not a folder, or is a link, or the disk is full.
    """
    with _naming_path(path):
        _check_replaceable_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_beside(path, "wait until it has ended, or name another folder"):
            temporary = _unused_name(path)
            temporary.mkdir()
            _unfinished.add(temporary)
            try:
                yield temporary
                if path.exists():
                    _swap(temporary, path)
                else:
                    temporary.replace(path)
            finally:
                with suppress(FileNotFoundError):
                    shutil.rmtree(temporary)
                _unfinished.discard(temporary)


def _swap(new: Path, path: Path) -> None:
    """Replace ``path`` by ``new``; on failure, ``path`` stays as it was."""
    folder = _unused_name(path)
    folder.mkdir()
    old = path.replace(folder / path.name)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        folder.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; lone surrogates, as in some file names, are written as escapes (``\\udcff``)."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def irregular(mode: int) -> str | None:
    """The kind of a path according to its mode, such as a pipe; None for a regular file."""
    kind = stat.S_IFMT(mode)
    return None if kind == stat.S_IFREG else _KINDS.get(kind, "a special file")


def regular_file(path: Path, error: type[MclrecError] = DataError) -> Path:
    """Return a path after checking that it is a regular file: opening a pipe would block, reading a device never end.

    Raises:
        error: the path does not exist, is not a regular file, or cannot be examined.
    """
    try:
        kind = irregular(path.stat().st_mode)
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:
        reason = system_reason(problem) if isinstance(problem, OSError) else str(problem)
        raise error(f"{path}: cannot be read: {reason}") from None
    if kind is not None:
        raise error(f"{path}: is {kind}, but should be a regular file")
    return path


def sha256_file(path: Path, error: type[MclrecError] = DataError) -> str:
    """Hexadecimal sha256 of a file's bytes; ``error`` is raised if it is not a regular file."""
    with regular_file(path, error).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
