"""Nested bootstrap over seeds and users, and detectable differences: against naive loops and in simulations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.errors import EvaluationError
from mclrec.evaluation.effects import (
    Effect,
    detectable_difference,
    nested_bootstrap,
    nested_interval,
)
from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.significance import Interval, confidence_interval, paired_bootstrap


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def naive(a: FloatArray, b: FloatArray, users: list[list[int]], rng: np.random.Generator) -> Effect:
    """Nested bootstrap from lists of drawn users, one resample at a time."""
    samples = len(users)
    means = [
        [[sum(row[user] for user in drawn) / len(drawn) for row in rows.tolist()] for drawn in users]
        for rows in (a, b)
    ]
    drawn_systems = []
    for system, per_sample in zip((a, b), means, strict=True):
        seeds = len(system)
        values = []
        counts = rng.multinomial(seeds, [1 / seeds] * seeds, samples) if seeds > 1 else np.ones((samples, 1))
        for row, times in zip(per_sample, counts.tolist(), strict=True):
            plain = sum(row) / seeds
            drawn = sum(count * value for count, value in zip(times, row, strict=True)) / seeds
            stretch = math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1
            values.append(plain + stretch * (drawn - plain))
        drawn_systems.append(values)
    differences = [round(one - other, 12) for one, other in zip(*drawn_systems, strict=True)]
    shares = [difference / other for difference, other in zip(differences, drawn_systems[1], strict=True)]
    sides = (sum(value <= 0 for value in differences), sum(value >= 0 for value in differences))
    mean = a.mean() - b.mean()
    return Effect(
        Interval(mean, *np.percentile(differences, [2.5, 97.5])),
        Interval(mean / b.mean(), *np.percentile(shares, [2.5, 97.5])),
        min(1.0, 2 * (min(sides) + 1) / (samples + 1)),
    )


def assert_equal(found: Effect, expected: Effect) -> None:
    np.testing.assert_allclose(found.difference, expected.difference, atol=1e-11)
    assert found.relative is not None
    assert expected.relative is not None
    np.testing.assert_allclose(found.relative, expected.relative, rtol=1e-9)
    assert found.p == expected.p


@pytest.mark.parametrize(("seeds_a", "seeds_b"), [(1, 1), (3, 1), (1, 2), (4, 3)])
def test_drawn_users_equal_naive_loop(seeds_a: int, seeds_b: int) -> None:
    a, b = generator(1).random((seeds_a, 40)) + 0.05, generator(2).random((seeds_b, 40))
    rng = generator(3)
    users = rng.integers(40, size=(200, 40)).tolist()
    assert_equal(nested_bootstrap(a, b, generator(3), samples=200), naive(a, b, users, rng))


def test_counted_users_equal_naive_loop() -> None:
    a, b = generator(1).integers(2, size=(2, 300)), generator(2).integers(2, size=(2, 300))
    columns = sorted({tuple(column) for column in np.concatenate([a, b]).T.tolist()})
    groups = [
        [user for user in range(300) if tuple(np.concatenate([a, b])[:, user].tolist()) == column]
        for column in columns
    ]
    rng = generator(3)
    counts = rng.multinomial(300, [len(group) / 300 for group in groups], 150)
    users = [
        [group[0] for group, times in zip(groups, row, strict=True) for _ in range(times)]
        for row in counts.tolist()
    ]
    found = nested_bootstrap(a.astype(float), b.astype(float), generator(3), samples=150)
    assert_equal(found, naive(a.astype(float), b.astype(float), users, rng))


def test_one_seed_each_is_the_paired_bootstrap() -> None:
    a, b = generator(1).random(50), generator(2).random(50)
    found, expected = nested_bootstrap(a, b, generator()), paired_bootstrap(a, b, generator())
    np.testing.assert_allclose(found.difference, expected[:3], atol=1e-11)
    assert found.p == expected.p
    assert nested_interval(a, generator()) == confidence_interval(a, generator())


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_properties(seed: int, seeds: int, users: int) -> None:
    rng = generator(seed)
    a, b = (rng.integers(0, 12, (seeds, users)) / 11 for _ in range(2))
    found, back = (nested_bootstrap(*pair, generator(), samples=200) for pair in ((a, b), (b, a)))
    assert found == nested_bootstrap(a, b, generator(), samples=200)
    assert found.difference.low <= found.difference.high
    assert found.difference.mean == -back.difference.mean
    assert 0 < found.p <= 1
    assert found.p >= min(1, 2.0 ** (1 - users))
    assert (detectable_difference(a, b) is None) == (users == 1)
    if found.relative is not None:
        assert (found.relative.mean > 0) == (found.difference.mean > 0)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_equal_systems_do_not_differ(seeds: int) -> None:
    a = generator().random((seeds, 400))
    found = nested_bootstrap(a, a, generator(), samples=500)
    assert found.difference.mean == 0
    assert found.difference.low <= 0 <= found.difference.high
    assert found.p == 1 if seeds == 1 else found.p > 0.5
    assert detectable_difference(a[0], a[0]) == 0


def test_few_users_show_nothing() -> None:
    for users in range(1, 6):
        assert nested_bootstrap(np.ones(users), np.zeros(users), generator()).p == 2.0 ** (1 - users)
        assert paired_bootstrap(np.ones(users), np.zeros(users), generator()).p == 2.0 ** (1 - users)


def test_no_relative_difference_to_what_may_be_zero() -> None:
    a, b = np.ones(30), np.eye(30)[0]
    assert nested_bootstrap(a, b, generator()).relative is None
    assert nested_bootstrap(a, np.zeros(30), generator()).relative is None


def test_seeds_count_where_they_vary() -> None:
    """Equal systems whose seeds vary: resampling users alone finds many differences, resampling both few."""
    rng = generator(4)
    alone, nested = 0, 0
    for _ in range(100):
        a, b = (
            (rng.random((5, 200)) < np.clip(0.3 + 0.07 * rng.normal(size=(5, 1)), 0, 1)).astype(float)
            for _ in range(2)
        )
        alone += paired_bootstrap(a, b, rng, samples=200).p < 0.05
        nested += nested_bootstrap(a, b, rng, samples=200).p < 0.05
    assert alone / 100 > 0.25
    assert nested / 100 < 0.12  # five seeds are few: .08 is expected


def test_detectable_difference_equals_naive_loop() -> None:
    a, b = generator(1).random((3, 50)), generator(2).random((2, 50))
    differences = [sum(a[:, user]) / 3 - sum(b[:, user]) / 2 for user in range(50)]
    mean = sum(differences) / 50
    variance = sum((value - mean) ** 2 for value in differences) / 49 / 50
    for rows in (a, b):
        seeds = [sum(row) / 50 for row in rows.tolist()]
        centre = sum(seeds) / len(seeds)
        variance += sum((value - centre) ** 2 for value in seeds) / (len(seeds) - 1) / len(seeds)
    assert detectable_difference(a, b) == pytest.approx((1.959964 + 0.841621) * math.sqrt(variance))


def test_detectable_difference_is_found_four_times_in_five() -> None:
    rng = generator(6)
    b = (rng.random(4000) < 0.3).astype(float)
    a = np.where(rng.random(4000) < 0.2, 1 - b, b)
    base = detectable_difference(a, b)
    assert base is not None
    spread, found = math.sqrt(float((a - b).var(ddof=1))), 0
    for _ in range(300):
        sample = rng.choice(np.array([-spread, spread]), size=4000) + base
        found += paired_bootstrap(sample, np.zeros(4000), rng, samples=400).p < 0.05
    assert 0.72 < found / 300 < 0.88  # expected .8, standard error .023


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros(3), np.zeros(4), "3 users with 4"),
        (np.zeros(0), np.zeros(0), "shape"),
        (np.array([0.0, np.inf]), np.zeros(2), "not finite"),
    ],
)
def test_refuses(a: FloatArray, b: FloatArray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        nested_bootstrap(a, b, generator())
    with pytest.raises(EvaluationError, match=message):
        detectable_difference(a, b)
