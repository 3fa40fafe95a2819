"""The catalogue as people and logs call it: outside ids, training counts, search in the names.

The search finds parts of words, without case and accents, among millions of names in milliseconds. Every position of
every name stands in one suffix array, sorted by the four bytes that follow it. A text is found by bisection, wherever
it is in a name, and the items that have it are marked in a mask.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mclrec.data.packed import IntArray
from mclrec.data.sequences import OutsideId, Vocabulary

__all__ = ["Catalogue", "Found", "NameIndex"]

_KEY = 4
"""Bytes that places are sorted by."""

_EDGE = "\n"
"""Stands before each name and after the last one: with it, a text is found at the start of a name, or as all of it."""

_FEW = 32
"""Ids that are looked up one by one: for so few, a call of Arrow takes longer."""

_LIKELY = 64
"""Names that are compared letter by letter when near ones are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Result of a search.

    Attributes:
        items: places in the list of names, best first.
        total: how many names have the text.
    """

    items: IntArray
    total: int


@dataclass(frozen=True)
class Catalogue:
    """The V items of a model. Nothing in it changes after `prepare`, so threads may share it.

    Attributes:
        items: outside ids; "7" is taken for 7 where they are integers, and the other way round.
        counts: (V + 1,) interactions of each dense id in training.
    """

    items: Vocabulary
    counts: IntArray

    def __len__(self) -> int:
        return len(self.items)

    def prepare(self) -> None:
        """Build now what the first look-up and the first search would build."""
        self.items.dense("")
        self._names  # noqa: B018 - cached

    def dense(self, outside: OutsideId) -> int:
        """Dense id of an outside id, 0 if it is unknown."""
        return self.items.dense(outside)

    def outside(self, dense: int) -> OutsideId:
        """Outside id of a dense id in 1..V."""
        return self.items[dense]

    def outside_all(self, dense: IntArray) -> list[OutsideId]:
        """Outside ids of dense ids in 1..V."""
        if len(dense) <= _FEW:
            return [self.items[item] for item in dense.tolist()]
        # From a buffer: pa.array of an ndarray imports pandas where that is installed.
        places = pa.Array.from_buffers(pa.int64(), len(dense), [None, pa.py_buffer(dense - 1)])
        found: list[OutsideId] = self.items.to_arrow().take(places).to_pylist()
        return found

    def search(self, text: str, limit: int) -> Found:
        """Dense ids of the items whose ids hold each word of ``text``, best first; see `NameIndex.search`.

        Args:
            text: parts of words; the most popular items are found if it is empty.
            limit: how many are listed, at most.
        """
        found = self._names.search(text, limit)
        return Found(found.items + 1, found.total)

    def nearest(self, outside: OutsideId, limit: int = 3) -> list[OutsideId]:
        """Outside ids that are most like an unknown one, for its error message."""
        return [self.items[place + 1] for place in self._names.nearest(str(outside), limit).tolist()]

    def unknown_item(self, outside: OutsideId) -> str:
        """Message for an id that does not exist, with the nearest ones that do."""
        near = ", ".join(repr(name) for name in self.nearest(outside))
        return f"unknown item {outside!r}" + (f"; did you mean {near}?" if near else "")

    @cached_property
    def _names(self) -> NameIndex:
        names = [str(name) for name in self.items]
        return NameIndex(names, np.asarray(self.counts[1:]))


class NameIndex:
    """A search index over V names.

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
        if not plain:
            return self._order[:0]
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
