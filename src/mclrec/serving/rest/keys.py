"""API keys: read from a file, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import stat
import warnings
from pathlib import Path

from mclrec.errors import ConfigError, MclrecWarning

__all__ = ["Keys"]

_SHORTEST = 16


class Keys:
    """What a client may show. Only digests are held.

    Args:
        keys: the keys themselves.
    """

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file with one key a line; blank lines and what follows ``#`` at a line's start are left out.

        Warns:
            MclrecWarning: others than the owner may read the file.

        Raises:
            ConfigError: it cannot be read, has no key, or one that is too short or not plain ASCII.
        """
        try:
            lines = path.read_text(encoding="ascii").splitlines()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as problem:
            reason = getattr(problem, "strerror", None) or "keys are plain ASCII"
            raise ConfigError(f"{path}: cannot be read: {reason}") from None
        keys = []
        for number, line in enumerate(map(str.strip, lines), start=1):
            if line and not line.startswith("#"):
                _check(line, f"{path}:{number}")
                keys.append(line)
        if not keys:
            raise ConfigError(f"{path}: no keys: write one a line, such as `openssl rand -hex 32` makes")
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            warnings.warn(
                f"{path}: others may read the keys; forbid it: chmod 600 {path}", MclrecWarning, stacklevel=2
            )
        return cls(keys)

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of the header ``Authorization`` is ``Bearer KEY`` with a key of ours."""
        scheme, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # All are compared, so that the time tells nothing of which one fits.
        found = sum(hmac.compare_digest(digest, known) for known in self._digests)
        return scheme.lower() == b"bearer" and found > 0


def _check(key: str, place: str) -> None:
    if len(key) < _SHORTEST:
        raise ConfigError(f"{place}: a key has at least {_SHORTEST} characters")
    if not key.isprintable() or " " in key:
        raise ConfigError(f"{place}: a key has neither blanks nor control characters")
