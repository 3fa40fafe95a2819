"""Statistical significance of differences: the paired bootstrap over users, and Holm's correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.resampling import (
    SAMPLES,
    checked_rows,
    paired_differences,
    paired_rows,
    percentiles,
    resampled_means,
    two_sided_p,
)

__all__ = [
    "SAMPLES",
    "Comparison",
    "Interval",
    "confidence_interval",
    "holm",
    "p_text",
    "paired_bootstrap",
]


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

    Users are resampled and seeds are averaged over: the result generalises to new users, for the given seeds.

    Args:
        a: (users,) or (seeds, users) values of a metric, from `mclrec.evaluation.metrics.per_user`.
        b: the same for the other system, users in the same order; its number of seeds may differ.
        rng: draws the resamples.
        samples: number of resamples; the smallest p is 2 / (samples + 1).
        confidence: confidence level of the percentile interval.

    Returns:
        mean(a) - mean(b), its interval, and p (see `mclrec.evaluation.resampling.two_sided_p`).

    Raises:
        EvaluationError: the users differ in number, there are none, or a value is not finite.
    """
    differences = paired_differences(*paired_rows(a, b))
    means = resampled_means(differences[None], rng, samples)[:, 0]
    p = two_sided_p(means, int(np.count_nonzero(differences)))
    return Comparison(float(differences.mean()), *percentiles(means, confidence), p)


def confidence_interval(
    values: FloatArray, rng: np.random.Generator, samples: int = SAMPLES, confidence: float = 0.95
) -> Interval:
    """Mean of (users,) or (seeds, users) values and its percentile interval over resampled users.

    Raises:
        EvaluationError: there are no users, or a value is not finite.
    """
    users = checked_rows(values).mean(axis=0)
    means = resampled_means(users[None], rng, samples)[:, 0]
    return Interval(float(users.mean()), *percentiles(means, confidence))


def holm(values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests by Holm's method (1979), which controls the family-wise error rate."""
    corrected, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = highest
    return corrected


def p_text(p: float, smallest: float = 2 / (SAMPLES + 1)) -> str:
    """Format a p-value with four decimals, rounded up; with a sign if the bootstrap cannot resolve a smaller one.

    Args:
        p: p-value of a paired bootstrap.
        smallest: smallest p-value that it can have; see `paired_bootstrap`.

    >>> p_text(0.26), p_text(2 / 10_001)
    ('0.2600', '\u2264 0.0002')
    """
    digits = f"{math.ceil(round(p * 1e4, 6)) / 1e4:.4f}"
    return f"\u2264 {digits}" if p <= smallest * (1 + 1e-9) else digits
