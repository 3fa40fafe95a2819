"""The catalogue as people and logs call it: outside ids, training counts, search in the names."""

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
    """The V items of a model. Nothing in it changes after `prepare`, so threads may share it.

    Attributes:
        items: outside ids; see `Vocabulary.dense` for what names one.
        counts: (V + 1,) interactions of each dense id in training.
        titles: (V + 1,) what people call each dense id, empty where it has no title; empty if there are none at all.
    """

    items: Vocabulary
    counts: IntArray
    titles: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.items)

    def prepare(self) -> None:
        """Build now what the first look-up and the first search would build."""
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
        """Titles of dense ids by their outside ids as text; only of those that have one."""
        if not self.titles:
            return {}
        return {str(self.items[item]): self.titles[item] for item in dense if self.titles[item]}

    def search(self, text: str, limit: int) -> Found:
        """Dense ids of the items whose ids or titles hold each word of ``text``, best first; see `NameIndex.search`.

        Args:
            text: parts of words; the most popular items are found if it is empty.
            limit: how many are listed, at most.
        """
        found = self._names.search(_storable(text), limit)
        return Found(found.items + 1, found.total)

    def nearest(self, outside: OutsideId, limit: int = 3) -> list[OutsideId]:
        """Outside ids that are most like an unknown one, for its error message."""
        text = _storable(as_text(outside) or "")
        return [self.items[place + 1] for place in self._names.nearest(text, limit).tolist()]

    def unknown_item(self, outside: OutsideId) -> str:
        """Message for an id that does not exist, with the nearest ones that do."""
        near = ", ".join(quoted(name) for name in self.nearest(outside))
        return f"unknown item {quoted(outside)}" + (f"; did you mean {near}?" if near else "")

    @cached_property
    def _names(self) -> NameIndex:
        names = [str(name) for name in self.items]
        if self.titles:
            names = [f"{title} {name}".lstrip() for title, name in zip(self.titles[1:], names, strict=True)]
        return NameIndex(names, np.asarray(self.counts[1:]))


def _storable(text: str) -> str:
    """Text without halves of surrogate pairs, which no name holds and no encoding writes."""
    return text.encode("utf-8", "replace").decode("utf-8")
