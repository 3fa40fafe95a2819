"""Hit rate, NDCG and MRR from exact ranks, for lists with one relevant item.

With one relevant item, HR@k equals Recall@k and the ideal DCG is 1, so that each metric is a function of the rank
within the cutoff and zero beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import is_integer
from mclrec.errors import ConfigError, EvaluationError, quoted, unknown_name

__all__ = [
    "CUTS",
    "METRICS",
    "MISS",
    "FloatArray",
    "Metric",
    "by_user",
    "check_cut",
    "default_cuts",
    "hit_rate",
    "main_metric",
    "mrr",
    "ndcg",
    "parse_metric",
    "per_user",
    "summarise",
]

FloatArray = npt.NDArray[np.float64]

CUTS = (5, 10, 20)
"""The cutoffs that the paper reports."""

MISS = 2**31 - 1
"""Rank of a target that is in no list, however long: it is beyond every cutoff."""

_DIGITS = 9
"""Maximum number of digits of a cutoff, which keeps it below `MISS`."""

_GAINS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "hr": np.ones_like,
    "ndcg": lambda ranks: 1.0 / np.log2(ranks + 1.0),
    "mrr": lambda ranks: 1.0 / ranks,
}

METRICS = tuple(_GAINS)
"""Names of the metrics."""


class Metric(NamedTuple):
    """A metric with its cutoff, such as MRR@10."""

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name.upper()}@{self.k}"

    def mean(self, ranks: IntArray) -> float:
        """Mean over the targets."""
        return _mean(ranks, self.name, self.k)


def parse_metric(text: str) -> Metric:
    """Parse a metric such as ``mrr@10``, in upper or lower case.

    Raises:
        ConfigError: the name is unknown, or the cutoff is not an integer of at least 1.
    """
    if not isinstance(text, str):
        raise ConfigError(f"metric = {quoted(text)}: should be a string such as ndcg@10")
    name, at, cut = text.strip().lower().partition("@")
    if name not in _GAINS:
        raise ConfigError(unknown_name("metric", name, _GAINS))
    if not (at and cut.isdecimal() and len(cut) <= _DIGITS and int(cut) >= 1):
        raise ConfigError(
            f"metric {quoted(text)}: write the cutoff as a whole number of at least 1, as in {name}@10"
        )
    return Metric(name, int(cut))


def check_cut(k: int, num_items: int | None = None) -> None:
    """Refuse a cutoff that is not an integer in 1..V, or of at least 1 if V is unknown.

    Raises:
        EvaluationError: the cutoff is not an integer or is out of range.
    """
    if not is_integer(k):
        raise EvaluationError(f"k = {quoted(k)}: the length of a list should be a whole number")
    if k < 1:
        raise EvaluationError(f"k = {quoted(k)}: the length of a list should be at least 1")
    if num_items is not None and k > num_items:
        raise EvaluationError(
            f"k = {quoted(k)} is more than the catalogue's {num_items} items; use k <= {num_items}"
        )


def default_cuts(num_items: int) -> tuple[int, ...]:
    """The paper's cutoffs that do not exceed the catalogue's V items; V itself if all do."""
    return tuple(k for k in CUTS if k <= num_items) or (num_items,)


def main_metric(num_items: int) -> Metric:
    """The metric by which systems are compared: NDCG@10, or NDCG at the largest smaller cutoff that V items allow."""
    cuts = default_cuts(num_items)
    return Metric("ndcg", max((k for k in cuts if k <= CUTS[1]), default=cuts[0]))


def per_user(ranks: IntArray, metric: str, k: int) -> FloatArray:
    """Compute a metric for each target.

    Args:
        ranks: (M,) ranks of the targets, 1 = best, `MISS` = in no list.
        metric: ``hr`` (1 within the cutoff), ``ndcg`` (1 / log2(rank + 1)) or ``mrr`` (1 / rank); 0 beyond the cutoff.
        k: the cutoff.

    Returns:
        (M,) values in 0..1.

    Raises:
        ConfigError: unknown metric.
        EvaluationError: k is not an integer of at least 1, or a rank is below 1.
    """
    if metric not in _GAINS:
        raise ConfigError(unknown_name("metric", metric, _GAINS))
    check_cut(k)
    if len(ranks) and ranks.min() < 1:
        raise EvaluationError(f"ranks count from 1, but one is {ranks.min()}")
    return np.where(ranks <= k, _GAINS[metric](ranks.astype(np.float64)), 0.0)


def by_user(values: FloatArray, users: IntArray) -> FloatArray:
    """Aggregate values of targets to one value per user, for inference over users who have several targets each.

    The mean over users equals the mean over targets, m, and bootstrapping these values is, to first order, the cluster
    bootstrap over users with all their targets: a user with n targets whose values sum to s gets m + (s - n m) U / M
    (the linearised ratio, Cochran 1977, section 6.3).

    Args:
        values: (M,) values of the targets.
        users: (M,) user of each target, any integers.

    Returns:
        (U,) values in ascending order of the users; the unchanged values if every user has one target.
    """
    distinct, codes = np.unique(users, return_inverse=True)
    if len(distinct) == len(values):
        return values
    counts = np.bincount(codes)
    mean = float(values.mean())
    spread: FloatArray = np.bincount(codes, weights=values) - counts * mean
    return spread * (len(counts) / len(values)) + mean


def hit_rate(ranks: IntArray, k: int) -> float:
    """HR@k: share of the (M,) targets in the first k places. Raises like `per_user`, and EvaluationError if M = 0."""
    return _mean(ranks, "hr", k)


def ndcg(ranks: IntArray, k: int) -> float:
    """NDCG@k: mean over the (M,) targets of 1 / log2(rank + 1) within the cutoff. Raises like `hit_rate`."""
    return _mean(ranks, "ndcg", k)


def mrr(ranks: IntArray, k: int) -> float:
    """MRR@k: mean over the (M,) targets of 1 / rank within the cutoff. Raises like `hit_rate`."""
    return _mean(ranks, "mrr", k)


def summarise(ranks: IntArray, ks: Iterable[int] = CUTS) -> dict[str, float]:
    """Compute all metrics at all cutoffs, in the order HR, NDCG, MRR: ``{"HR@5": ..., "HR@10": ..., ...}``.

    Raises:
        EvaluationError: there are no targets, or a cutoff is not an integer of at least 1.
    """
    cuts = tuple(ks)
    metrics = [Metric(name, k) for name in METRICS for k in cuts]
    return {str(metric): metric.mean(ranks) for metric in metrics}


def _mean(ranks: IntArray, metric: str, k: int) -> float:
    if not len(ranks):
        raise EvaluationError("there are no targets to average over")
    return float(per_user(ranks, metric, k).mean())
