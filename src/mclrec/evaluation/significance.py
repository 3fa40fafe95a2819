"""Statistical significance of differences: the bootstrap over users (Efron and Tibshirani 1993, chapters 13 and 16).

A resample of M users draws M values with replacement from the observed ones. Only how often each *distinct*
value is drawn matters, and these counts are multinomial. Metrics with a cut take few distinct values (NDCG@10
eleven), so 10,000 resamples of 20,000 users take a fraction of a second, not two hundred million draws. Where
nearly every value is distinct, drawing users one by one is the cheaper way to the same distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mclrec.errors import EvaluationError
from mclrec.evaluation.metrics import FloatArray
from mclrec.wording import count_of

__all__ = ["SAMPLES", "Comparison", "Interval", "confidence_interval", "holm", "p_text", "paired_bootstrap"]

SAMPLES = 10_000
"""Resamples, unless others are asked for."""

_CHUNK = 2**20  # counts or draws held at once: 8 MiB
_BINOMIAL_COST = 10  # one count of a multinomial takes as long as so many draws
_DECIMALS = 12  # differences below are rounding, not evidence


class Interval(NamedTuple):
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A difference of means with its bootstrap interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    a: FloatArray,
    b: FloatArray,
    rng: np.random.Generator,
    samples: int = SAMPLES,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two systems on the same users.

    Users are resampled, seeds are averaged over: the statement is about new users, for the seeds at hand.

    Args:
        a: (users,) or (seeds, users) values of a metric, from `mclrec.evaluation.metrics.per_user`.
        b: the same for the other system, users in the same order; its number of seeds may differ.
        rng: source of the resamples.
        samples: how many resamples; the smallest p is 2 / (samples + 1).
        confidence: of the percentile interval.

    Returns:
        mean(a) - mean(b), its interval, and p: twice the smaller share of resampled differences on either
        side of zero (zero included), with one added to both parts of the fraction so that p is never 0.

    Raises:
        EvaluationError: the users differ in number, there are none, or a value is not finite.
    """
    first, second = _over_seeds(a), _over_seeds(b)
    if first.shape != second.shape:
        raise EvaluationError(
            f"cannot pair {count_of(len(first), 'user')} with {len(second)}: compare on the same targets"
        )
    differences = np.round(first - second, _DECIMALS)
    means = _resampled_means(differences, rng, samples)
    low, high = _percentiles(means, confidence)
    extreme = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = min(1.0, 2 * (extreme + 1) / (samples + 1))
    return Comparison(float(differences.mean()), low, high, p)


def confidence_interval(
    values: FloatArray, rng: np.random.Generator, samples: int = SAMPLES, confidence: float = 0.95
) -> Interval:
    """Mean of (users,) or (seeds, users) values and its percentile interval over resampled users.

    Raises:
        EvaluationError: there are no users, or a value is not finite.
    """
    users = _over_seeds(values)
    return Interval(float(users.mean()), *_percentiles(_resampled_means(users, rng, samples), confidence))


def holm(values: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected by Holm (1979): the chance of one false finding among all is below each."""
    corrected, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = highest
    return corrected


def p_text(p: float, smallest: float = 2 / (SAMPLES + 1)) -> str:
    """A p-value in four decimals, rounded up; one that the bootstrap cannot tell from smaller ones has a sign.

    Args:
        p: of a paired bootstrap.
        smallest: that it can have; see `paired_bootstrap`.

    >>> p_text(0.26), p_text(2 / 10_001)
    ('0.2600', '\u2264 0.0002')
    """
    digits = f"{math.ceil(round(p * 1e4, 6)) / 1e4:.4f}"
    return f"\u2264 {digits}" if p <= smallest * (1 + 1e-9) else digits


def _over_seeds(values: FloatArray) -> FloatArray:
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.ndim != 2 or not rows.size:
        raise EvaluationError(f"expected (users,) or (seeds, users) values, got shape {np.shape(values)}")
    if not np.isfinite(rows).all():
        raise EvaluationError("a metric value is not finite")
    means: FloatArray = rows.mean(axis=0)
    return means


def _resampled_means(values: FloatArray, rng: np.random.Generator, samples: int) -> FloatArray:
    """(samples,) bootstrap means: each of as many values as there are, drawn with replacement."""
    size = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    by_counts = len(distinct) * _BINOMIAL_COST <= size
    chunk = max(1, _CHUNK // (len(distinct) if by_counts else size))
    rows = [min(chunk, samples - start) for start in range(0, samples, chunk)]
    if by_counts:
        return np.concatenate([rng.multinomial(size, counts / size, row) @ distinct for row in rows]) / size
    return np.concatenate([values[rng.integers(size, size=(row, size))].mean(axis=1) for row in rows])


def _percentiles(means: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
