"""The catalogue of a model: outside ids, titles, training counts, and search by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import OutsideId, Vocabulary, as_text
from mclrec.errors import quoted
from mclrec.inference.name_index import Found, NameIndex

__all__ = ["Catalogue"]


@dataclass(frozen=True)
class Catalogue:
    """The V items of a model. It does not change after `prepare`, so threads may share it.

    Attributes:
        items: outside ids; see `Vocabulary.dense` for the values that identify an item.
        counts: (V + 1,) training interactions of each dense id.
        titles: (V + 1,) title of each dense id, an empty text for an item without one; empty if there are no titles.
    """

    items: Vocabulary
    counts: IntArray
    titles: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.items)

    def prepare(self) -> None:
        """Build the indexes that the first look-up and the first search would otherwise build."""
        self.items.dense_all(())
        self.items.outside_all(np.empty(0, dtype=np.int64))
        self._names  # noqa: B018 - cached

    def dense(self, outside: OutsideId) -> int:
        """Dense id of an outside id, 0 if it is unknown."""
        return self.items.dense(outside)

    def outside(self, dense: int) -> OutsideId:
        """Outside id of a dense id in 1..V."""
        return self.items[dense]

    def outside_all(self, dense: IntArray) -> list[OutsideId]:
        """Outside ids of dense ids in 1..V."""
        return self.items.outside_all(dense)

    def titles_of(self, dense: Iterable[int]) -> dict[str, str]:
        """Titles of those dense ids that have one, keyed by outside id as text."""
        if not self.titles:
            return {}
        return {str(self.items[item]): self.titles[item] for item in dense if self.titles[item]}

    def search(self, text: str, limit: int) -> Found:
        """Dense ids of the items whose id or title contains each word of ``text``, best first; see `NameIndex.search`.

        Args:
            text: words or parts of words; if it is empty, the most popular items are found.
            limit: maximum number of items to list.
        """
        found = self._names.search(_without_surrogates(text), limit)
        return Found(found.items + 1, found.total)

    def nearest(self, outside: OutsideId, limit: int = 3) -> list[OutsideId]:
        """Outside ids of the items whose names are most similar to an unknown id, for its error message."""
        text = _without_surrogates(as_text(outside) or "")
        return [self.items[place + 1] for place in self._names.nearest(text, limit).tolist()]

    def unknown_item(self, outside: OutsideId) -> str:
        """Error message for an unknown id, which suggests the nearest known ones."""
        near = ", ".join(quoted(name) for name in self.nearest(outside))
        return f"unknown item {quoted(outside)}" + (f"; did you mean {near}?" if near else "")

    @cached_property
    def _names(self) -> NameIndex:
        names = [str(name) for name in self.items]
        if self.titles:
            names = [f"{title} {name}".lstrip() for title, name in zip(self.titles[1:], names, strict=True)]
        return NameIndex(names, np.asarray(self.counts[1:]))


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates in a text, which no name contains and which cannot be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")
