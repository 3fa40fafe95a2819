"""How often equal systems with few seeds are called different at .05: the numbers of docs/evaluation.md."""

from __future__ import annotations

import numpy as np

from mclrec.evaluation.resampling import seed_weights, two_sided_p

_PAIRS, _SAMPLES = 1500, 999


def false_claims(seeds: int, spread: float, rng: np.random.Generator) -> float:
    """Share of pairs of equal systems that are called different.

    Args:
        seeds: number of seeds of each system.
        spread: standard deviation of a system's metric between seeds, in standard errors of the users' difference.
        rng: generator of systems and resamples.
    """
    claims = 0
    for _ in range(_PAIRS):
        one, other = spread * rng.normal(size=(2, seeds))
        users = rng.normal() + rng.normal(size=_SAMPLES)
        drawn = [seed_weights(seeds, rng, _SAMPLES) @ means for means in (one, other)]
        claims += two_sided_p(users + drawn[0] - drawn[1], differing=1000) < 0.05
    return claims / _PAIRS


if __name__ == "__main__":
    source = np.random.default_rng(0)
    for spread in (0.5, 1.0, 3.0):
        shares = {seeds: round(false_claims(seeds, spread, source), 3) for seeds in (2, 3, 5, 10)}
        print(f"spread {spread:g}: {shares}")
