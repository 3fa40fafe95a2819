"""Storage format of a session's items: JSON with a checksum, under a digest of the session's key."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from zlib import crc32

from pydantic_core import from_json, to_json

from mclrec.data.vocabulary import OutsideId

__all__ = ["LETTERS", "DamagedSession", "digest_of", "newest", "packed", "unpacked"]

LETTERS = 16_384
"""Maximum total length of a session's ids, so that reading and writing one takes a fraction of a millisecond."""

_CHECKSUM = 4


class DamagedSession(Exception):
    """The stored bytes are not those that were written."""


def digest_of(key: str) -> bytes:
    """Digest under which a session is stored: 16 bytes, from which the key cannot be recovered."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def newest(items: Sequence[OutsideId], most: int) -> list[OutsideId]:
    """The newest items, at most ``most`` of them and `LETTERS` characters in total, oldest first."""
    kept: list[OutsideId] = []
    letters = 0
    for item in reversed(items[-most:]):
        letters += len(item) if isinstance(item, str) else 20
        if letters > LETTERS:
            break
        kept.append(item)
    kept.reverse()
    return kept


def packed(items: Sequence[OutsideId]) -> bytes:
    """Serialise items: a checksum, then JSON."""
    content = to_json(items)
    return crc32(content).to_bytes(_CHECKSUM, "big") + content


def unpacked(content: bytes) -> list[OutsideId]:
    """Inverse of `packed`.

    Raises:
        DamagedSession: the checksum does not match.
    """
    checksum, text = content[:_CHECKSUM], content[_CHECKSUM:]
    if crc32(text).to_bytes(_CHECKSUM, "big") != checksum:
        raise DamagedSession
    items: list[OutsideId] = from_json(text)
    return items
