"""Files that are whole or not there: atomic writes, JSON with line numbers in errors, checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mclrec.errors import DataError, MclrecError, OutputError

__all__ = [
    "atomic_directory",
    "atomic_file",
    "parse_json",
    "read_json",
    "remove_leftovers",
    "replaceable_file",
    "sha256_file",
    "write_json",
    "write_text",
]


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it.

    A new file has the permissions that the user's umask gives, a replaced one keeps its own. A symbolic link is
    followed: the file that it points to is replaced, and the link stays.

    Raises:
        OutputError: ``path`` exists and is no regular file, such as a folder, a device or a pipe, or the disk is full.
    """
    target = replaceable_file(path)
    with _told_where(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused_name(target)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def replaceable_file(path: Path) -> Path:
    """The file that a write to ``path`` makes or replaces, links followed.

    Raises:
        OutputError: ``path`` exists and is no regular file.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.is_dir():
        raise OutputError(f"{path}: is a folder, and a file is to be written; name a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is a device or a pipe, not a regular file; name another file")
    return target


def _unused_name(target: Path) -> Path:
    """A hidden name beside ``target`` that `remove_leftovers` knows."""
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")


@contextmanager
def _told_where(path: Path) -> Iterator[None]:
    """A full disk as an error that names ``path``, and not the temporary file beside it."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutputError(
            f"{path}: no room left on the disk; nothing was changed there: free some room and repeat the command"
        ) from None


def remove_leftovers(directory: Path) -> None:
    """Remove what `atomic_file` had begun under ``directory`` when its process was killed."""
    for part in directory.rglob(".*.part"):
        if part.is_file():
            part.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``path`` that takes its place if the block succeeds.

    Raises:
        OutputError: ``path`` exists and is no folder, or is a link, or the disk is full.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path}: is a link or a file, and a folder is to be written; name another folder")
    with _told_where(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused_name(path)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                _swap(temporary, path)
            else:
                temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(temporary)


def _swap(new: Path, path: Path) -> None:
    """Put ``new`` in the place of ``path``, or leave ``path`` as it was."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    old = path.replace(folder / path.name)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        folder.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, error: type[MclrecError] = DataError) -> Any:
    """Read a JSON file; one that is missing, malformed or absurd raises ``error`` with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (ValueError, OSError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    return parse_json(text, str(path), error)


def parse_json(text: str | bytes, where: str, error: type[MclrecError] = DataError) -> Any:
    """Parse JSON from anywhere: the one reader for text that somebody else may have written.

    Args:
        text: one JSON value.
        where: file, for the message.
        error: raised for text that is malformed, nested too deeply, or holds NaN, an infinity or a number of
            thousands of digits.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        raise error(f"{where}:{problem.lineno}: not valid JSON: {problem.msg}") from None
    except RecursionError:
        raise error(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as problem:
        raise error(f"{where}: not valid JSON: {_first_sentence(problem)}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")


def _first_sentence(problem: ValueError) -> str:
    return str(problem).partition(";")[0]


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
