"""Queries and their answers: in outside ids for callers of a model, and in dense ids for its engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import ConfigError
from mclrec.inference.top_k import FloatArray

__all__ = [
    "NO_ITEMS",
    "Boosts",
    "DenseQuery",
    "DenseRules",
    "Explanation",
    "Query",
    "Ranked",
    "Reason",
    "Recommendation",
    "RecommendationBatch",
    "Recommendations",
]


NO_ITEMS: IntArray = np.empty(0, dtype=np.int64)
"""An empty array of dense ids."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query to a model: which items come next after a history?

    Attributes:
        history: outside item ids, oldest first. Items that the model does not know are skipped; if none is left, the
            answer is the popular items.
        user: outside id, for models with user vectors; for None or a user that the model does not know, the answer
            depends on the history alone.
        k: number of items to list; fewer are listed where no more are left.
        exclude: items that may not be recommended; unknown ones are ignored.
        allow: the only items that may be recommended; None for all.
        include_seen: whether items of the history may be recommended.
        filter: conditions, by column, on the items that may be recommended; see `mclrec.inference.rules`.
        boost: conditional changes to the scores of items.
        diversify: maximum number of items that share a value of a column, by column.
    """

    history: Sequence[OutsideId] = ()
    user: OutsideId | None = None
    k: int = 10
    exclude: Sequence[OutsideId] = ()
    allow: Sequence[OutsideId] | None = None
    include_seen: bool = False
    filter: Mapping[str, Any] | None = None
    boost: Sequence[Mapping[str, Any]] | None = None
    diversify: Mapping[str, int] | None = None

    @property
    def has_rules(self) -> bool:
        """Whether the query has rules, which need a table of items."""
        return self.filter is not None or self.boost is not None or self.diversify is not None


@dataclass(frozen=True, slots=True, eq=False)
class Boosts:
    """The effect of boosts on the score of each item, depending on the scale of the scores.

    Attributes:
        logits: (V + 1,) fp32, added to scores that are logits: the amount plus the logarithm of the factor.
        factors: (V + 1,) fp32, for scores that are counts or sums of weights: scores of zero or more are multiplied by
            them, negative scores are divided by them.
        added: (V + 1,) fp32, then added to the latter scores.
    """

    logits: FloatArray
    factors: FloatArray
    added: FloatArray

    @classmethod
    def of(cls, factors: npt.NDArray[np.float64], added: npt.NDArray[np.float64]) -> Boosts:
        """Boosts from positive factors and amounts, (V + 1,) each."""
        logits = (np.log(factors) + added).astype(np.float32)
        return cls(logits, factors.astype(np.float32), added.astype(np.float32))

    def weigh(self, scores: FloatArray, ids: IntArray | slice) -> FloatArray:
        """Boost scores (B, some) of the given dense ids that are counts or sums of weights."""
        factors = self.factors[ids]
        boosted: FloatArray = np.where(scores >= 0, scores * factors, scores / factors) + self.added[ids]
        return boosted


@dataclass(frozen=True, slots=True, eq=False)
class DenseRules:
    """Rules that engines apply beside leaving items out; made once, and shared by all queries with the same rules.

    Attributes:
        boosts: changes to scores; None for none.
        groups: pairs of the group number of each item, (V + 1,), -1 for none, and the maximum number per group.
    """

    boosts: Boosts | None = None
    groups: tuple[tuple[IntArray, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DenseQuery:
    """A query in the model's own ids.

    Attributes:
        history: (n,) dense ids of known items, oldest first; may be empty. It is not truncated: an engine itself takes
            the newest items that its model reads.
        k: number of items to list, at least 1.
        user: dense id, 0 for an unknown user or none.
        excluded: dense ids that may not be listed, in any order.
        allowed: the only dense ids that may be listed; None for all.
        include_seen: whether items of the history may be listed.
        rules: changes to scores and caps per group; None for none.
    """

    history: IntArray
    k: int
    user: int = 0
    excluded: IntArray = field(default_factory=lambda: NO_ITEMS)
    allowed: IntArray | None = None
    include_seen: bool = False
    rules: DenseRules | None = None

    @property
    def left_out(self) -> IntArray:
        """Dense ids that may not be listed: excluded ones, and seen ones unless ``include_seen``."""
        if self.include_seen:
            return self.excluded
        return np.concatenate([self.excluded, self.history]) if len(self.excluded) else self.history


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The best items for a query, in the order defined in `mclrec.inference.top_k`.

    Attributes:
        items: (m,) dense ids, m <= k: fewer where no more are left.
        scores: (m,) comparable within one list; training counts where ``popular``.
        popular: whether the popular items were listed because the history was empty.
    """

    items: IntArray
    scores: FloatArray
    popular: bool = False


