"""Bootstrap resamples of users and of seeds (Efron and Tibshirani 1993, chapters 13 and 16).

A resample of M users draws M users with replacement from the observed ones. Users with equal values are
interchangeable, so only the number of draws of each *distinct* value matters, and these counts are multinomial. Metrics
with a cutoff take few distinct values (NDCG@10 eleven), so 10,000 resamples of 20,000 users take a fraction of a second
instead of two hundred million draws. If nearly all values are distinct, drawing users one by one gives the same
distribution at a lower cost.
"""

from __future__ import annotations

import math

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.errors import EvaluationError
from mclrec.evaluation.metrics import FloatArray
from mclrec.wording import count_of

__all__ = [
    "DECIMALS",
    "SAMPLES",
    "checked_rows",
    "paired_differences",
    "paired_rows",
    "percentiles",
    "resampled_means",
    "seed_weights",
    "two_sided_p",
]

DECIMALS = 12
"""Decimals to which differences are rounded, so that floating-point errors do not count as evidence."""

SAMPLES = 10_000
"""Default number of resamples."""

_CHUNK = 2**20  # counts or draws held at once: 8 MiB
_BINOMIAL_COST = 10  # sampling one count of a multinomial takes as long as this many draws of a user


def checked_rows(values: FloatArray) -> FloatArray:
    """Validate (users,) or (seeds, users) values, and return them as (seeds, users).

    Raises:
        EvaluationError: another shape, no users, or a value that is not finite.
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.ndim != 2 or not rows.size:
        raise EvaluationError(f"expected (users,) or (seeds, users) values, got shape {np.shape(values)}")
    if not np.isfinite(rows).all():
        raise EvaluationError("a metric value is not finite")
    return rows


def paired_rows(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Apply `checked_rows` to the values of two systems on the same users.

    Raises:
        EvaluationError: as in `checked_rows`, or the users differ in number.
    """
    one, other = checked_rows(a), checked_rows(b)
    if one.shape[1] != other.shape[1]:
        raise EvaluationError(
            f"cannot pair {count_of(one.shape[1], 'user')} with {other.shape[1]}: compare on the same targets"
        )
    return one, other


def paired_differences(one: FloatArray, other: FloatArray) -> FloatArray:
    """(users,) differences between two systems' means over seeds of (seeds, users) rows, without rounding errors."""
    differences: FloatArray = np.round(one.mean(axis=0) - other.mean(axis=0), DECIMALS)
    return differences


def resampled_means(rows: FloatArray, rng: np.random.Generator, samples: int) -> FloatArray:
    """(samples, R) means of R rows over resampled users; every row of a sample uses the same resample."""
    size = rows.shape[1]
    patterns, counts = _distinct_users(rows)
    by_counts = len(counts) * _BINOMIAL_COST <= size
    chunk = max(1, _CHUNK // (len(counts) if by_counts else size))
    parts = []
    for start in range(0, samples, chunk):
        number = min(chunk, samples - start)
        if by_counts:
            drawn = rng.multinomial(size, counts / size, number)
            parts.append(np.stack([drawn @ values / size for values in patterns], axis=1))
        else:
            users = rng.integers(size, size=(number, size))
            parts.append(np.stack([values[users].mean(axis=1) for values in rows], axis=1))
    return np.concatenate(parts)


def seed_weights(seeds: int, rng: np.random.Generator, samples: int) -> FloatArray:
    """(samples, seeds) bootstrap weights of a system's seeds; each row adds up to 1.

    Drawing S of S seeds underestimates the variance of their mean by a factor of (S - 1) / S, half for two seeds.
    Deviations from equal weights are therefore scaled by the square root of S / (S - 1) (Rao and Wu 1988).
    """
    if seeds == 1:
        return np.ones((samples, 1))
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), samples)
    weights: FloatArray = (1 + (drawn - 1) * math.sqrt(seeds / (seeds - 1))) / seeds
    return weights


def percentiles(means: FloatArray, confidence: float) -> tuple[float, float]:
    """Ends of the percentile interval of resampled means."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def two_sided_p(differences: FloatArray, differing: int) -> float:
    """Two-sided p-value of resampled differences: twice the smaller share on either side of zero, zero included.

    One is added to numerator and denominator, so that p is never 0. If few users differ, all resamples may favour the
    same system, which shows nothing: p is at least 2 / 2^N, the smallest p of a sign test on N differences.

    Args:
        differences: (samples,) resampled differences.
        differing: N, the number of users for whom the two systems differ.
    """
    extreme = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, max(2 * (extreme + 1) / (len(differences) + 1), 2.0 ** (1 - differing)))


def _distinct_users(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """(R, K) distinct columns of (R, M) rows, sorted, and the (K,) number of users with each."""
    codes = np.zeros(rows.shape[1], dtype=np.int64)
    first, counts = codes[:1], codes[:1]
    for values in rows:
        places = np.unique(values, return_inverse=True)[1]
        _, first, codes, counts = np.unique(
            codes * (places.max() + 1) + places, return_index=True, return_inverse=True, return_counts=True
        )
    return rows[:, first], counts
