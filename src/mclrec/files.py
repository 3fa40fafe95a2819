"""Files that are whole or not there: atomic writes, JSON with line numbers in errors, checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mclrec.errors import DataError, MclrecError

__all__ = [
    "atomic_directory",
    "atomic_file",
    "read_json",
    "remove_leftovers",
    "sha256_file",
    "write_json",
    "write_text",
]


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove what `atomic_file` had begun under ``directory`` when its process was killed."""
    for part in directory.rglob(".*.part"):
        if part.is_file():
            part.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``path`` that takes its place if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
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
    """Read JSON; a missing or malformed file raises ``error`` with the line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except json.JSONDecodeError as problem:
        raise error(f"{path}:{problem.lineno}: not valid JSON: {problem.msg}") from None
    except (UnicodeDecodeError, OSError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