class Recommendation(NamedTuple):
    """One recommended item.

    Attributes:
        item: outside id.
        score: the model's score, comparable within one list; the training count if popular items were listed; the
            cosine for similar items.
    """

    item: OutsideId
    score: float


class _Framed(ABC):
    """Base of answers that convert to data frames, with the columns of their Arrow table."""

    __slots__ = ()

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """The answer as an Arrow table."""

    def to_pandas(self) -> Any:
        """The columns of `to_arrow` as a pandas data frame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return self._to_frame("pandas")

    def to_polars(self) -> Any:
        """The columns of `to_arrow` as a Polars data frame.

        Raises:
            ConfigError: Polars is not installed.
        """
        return self._to_frame("polars")

    def _to_frame(self, library: str) -> Any:
        """Convert the table through narwhals, so that the library is not a dependency of this package."""
        import narwhals

        try:
            return getattr(narwhals.from_native(self.to_arrow(), eager_only=True), f"to_{library}")()
        except ModuleNotFoundError:
            raise ConfigError(f"{library} is not installed: pip install {library}") from None


class Recommendations(_Framed, list[Recommendation]):
    """A list of recommended items, best first, which also reports the unknown ids of its query.

    Args:
        items: the recommended items.
        unknown: distinct items of the history that the model does not know.
        unknown_user: whether the query names a user for whom the model has no vector.
        popular: whether popular items were listed because the history has no known item.
        text_ids: whether ids are text, which an empty list does not show.
    """

    __slots__ = ("_text_ids", "popular", "unknown", "unknown_user")

    def __init__(
        self,
        items: Iterable[Recommendation] = (),
        *,
        unknown: tuple[OutsideId, ...] = (),
        unknown_user: bool = False,
        popular: bool = False,
        text_ids: bool = False,
    ) -> None:
        super().__init__(items)
        self.unknown, self.unknown_user, self.popular = unknown, unknown_user, popular
        self._text_ids = text_ids

    def to_arrow(self) -> pa.Table:
        """Columns rank (from 1), item and score as an Arrow table."""
        return RecommendationBatch([self], text_ids=self._text_ids).to_arrow().drop_columns(["query"])


class RecommendationBatch(_Framed, list[Recommendations]):
    """Lists of recommended items, one for each query, in the order of the queries.

    Args:
        lists: the lists.
        text_ids: whether ids are text, which empty lists do not show.
    """

    __slots__ = ("_text_ids",)

    def __init__(self, lists: Iterable[Recommendations] = (), *, text_ids: bool = False) -> None:
        super().__init__(lists)
        self._text_ids = text_ids

    def to_arrow(self) -> pa.Table:
        """Columns query (from 0), rank (from 1), item and score as an Arrow table, one row per item."""
        lengths = [len(row) for row in self]
        ids = [found.item for found in chain.from_iterable(self)]
        items = pa.array([], pa.large_string()) if self._text_ids and not ids else Vocabulary(ids).to_arrow()
        scores = [found.score for found in chain.from_iterable(self)]
        ranks = chain.from_iterable(range(1, length + 1) for length in lengths)
        return pa.table(
            {
                "query": pa.array(np.repeat(np.arange(len(self)), lengths), pa.int64()),
                "rank": pa.array(ranks, pa.int32()),
                "item": items,
                "score": pa.array(scores, pa.float32()),
            }
        )


class Reason(NamedTuple):
    """The contribution of one item of a history to a score.

    Attributes:
        position: in the history as given; 0 is the oldest.
        item: outside id.
        difference: score with the whole history minus the score with this item alone left out.
    """

    position: int
    item: OutsideId
    difference: float


class Explanation(NamedTuple):
    """An item, its score, and the contributions of the history's items to the score.

    Attributes:
        item: outside id.
        score: after the whole history.
        because: one reason for each item that the model reads (the newest known ones), in their order; empty if only
            one item of the history is known, so that there is nothing to compare with.
    """

    item: OutsideId
    score: float
    because: list[Reason]
