"""Metrics beyond accuracy of several systems on the same targets, each with a one-line explanation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, Packed
from mclrec.data.split import Targets
from mclrec.evaluation import beyond_accuracy as beyond

__all__ = ["GAMMA", "MEASURES", "FurtherMetrics", "Grounds", "Measure", "Values"]

GAMMA = 1.0
"""Exponent of the popularity in a target's propensity; see `beyond_accuracy.unbiased_recall`."""

Values = Mapping[str, float | None]
"""Values of one system by `Measure.key`; None for metrics that are undefined for its lists."""


class Measure(NamedTuple):
    """A metric beyond accuracy as it is presented.

    Attributes:
        key: name in JSON and in Python.
        title: name in tables, with its unit if it has one.
        note: explanation in one line for readers who do not know the metric.
        form: format specification of its values.
    """

    key: str
    title: str
    note: str
    form: str = ".3f"


MEASURES = (
    Measure("coverage", "coverage", "share of the catalogue that is in somebody's list", ".1%"),
    Measure(
        "gini",
        "concentration (Gini)",
        "0: every item is recommended equally often; 1: all recommendations are one item",
    ),
    Measure(
        "novelty",
        "novelty, bits",
        "how rare listed items are in training (-log2 of an item's share of the rows); 1 more: half as popular",
        ".2f",
    ),
    Measure(
        "popularity_lift",
        "popularity lift",
        "how much more popular listed items are than those of the histories: +50%: 1.5 times as popular, 0%: as "
        "popular",
        "+.0%",
    ),
    Measure(
        "audience_diversity",
        "diversity, by audience",
        "1 - mean cosine of two items of a list by who had them in training; 0: the same people, 1: nobody in common",
    ),
    Measure(
        "vector_diversity",
        "diversity, by vectors",
        "the same by item vectors of the evaluated model, which is not a neutral judge of similarity",
    ),
    Measure(
        "category_diversity",
        "diversity, by category",
        "the same by categories: with one per item, the share of pairs of a list whose categories differ",
    ),
    Measure(
        "miscalibration",
        "miscalibration, nats",
        "how far a list's categories are from the history's (KL divergence); 0: the same mixture, 4.6: none of them",
    ),
    Measure(
        "repeat_share",
        "repeats",
        "share of listed items that the user has had before; the rest are discoveries",
        ".1%",
    ),
    Measure(
        "repeat_hits", "repeats among hits", "share of the targets found that the user has had before", ".1%"
    ),
    Measure(
        "unbiased_recall",
        "unbiased HR",
        "HR if all items had been seen equally often: a target weighs 1 / popularity (gamma = 1, an assumption)",
        ".4f",
    ),
)
"""All metrics beyond accuracy, in the order in which tables show them."""


@dataclass(frozen=True, slots=True)
class FurtherMetrics:
    """Metrics beyond accuracy of several systems that made lists for the same targets.

    Attributes:
        k: length of the lists.
        systems: values by name of the system, the evaluated one first.
        targets: values of the items that users took next, for metrics that are defined for them, as a reference.
        effective_targets: effective sample size of ``unbiased_recall``.
        notes: remarks on categories and on omitted baselines.
        gamma: exponent of the popularity that ``unbiased_recall`` assumes.
    """

    k: int
    systems: Mapping[str, Values]
    targets: Values
    effective_targets: float
    notes: tuple[str, ...] = ()
    gamma: float = GAMMA

    @property
    def measures(self) -> list[Measure]:
        """The metrics for which at least one system has a value."""
        return [
            measure
            for measure in MEASURES
            if any(values.get(measure.key) is not None for values in self.systems.values())
        ]

    def to_json(self) -> dict[str, Any]:
        """The metrics as a JSON object."""
        return {
            "k": self.k,
            "systems": {name: dict(values) for name, values in self.systems.items()},
            "targets": dict(self.targets),
            "gamma": self.gamma,
            "effective_targets": round(self.effective_targets, 1),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Grounds:
    """Reference data by which the lists of all systems are evaluated.

    Attributes:
        targets: M targets.
        popularity: (V + 1,) interactions of each item in training.
        audiences: (V + 1, d) model-independent item vectors; see `audience_vectors`.
        vectors: (V + 1, d) item vectors of the evaluated model; None if it has none.
        categories: V + 1 lists of categories; None if none are known.
    """

    targets: Targets
    popularity: IntArray
    audiences: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32] | None = None
    categories: Packed | None = None

    def values(self, lists: IntArray, ranks: IntArray) -> Values:
        """Compute all metrics of a system.

        Args:
            lists: (M, k) the system's lists; see `mclrec.evaluation.ranking.list_items`.
            ranks: (M,) exact ranks of the targets; as in HR@k, a target with a rank of at most k is a hit.
        """
        items, histories = self.targets.items, self._histories
        hits = ranks <= lists.shape[1]
        found: dict[str, float] = {
            "coverage": beyond.coverage(lists, len(self.popularity) - 1),
            "gini": beyond.gini(lists, len(self.popularity) - 1),
            **self._length_independent(lists, histories),
            "audience_diversity": beyond.vector_diversity(lists, self.audiences),
            "repeat_hits": beyond.repeat_share(np.where(hits, items, 0)[:, None], histories),
            "unbiased_recall": beyond.unbiased_recall(hits, items, self.popularity, GAMMA),
        }
        if self.vectors is not None:
            found["vector_diversity"] = beyond.vector_diversity(lists, self.vectors)
        if self.categories is not None:
            found["category_diversity"] = beyond.category_diversity(lists, self.categories)
            found["miscalibration"] = beyond.calibration(lists, histories, self.categories)
        return _answers(found)

    def of_targets(self) -> Values:
        """Metrics of the items that users took next; only those that can be compared with metrics of longer lists."""
        return _answers(self._length_independent(self.targets.items[:, None], self._histories))

    @property
    def effective_targets(self) -> float:
        """Effective sample size of the unbiased recall: equally weighted targets of the same precision."""
        return beyond.effective_targets(self.targets.items, self.popularity, GAMMA)

    @property
    def _histories(self) -> Packed:
        return self.targets.histories(np.arange(len(self.targets)))

    def _length_independent(self, lists: IntArray, histories: Packed) -> dict[str, float]:
        """Metrics that are means over listed items, and therefore comparable across list lengths."""
        return {
            "novelty": beyond.novelty(lists, self.popularity),
            "popularity_lift": beyond.popularity_lift(lists, histories, self.popularity),
            "repeat_share": beyond.repeat_share(lists, histories),
        }


def _answers(found: Mapping[str, float]) -> Values:
    """Values in the order of `MEASURES`; None instead of NaN, which JSON does not have."""
    return {
        measure.key: None if math.isnan(found[measure.key]) else found[measure.key]
        for measure in MEASURES
        if measure.key in found
    }
