"""Search in the names of a catalogue: parts of words, without case and accents, among millions in milliseconds.

Every place of every name stands in one array, sorted by the four bytes that follow it. A text is found by bisection,
wherever it is in a name, and the items that have it are marked in a mask.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["Found", "NameIndex"]

_KEY = 4
"""Bytes that places are sorted by."""

_EDGE = "\n"
"""Stands before each name and after the last one: with it, a text is found at the start of a name, or as all of it."""

_LIKELY = 64
"""Names that are compared letter by letter when near ones are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search gave.

    Attributes:
        items: places in the list of names, best first.
        total: how many names have the text.
    """

    items: IntArray
    total: int


class NameIndex:
    """An index over V names.

    Args:
        names: in any order.
        counts: (V,) how popular each is: settles who comes first.
    """

    def __init__(self, names: Sequence[str], counts: IntArray) -> None:
        self._order = np.argsort(-counts, kind="stable")  # popular names first, in all that follows
        text = _plain([names[place] for place in self._order.tolist()])
        self._bytes = (_EDGE + text + _EDGE).encode()
        array = np.frombuffer(self._bytes, dtype=np.uint8)
        edges = array == ord(_EDGE)
        self._owners = np.cumsum(edges, dtype=np.int32) - np.int32(
            1
        )  # (bytes,) which name each byte belongs to
        self._starts = np.flatnonzero(edges)
        self._places = _sorted_places(array)

    def search(self, text: str, limit: int) -> Found:
        """Names that hold each word of ``text``, in parts or whole.

        First the name that is the text, then those that begin with it, then those of which each word begins one, then
        the others; among equals, popular ones first. An empty text finds all names.
        """
        plain = _plain([text])
        words = plain.split()
        if not words:
            places = np.arange(0 if text.strip() else len(self._order))
            return Found(self._order[places[:limit]], len(places))
        everywhere = self._all(words)
        chosen: list[int] = []
        for mask in self._tiers(plain, words):
            fresh = np.flatnonzero(mask & everywhere)[: limit + len(chosen)].tolist()
            known = set(chosen)
            chosen += [place for place in fresh if place not in known]
            if len(chosen) >= limit:
                break
        return Found(self._order[chosen[:limit]], int(everywhere.sum()))

    def nearest(self, text: str, limit: int = 3) -> IntArray:
        """Places of the names that are most like ``text``; none where none is."""
        plain = _plain([text])
        shared = np.zeros(len(self._order), dtype=np.int32)
        for start in range(max(1, len(plain) - 2)):
            shared += self._having(plain[start : start + 3])
        likely = np.argsort(-shared[: len(shared)], kind="stable")[:_LIKELY]
        names = {self._name(place): place for place in likely[shared[likely] > 0][::-1].tolist()}
        close = get_close_matches(plain, names, n=limit, cutoff=0.5)
        return self._order[[names[name] for name in close]]

    def _tiers(self, plain: str, words: Sequence[str]) -> Iterator[npt.NDArray[np.bool_]]:
        """(V,) masks, each after the better ones."""
        yield self._having(f"{_EDGE}{plain}{_EDGE}")
        yield self._having(f"{_EDGE}{plain}")
        starts = np.ones(len(self._order), dtype=bool)
        for word in words:
            starts &= self._having(f" {word}") | self._having(f"{_EDGE}{word}")
        yield starts
        yield np.ones(len(self._order), dtype=bool)

    def _all(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        mask = self._having(words[0])
        for word in words[1:]:
            mask &= self._having(word)
        return mask

    def _having(self, text: str) -> npt.NDArray[np.bool_]:
        """(V,) which names hold the text somewhere."""
        mask = np.zeros(len(self._order), dtype=bool)
        mask[self._owners[self._hits(text.encode())]] = True
        return mask

    def _hits(self, needle: bytes) -> npt.NDArray[np.int32]:
        """Places of the needle. An edge belongs to the name after it, so that of the first byte is the owner's."""
        windows = [self._range(needle[at : at + _KEY]) for at in range(max(1, len(needle) - _KEY + 1))]
        at = min(range(len(windows)), key=lambda window: windows[window][1] - windows[window][0])
        hits = self._places[slice(*windows[at])]
        if len(needle) <= _KEY:
            return hits
        hits = hits - np.int32(at)
        fits = [self._bytes.startswith(needle, place) for place in hits.tolist() if place >= 0]
        return hits[hits >= 0][fits]

    def _range(self, key: bytes) -> tuple[int, int]:
        """Which of the sorted places begin with at most four bytes."""

        def begin(place: int) -> bytes:
            return self._bytes[place : place + len(key)]

        return bisect_left(self._places, key, key=begin), bisect_right(self._places, key, key=begin)

    def _name(self, place: int) -> str:
        return self._bytes[self._starts[place] + 1 : self._starts[place + 1]].decode()


def _plain(names: Sequence[str]) -> str:
    """Names one a line: without accents and case, words apart by one blank, other signs left out."""
    text = _EDGE.join(names)
    if text.count(_EDGE) != len(names) - 1:
        text = _EDGE.join(name.replace(_EDGE, " ") for name in names)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = text.translate({ord(sign): None for sign in set(text) if unicodedata.combining(sign)})
    text = re.sub(r"(?:[^\w\n]|_)+", " ", text.casefold())
    return re.sub(r"^ +| +$", "", text, flags=re.MULTILINE)


def _sorted_places(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """All places, in the order of the four bytes that begin there; equal ones as they stand."""
    padded = np.concatenate([array, np.zeros(_KEY, dtype=np.uint8)]).astype(np.uint16)
    pairs = padded[:-1] << 8 | padded[1:]
    order = np.argsort(pairs[2 : len(array) + 2], kind="stable").astype(
        np.int32
    )  # by radix, in one pass each
    return order[np.argsort(pairs[order], kind="stable")]
