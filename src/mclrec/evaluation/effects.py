"""Effect sizes of differences between two systems, with uncertainty over both users and seeds.

The nested bootstrap resamples the seeds of each system, and the users, who are the same for both systems. Since seeds
and users are crossed, it is conservative: variance of their interaction is counted more than once (Owen 2007, "The
pigeonhole bootstrap").
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.resampling import (
    DECIMALS,
    SAMPLES,
    checked_rows,
    paired_differences,
    paired_rows,
    percentiles,
    resampled_means,
    seed_weights,
    two_sided_p,
)
from mclrec.evaluation.significance import Interval

__all__ = ["LEVEL", "POWER", "Effect", "detectable_difference", "nested_bootstrap", "nested_interval"]

LEVEL = 0.05
"""Significance level: probability of calling equal systems different, over all simultaneous comparisons."""

POWER = 0.8
"""Probability of detecting a true difference as large as the smallest detectable one."""


class Effect(NamedTuple):
    """Difference between two systems, with 95 % intervals unless another confidence is given.

    Attributes:
        difference: difference of the means.
        relative: the difference as a share of the second system's mean; None if a resample of that mean is 0.
        p: two-sided p-value of the difference.
    """

    difference: Interval
    relative: Interval | None
    p: float


def nested_bootstrap(
    a: FloatArray,
    b: FloatArray,
    rng: np.random.Generator,
    samples: int = SAMPLES,
    confidence: float = 0.95,
) -> Effect:
    """Compare two systems on the same users; the result generalises to new users and new seeds.

    A system with one seed is not resampled over seeds: the result then generalises to new users only.

    Args:
        a: (users,) or (seeds, users) values of a metric, from `mclrec.evaluation.metrics.per_user`.
        b: the same for the system that it is compared with, users in the same order; its seeds may differ.
        rng: draws the resamples.
        samples: number of resamples.
        confidence: confidence level of the percentile intervals.

    Raises:
        EvaluationError: the users differ in number, there are none, or a value is not finite.
    """
    one, other = paired_rows(a, b)
    users = resampled_means(np.concatenate([one, other]), rng, samples)
    first = _resample_seeds(users[:, : len(one)], rng)
    second = _resample_seeds(users[:, len(one) :], rng)
    differences = np.round(first - second, DECIMALS)
    mean = float(np.round(one.mean() - other.mean(), DECIMALS))
    relative = None
    if second.min() > 0:
        shares = differences / second
        relative = Interval(mean / float(other.mean()), *percentiles(shares, confidence))
    p = two_sided_p(differences, int(np.count_nonzero(paired_differences(one, other))))
    return Effect(Interval(mean, *percentiles(differences, confidence)), relative, p)


def nested_interval(
    values: FloatArray, rng: np.random.Generator, samples: int = SAMPLES, confidence: float = 0.95
) -> Interval:
    """Mean of (users,) or (seeds, users) values and its percentile interval over resampled users and seeds.

    Raises:
        EvaluationError: there are no users, or a value is not finite.
    """
    rows = checked_rows(values)
    means = _resample_seeds(resampled_means(rows, rng, samples), rng)
    return Interval(float(rows.mean()), *percentiles(means, confidence))


def detectable_difference(
    a: FloatArray, b: FloatArray, level: float = LEVEL, power: float = POWER
) -> float | None:
    """Smallest true difference of means that a two-sided test on these users and seeds detects with the given power.

    It is z(1 - level / 2) + z(power) standard errors of the paired difference, 2.80 by default (Cohen 1988). The
    squared standard error is the variance of the users' differences divided by the number of users, plus for each
    system the variance of its seeds' means divided by the number of its seeds.

    Args:
        a: (users,) or (seeds, users) values of a metric.
        b: the same for the other system, users in the same order.
        level: probability of calling equal systems different.
        power: probability of detecting that difference.

    Returns:
        The difference; None for a single user, since the variance over users is then unknown.

    Raises:
        EvaluationError: the users differ in number, there are none, or a value is not finite.
    """
    one, other = paired_rows(a, b)
    num_users = one.shape[1]
    if num_users == 1:
        return None
    differences = paired_differences(one, other)
    variance = float(differences.var(ddof=1)) / num_users
    variance += sum(
        float(rows.mean(axis=1).var(ddof=1)) / len(rows) for rows in (one, other) if len(rows) > 1
    )
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * math.sqrt(variance)


def _resample_seeds(means: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Average (samples, seeds) means over resampled users, over resampled seeds too: (samples,)."""
    samples, seeds = means.shape
    drawn: FloatArray = (seed_weights(seeds, rng, samples) * means).sum(axis=1)
    return drawn
