"""A substring index over the names of a catalogue, ignoring case and accents, for millions of names.

One suffix array holds every position of every name, sorted by the four bytes that start there. Bisection finds a text
anywhere in a name, and a mask marks the names that contain it.
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

__all__ = ["MOST_WORDS", "Found", "NameIndex", "words_of"]

MOST_WORDS = 16
"""Maximum number of words that a search should have: each costs a pass over the names that contain it."""

_KEY = 4
"""Bytes by which positions are sorted."""

_EDGE = "\n"
"""Separator before each name and after the last one: it lets a search match the start of a name, or the whole name."""

_LIKELY = 64
"""Names that are compared character by character in a search for similar names."""

_COMPARED = 64
"""Leading characters of a name and of the text that are compared: more would take seconds."""

_LOOKED_AT = 100_000
"""Positions of trigrams that are visited in a search for similar names; the rarest trigrams are the most telling."""

_SLICE = 512
"""Names that are normalised at once; other threads can run in between."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Result of a search.

    Attributes:
        items: indices into the list of names, best first.
        total: number of names that match.
    """

    items: IntArray
    total: int


class NameIndex:
    """A search index over V names.

    Args:
        names: in any order.
        counts: (V,) popularity of each name, which breaks ties in the ranking.
    """

    def __init__(self, names: Sequence[str], counts: IntArray) -> None:
        self._order = np.argsort(-counts, kind="stable")  # popular names first, in all that follows
        order = self._order.tolist()
        slices = [order[start : start + _SLICE] for start in range(0, len(order), _SLICE)]
        text = _EDGE.join(_plain([names[place] for place in places]) for places in slices)
        self._bytes = (_EDGE + text + _EDGE).encode()
        self._array = array = np.frombuffer(self._bytes, dtype=np.uint8)
        edges = array == ord(_EDGE)
        self._owners = np.cumsum(edges, dtype=np.int32) - np.int32(1)  # (bytes,) name of each byte
        self._starts = np.flatnonzero(edges)
        self._places = _sorted_places(array)

    def search(self, text: str, limit: int) -> Found:
        """Names that contain each word of ``text``, also within a word.

        First the names equal to the text, then those that begin with it, then those in which each word begins a word,
        then the others; among equals, popular ones first. An empty text finds all names.
        """
        plain, words = _plain([text]), words_of(text)
        if not words:
            places = np.arange(0 if text.strip() else len(self._order))
            return Found(self._order[places[:limit]], len(places))
        everywhere = self._all(words)
        total = int(everywhere.sum())
        chosen: list[int] = []
        for mask in self._tiers(plain, words) if total else ():
            fresh = np.flatnonzero(mask & everywhere)[: limit + len(chosen)].tolist()
            known = set(chosen)
            chosen += [place for place in fresh if place not in known]
            if len(chosen) >= min(limit, total):
                break
        return Found(self._order[chosen[:limit]], total)

    def nearest(self, text: str, limit: int = 3) -> IntArray:
        """Indices of the names most similar to ``text``, of which only the beginning is compared; may be empty."""
        plain = _plain([text[:_COMPARED]])[:_COMPARED]
        likely = self._likely(plain)
        names = {self._name(place)[:_COMPARED]: place for place in reversed(likely)}
        close = get_close_matches(plain, names, n=limit, cutoff=0.5)
        return self._order[[names[name] for name in close]]

    def _likely(self, plain: str) -> list[int]:
        """Names that share the most trigrams with a text, popular ones first among equals."""
        grams = {plain[start : start + 3] for start in range(max(1, len(plain) - 2))} - {""}
        parts, left = [], _LOOKED_AT
        for places in sorted((self._window(gram.encode())[1] for gram in grams), key=_length):
            if left > 0:
                parts.append(np.unique(self._owners[self._places[places.start : places.start + left]]))
            left -= _length(places)
        if not parts:
            return []
        names, shared = np.unique(np.concatenate(parts), return_counts=True)
        likely: list[int] = names[np.argsort(-shared, kind="stable")[:_LIKELY]].tolist()
        return likely

    def _tiers(self, plain: str, words: Sequence[str]) -> Iterator[npt.NDArray[np.bool_]]:
        """(V,) masks of the tiers of matches, best first."""
        yield self._having(f"{_EDGE}{plain}{_EDGE}")
        yield self._having(f"{_EDGE}{plain} ") | self._having(
            f" {plain}{_EDGE}"
        )  # a whole title, or a whole id
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
        """(V,) mask of the names that contain the text anywhere."""
        mask = np.zeros(len(self._order), dtype=bool)
        mask[self._owners[self._hits(text.encode())]] = True
        return mask

    def _hits(self, needle: bytes) -> npt.NDArray[np.int32]:
        """Start positions of the needle. A separator belongs to the name after it, so the start identifies the name."""
        at, window = self._window(needle)
        hits = self._places[window]
        if len(needle) <= _KEY:
            return hits
        hits = hits - np.int32(at)
        hits = hits[(hits >= 0) & (hits <= len(self._array) - len(needle))]
        for offset, byte in enumerate(needle):
            hits = hits[self._array[hits + offset] == byte]
        return hits

    def _window(self, needle: bytes) -> tuple[int, slice]:
        """Offset of the rarest four bytes of a needle, and the slice of the sorted positions that begin with them."""
        ranges = [self._range(needle[at : at + _KEY]) for at in range(max(1, len(needle) - _KEY + 1))]
        at = min(range(len(ranges)), key=lambda number: _length(ranges[number]))
        return at, ranges[at]

    def _range(self, key: bytes) -> slice:
        """Slice of the sorted positions that begin with a key of at most four bytes."""

        def begin(place: int) -> bytes:
            return self._bytes[place : place + len(key)]

        return slice(bisect_left(self._places, key, key=begin), bisect_right(self._places, key, key=begin))

    def _name(self, place: int) -> str:
        return self._bytes[self._starts[place] + 1 : self._starts[place + 1]].decode()


def words_of(text: str) -> list[str]:
    """The distinct words that a search for a text looks for."""
    return list(dict.fromkeys(_plain([text]).split()))


def _length(places: slice) -> int:
    return int(places.stop - places.start)


def _plain(names: Sequence[str]) -> str:
    """Normalise names, one per line: without accents and case, words separated by one space, no punctuation."""
    text = _EDGE.join(names)
    if text.count(_EDGE) != len(names) - 1:
        text = _EDGE.join(name.replace(_EDGE, " ") for name in names)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = text.translate({ord(sign): None for sign in set(text) if unicodedata.combining(sign)})
    text = re.sub(r"(?:[^\w\n]|_)+", " ", text.casefold())
    return re.sub(r"^ +| +$", "", text, flags=re.MULTILINE)


def _sorted_places(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """All positions, stably sorted by the four bytes that begin there."""
    padded = np.concatenate([array, np.zeros(_KEY, dtype=np.uint8)]).astype(np.uint16)
    pairs = padded[:-1] << 8 | padded[1:]
    order = np.argsort(pairs[2 : len(array) + 2], kind="stable").astype(np.int32)  # radix sort, one pass each
    return order[np.argsort(pairs[order], kind="stable")]
