"""Random damage to bytes: truncation, bit flips, repetition, removal, and insertion of bytes that trip parsers."""

from __future__ import annotations

import numpy as np

BYTES_THAT_MATTER = b"\x00\xff\xfe\xef\xbb\xbf\r\n\t\"'\\,;|:{}[]()%*?#=+-. 0179eEnN/$<>\x1b\x85\xe2\x80\xa8"


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one to four random kinds of damage applied; unchanged in one case out of ten."""
    if rng.random() < 0.1:
        return content
    for _ in range(rng.integers(1, 5)):
        content = _INJURIES[rng.integers(len(_INJURIES))](content, rng)
    return content


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content) + 1)]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    if not content:
        return content
    place = rng.integers(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.integers(8))]) + content[place + 1 :]


def _insert(content: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(0, len(content) + 1)
    piece = bytes(rng.choice(list(BYTES_THAT_MATTER), rng.integers(1, 9)).tolist())
    return content[:place] + piece + content[place:]


def _remove(content: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(0, len(content) + 1)
    return content[:start] + content[start + rng.integers(0, 20) :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(0, len(content) + 1)
    piece = content[start : start + rng.integers(0, 40)]
    return content[:start] + piece * int(rng.choice([2, 3, 50, 3000])) + content[start:]


def _digits(content: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(0, len(content) + 1)
    piece = b"9" * int(rng.choice([16, 19, 20, 39, 400, 5000]))
    return content[:place] + piece + content[place:]


_INJURIES = (_cut, _flip, _insert, _remove, _repeat, _digits)
