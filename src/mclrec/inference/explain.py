"""Leave-one-out explanations: the contribution to a score of each item of a history that the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import OutsideId, id_list, plain_id
from mclrec.inference.queries import DenseQuery, Explanation, Ranked, Reason

if TYPE_CHECKING:
    from mclrec.inference.runtime import Runtime

__all__ = ["LeaveOneOut"]


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOneOut:
    """Leave-one-out queries of a history: the whole history, and the history without each item that the model reads.

    Attributes:
        runtime: the model.
        queries: the whole history first.
        items: (m,) dense ids whose scores are explained.
        dense: dense id of each position of the history, 0 where unknown.
        places: positions of the history that are left out, one per further query: those of the items that the model
            reads, the newest known ones. Empty if only one item is known: there is no shorter history to compare with.
        unknown: distinct items of the history that the model does not know.
        unknown_user: whether a user was named for whom the model has no vector.
    """

    runtime: Runtime
    queries: list[DenseQuery]
    items: IntArray
    dense: list[int]
    places: list[int]
    unknown: list[OutsideId]
    unknown_user: bool

    @classmethod
    def of(
        cls,
        runtime: Runtime,
        history: Sequence[OutsideId],
        items: Sequence[OutsideId],
        user: OutsideId | None = None,
    ) -> LeaveOneOut:
        """Make the queries.

        Args:
            runtime: the model.
            history: outside ids, oldest first; unknown items are skipped.
            items: outside ids of the items whose scores are explained.
            user: outside id.

        Raises:
            KeyError: one of ``items`` is unknown; the argument is its id.
        """
        history, items = list(id_list(history)), list(id_list(items))
        dense = runtime.catalogue.items.dense_all(history).tolist()
        unknown = dict.fromkeys(
            plain_id(item) for item, found in zip(history, dense, strict=True) if not found
        )
        wanted = runtime.catalogue.items.dense_all(items)
        if not wanted.all():
            raise KeyError(items[int(np.argmin(wanted))])
        known = [place for place, item in enumerate(dense) if item]
        places = known[-runtime.engine.max_length :] if len(known) > 1 else []
        distinct, user_id = np.unique(wanted), runtime.dense_user(user)
        queries = []
        read, first = np.array(dense, dtype=np.int64)[known], len(known) - len(places)
        for given in (read, *(np.delete(read, place) for place in range(first, len(known)))):
            k = max(len(distinct), 1)
            queries.append(DenseQuery(given, k, user_id, allowed=distinct, include_seen=True))
        unknown_user = user is not None and not user_id
        return cls(runtime, queries, wanted, dense, places, list(unknown), unknown_user)

    def explain(self, answers: Sequence[Ranked]) -> list[Explanation]:
        """Compare the scores with and without each item of the history.

        Args:
            answers: the engine's answers, one per query.

        Returns:
            One explanation per item, in the order in which the items were given.
        """
        whole, *without = [dict(zip(a.items.tolist(), a.scores.tolist(), strict=True)) for a in answers]
        rest = dict(zip(self.places, without, strict=True))
        outside = self.runtime.catalogue.outside
        read = [(place, outside(self.dense[place])) for place in self.places]
        explained = []
        for item in self.items.tolist():
            score = whole.get(item, nan)
            reasons = [Reason(place, name, score - rest[place].get(item, nan)) for place, name in read]
            explained.append(Explanation(outside(item), score, reasons))
        return explained
