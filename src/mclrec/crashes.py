"""Unexpected exceptions: failures of the machine become an `MclrecError`, anything else a crash file.

A crash file holds what is needed to find the fault: versions, platform, command and traceback, without keys and
passwords. Only its owner can read it. It is written to the cache folder (`mclrec.files.cache_folder`), or else to the
folder of temporary files.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mclrec.errors import DataError, MclrecError, OutputError, ResourceError, bounded, quoted
from mclrec.files import cache_folder, disk_is_full, system_reason, without_temporary
from mclrec.wording import for_caller

__all__ = ["crash_message", "machine_failure", "refusals_as_ours"]

_PACKAGES = ("mclrec", "torch", "numpy", "pyarrow", "duckdb", "narwhals", "pydantic")
_LONGEST = 100_000
"""Maximum characters of a traceback in a crash file; a longer one loses its middle."""

_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|cannot allocate memory|can't allocate memory|unable to allocate|bad_?alloc"
    r"|malloc of size|storage size calculation overflow|integer multiplication overflow|array is too big"
    r"|maximum allowed dimension exceeded",
    re.I,
)
"""Messages by which libraries report that memory ran out, or that a size exceeds any memory."""

_NEEDS_NO_PATH = {errno.EMFILE, errno.ENFILE, errno.EIO}
"""System errors that can be understood without a path."""

_SECRET_OPTION = re.compile(r"key|token|secret|password|credential", re.I)
_SECRETS = re.compile(
    r"(?<=://)[^/\s@]+(?=@)|(?<=[?&])([^=\s&]*(?:key|token|secret|sig|password|credential)[^=\s&]*=)[^&\s'\"]+",
    re.I,
)
"""User name and password in a URL, and values of query parameters that are named like secrets."""


@contextmanager
def refusals_as_ours() -> Iterator[None]:
    """Raise failures of the machine in the block, such as memory or disk space running out, as an `MclrecError`.

    It is the boundary of the Python interface: messages that leave it name options as Python arguments.
    """
    try:
        yield
    except MclrecError as problem:
        # bounded again: arguments of Python are longer than the options that they replace
        problem.args = tuple(
            bounded(for_caller(part)) if isinstance(part, str) else part for part in problem.args
        )
        raise
    except Exception as problem:
        ours = machine_failure(problem)
        if ours is None:
            raise
        raise type(ours)(for_caller(str(ours))) from problem


def machine_failure(problem: BaseException) -> MclrecError | None:
    """The `MclrecError` for a failure of the machine: memory, files, paths, disk space; None for anything else."""
    if isinstance(problem, MclrecError):
        return problem
    place = _place(problem)
    if disk_is_full(problem):
        where = place or f"{_temporary_folder()} or where it writes"
        return OutputError(f"{where}: no room left on the disk; free some, or name another folder in TMPDIR")
    if isinstance(problem, OSError):
        reason = system_reason(problem)
        if problem.errno in _NEEDS_NO_PATH:
            return ResourceError(f"{place}: {reason}" if place else reason)
        return DataError(f"{place}: {reason}") if place and problem.errno else None
    if isinstance(problem, MemoryError) or _NO_MEMORY.search(f"{type(problem).__name__} {problem}"):
        detail = quoted(str(problem)).strip("'\"") or "none is left"
        return ResourceError(
            f"not enough memory ({detail}): make batch_size, max_length or hidden_size smaller"
        )
    if isinstance(problem, ValueError) and "null byte" in str(problem):
        return DataError("a path has a null byte; no file can have that name")
    if isinstance(problem, UnicodeEncodeError) and "surrogates" in problem.reason:
        return DataError("the name of a file or folder is not UTF-8, which a library cannot read: rename it")
    return None


def _place(problem: BaseException) -> str | None:
    """The path that a system error is about, without the name of a temporary file."""
    name = getattr(problem, "filename", None)
    return without_temporary(os.fsdecode(name)) if isinstance(name, str | bytes) else None


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the folder of temporary files"


def crash_message(problem: BaseException, words: Sequence[str]) -> str:
    """Write the crash file of an exception; return the line to show, which names the file.

    Args:
        problem: the exception.
        words: words of the command, or another description of what was done.
    """
    kind = f"a bug in mclrec, {type(problem).__name__}"
    text = _report(problem, words)
    for folder in (lambda: cache_folder() / "crashes", lambda: Path(tempfile.gettempdir())):
        try:
            path = _write(folder, text)
        except (OSError, RuntimeError):  # no such folder, no home
            continue
        return f"{path}: {kind}; this file has the details: please report it"
    return f"{kind}; no crash file could be written: set TMPDIR to a writable folder, and repeat the command"


def _write(folder: Callable[[], Path], text: str) -> Path:
    """Write a new file that only its owner can read."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = place / f"mclrec-crash-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}.txt"
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    return path


def _report(problem: BaseException, words: Sequence[str]) -> str:
    """Contents of a crash file."""
    trace = "".join(traceback.format_exception(problem))
    if len(trace) > _LONGEST:
        trace = f"{trace[: _LONGEST // 2]}\n...\n{trace[-_LONGEST // 2 :]}"
    lines = [
        f"mclrec crash, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"command: {shlex.join(['mclrec', *_without_secrets(words)])}",
        f"python: {platform.python_implementation()} {platform.python_version()}, {platform.platform()}",
        f"packages: {', '.join(f'{name} {_version(name)}' for name in _PACKAGES)}",
        f"encoding: {sys.getfilesystemencoding()}",
        "",
        trace,
    ]
    text = "\n".join(lines)
    for secret in _secrets(words):
        text = text.replace(secret, "***")
    return _SECRETS.sub(lambda found: f"{found[1] or ''}***", text)


def _without_secrets(words: Sequence[str]) -> list[str]:
    """The words of a command with the values of options that name a key or a password masked."""
    hidden = set(_secrets(words))
    return [
        f"{word.partition('=')[0]}=***" if word.partition("=")[2] in hidden else word
        for word in ("***" if word in hidden else word for word in words)
    ]


def _secrets(words: Sequence[str]) -> list[str]:
    """Values of options that name a key or a password, the longest first."""
    found = [
        value
        for word, after in zip(words, [*words[1:], ""], strict=True)
        for option, equals, value in [word.partition("=") if "=" in word else (word, "", after)]
        if option.startswith("--") and _SECRET_OPTION.search(option) and len(value) > 0
    ]
    return sorted(found, key=len, reverse=True)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow, and most commands do not crash

    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
