"""API keys: read from files, kept as digests, replaceable without a restart."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import warnings
from pathlib import Path
from time import monotonic
from typing import Protocol

from mclrec.errors import ConfigError, MclrecWarning
from mclrec.serving.rest.telemetry import log_event

__all__ = ["KeyFile", "KeyRing", "Keys"]

_SHORTEST_KEY = 16
_LARGEST_FILE = 1 << 20  # bytes
_LOOK_EVERY = 1.0  # seconds


class KeyRing(Protocol):
    """A set of valid keys."""

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of the header ``Authorization`` is ``Bearer KEY`` with one of these keys."""


class Keys:
    """API keys that are accepted from clients: kept as digests, compared in constant time.

    Args:
        keys: the keys themselves.
    """

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file with one key per line; blank lines and lines that start with ``#`` are skipped.

        Warns:
            MclrecWarning: others than the owner may read the file.

        Raises:
            ConfigError: the file cannot be read, is too large or has no key, or a key is too short or not plain ASCII.
        """
        try:
            with path.open("rb") as file:  # a pipe too, as of a shell's <(command)
                content = file.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                raise ConfigError(f"{path}: is larger than {_LARGEST_FILE >> 20} MB: not a file of keys")
            lines = content.decode("ascii").splitlines()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as problem:
            reason = getattr(problem, "strerror", None) or "keys should be plain ASCII"
            raise ConfigError(f"{path}: cannot be read: {reason}") from None
        keys = []
        for number, line in enumerate(map(str.strip, lines), start=1):
            if line and not line.startswith("#"):
                _check_key(line, f"{path}:{number}")
                keys.append(line)
        if not keys:
            raise ConfigError(f"{path}: no keys: write one per line, such as `openssl rand -hex 32` prints")
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            warnings.warn(
                f"{path}: other users can read the keys; prevent it: chmod 600 {path}",
                MclrecWarning,
                stacklevel=2,
            )
        return cls(keys)

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of the header ``Authorization`` is ``Bearer KEY`` with one of these keys."""
        scheme, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # All keys are compared, so that the time does not reveal which one matches.
        found = sum(hmac.compare_digest(digest, known) for known in self._digests)
        return scheme.lower() == b"bearer" and found > 0


class KeyFile:
    """The keys of a file, which is read again when it has changed; if that fails, the old keys stay valid.

    Args:
        path: file with one key per line.

    Raises:
        ConfigError: see `Keys.read`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._keys = Keys.read(path)
        self._look = monotonic() + _LOOK_EVERY

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of the header ``Authorization`` is ``Bearer KEY`` with a key now in the file."""
        if monotonic() >= self._look:
            self.refresh()
        return self._keys.admit(authorization)

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        self._look = monotonic() + _LOOK_EVERY
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = Keys.read(self._path)
        except ConfigError as problem:
            log_event("keys refused", {"reason": str(problem)})
        else:
            log_event("keys read", {"file": str(self._path)})


def _stamp(path: Path) -> tuple[int, ...]:
    """Values that change when a file is written or replaced; empty if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once a second, beside requests
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _check_key(key: str, place: str) -> None:
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(f"{place}: a key should have at least {_SHORTEST_KEY} characters")
    if not key.isprintable() or " " in key:
        raise ConfigError(f"{place}: a key should have neither blanks nor control characters")
