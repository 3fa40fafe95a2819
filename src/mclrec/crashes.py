"""Exceptions that nobody raised for the user: what the machine refused becomes an error of ours, the rest a crash file.

A crash file says what is needed to find the fault: versions, platform, command and traceback, without keys and
passwords. Only its owner can read it. It is in the folder of downloads (`mclrec.files.cache_folder`), else in that of
temporary files.
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

from mclrec.errors import DataError, MclrecError, OutputError, ResourceError, quoted
from mclrec.files import cache_folder, disk_is_full, system_reason, without_temporary
from mclrec.wording import for_caller

__all__ = ["crash_message", "machine_failure", "refusals_as_ours"]

_PACKAGES = ("mclrec", "torch", "numpy", "pyarrow", "duckdb", "narwhals", "pydantic")
_LONGEST = 100_000
"""Characters of a crash file; a traceback beyond that loses its middle."""

_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|cannot allocate memory|can't allocate memory|unable to allocate|bad_?alloc"
    r"|malloc of size|storage size calculation overflow|integer multiplication overflow|array is too big"
    r"|maximum allowed dimension exceeded",
    re.I,
)
"""How libraries report that memory is short, or that a size is beyond all memory."""

_KNOWN = {errno.EMFILE, errno.ENFILE, errno.EIO}
"""Errors of the system that need no path to be understood."""

_SECRET_OPTION = re.compile(r"key|token|secret|password|credential", re.I)
_SECRETS = re.compile(
    r"(?<=://)[^/\s@]+(?=@)|(?<=[?&])([^=\s&]*(?:key|token|secret|sig|password|credential)[^=\s&]*=)[^&\s'\"]+",
    re.I,
)
"""Name and password in an address, and what its query calls a key."""


@contextmanager
def refusals_as_ours() -> Iterator[None]:
    """Raise what the machine refuses in the block, such as memory or room on a disk, as an `MclrecError`.

    It is the door of the Python interface: messages that leave it name options as arguments.
    """
    try:
        yield
    except MclrecError as problem:
        problem.args = tuple(for_caller(part) if isinstance(part, str) else part for part in problem.args)
        raise
    except Exception as problem:
        ours = machine_failure(problem)
        if ours is None:
            raise
        raise type(ours)(for_caller(str(ours))) from problem


def machine_failure(problem: BaseException) -> MclrecError | None:
    """The error to show for what the machine refuses: memory, files, paths, room on a disk; None for anything else."""
    if isinstance(problem, MclrecError):
        return problem
    place = _place(problem)
    if disk_is_full(problem):
        where = place or f"{_temporary_folder()} or where it writes"
        return OutputError(f"{where}: no room left on the disk; free some, or name another folder in TMPDIR")
    if isinstance(problem, OSError):
        reason = system_reason(problem)
        if problem.errno in _KNOWN:
            return ResourceError(f"{place}: {reason}" if place else reason)
        return DataError(f"{place}: {reason}") if place and problem.errno else None
    if isinstance(problem, MemoryError) or _NO_MEMORY.search(f"{type(problem).__name__} {problem}"):
        detail = quoted(str(problem)).strip("'\"") or "none is left"
        return ResourceError(
            f"not enough memory ({detail}): make batch_size, max_length or hidden_size smaller"
        )
    if isinstance(problem, ValueError) and "null byte" in str(problem):
        return DataError("a path has a zero byte; no file can be called that")
    if isinstance(problem, UnicodeEncodeError) and "surrogates" in problem.reason:
        return DataError("the name of a file or folder is not UTF-8, which a library cannot read: rename it")
    return None


def _place(problem: BaseException) -> str | None:
    """The path that a system error is about, as the user knows it."""
    name = getattr(problem, "filename", None)
    return without_temporary(os.fsdecode(name)) if isinstance(name, str | bytes) else None


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the folder of temporary files"


def crash_message(problem: BaseException, words: Sequence[str]) -> str:
    """Write the crash file of an exception; returns the line to show, which names the file.

    Args:
        problem: the exception.
        words: of the command, or what else says what was done.
    """
    kind = f"a fault of mclrec itself, {type(problem).__name__}"
    text = _report(problem, words)
    for folder in (lambda: cache_folder() / "crashes", lambda: Path(tempfile.gettempdir())):
        try:
            path = _write(folder, text)
        except (OSError, RuntimeError):  # no such folder, no home
            continue
        return f"{path}: {kind}; this file says what is known of it: please report it"
    return (
        f"{kind}; no crash file could be written: set TMPDIR to a folder that can be, and repeat the command"
    )


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
    """The words of a command without values of options that name a key or a password."""
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
