import numpy as np
import pytest

from mclrec.errors import EvaluationError
from mclrec.evaluation import resampling
from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.significance import confidence_interval, paired_bootstrap


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def naive(resamples: list[list[float]], samples: int) -> tuple[float, float, float]:
    """Interval and p computed directly from the resampled differences."""
    means = [sum(resample) / len(resample) for resample in resamples]
    below = sum(mean <= 0 for mean in means)
    above = sum(mean >= 0 for mean in means)
    low, high = np.percentile(means, [2.5, 97.5])
    return low, high, min(1.0, 2 * (min(below, above) + 1) / (samples + 1))


def test_counted_resamples_equal_naive_loop() -> None:
    a, b = (generator(seed).integers(2, size=200).astype(float) for seed in (1, 2))
    found = paired_bootstrap(a, b, generator(3), samples=300)
    distinct, counts = np.unique(a - b, return_counts=True)
    drawn = generator(3).multinomial(200, counts / 200, size=300)
    resamples = [
        [value for value, times in zip(distinct.tolist(), row, strict=True) for _ in range(times)]
        for row in drawn
    ]
    assert all(len(resample) == 200 for resample in resamples)
    np.testing.assert_allclose(found[1:], naive(resamples, 300), rtol=1e-9)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert 0.01 < found.p < 1


def test_drawn_resamples_equal_naive_loop() -> None:
    a, b = generator(1).random(50), generator(2).random(50)
    found = paired_bootstrap(a, b, generator(3), samples=300)
    places = generator(3).integers(50, size=(300, 50))
    resamples = [[float(a[place] - b[place]) for place in row] for row in places.tolist()]
    np.testing.assert_allclose(found[1:], naive(resamples, 300), rtol=1e-9)


def test_both_ways_of_resampling_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = generator(1).random(100), generator(2).random(100)
    drawn = paired_bootstrap(a, b, generator(3), samples=4000)
    monkeypatch.setattr(resampling, "_BINOMIAL_COST", 0)
    counted = paired_bootstrap(a, b, generator(3), samples=4000)
    np.testing.assert_allclose(drawn[:3], counted[:3], atol=0.01)
    assert drawn.p == pytest.approx(counted.p, abs=0.05)
    assert drawn != counted


def test_chunks_do_not_change_the_number_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CHUNK", 7)
    a = np.repeat([0.0, 1.0], 50)
    found = paired_bootstrap(a, np.zeros(100), generator(), samples=100)
    assert found.p == pytest.approx(2 / 101)


def test_equal_systems_do_not_differ() -> None:
    a = generator().random(500)
    assert paired_bootstrap(a, a, generator(), samples=200)[:3] == (0, 0, 0)
    assert paired_bootstrap(a, a, generator(), samples=200).p == 1
    # Rounding is not evidence: the mean over seeds depends on their order in the last bit.
    seeds = generator().random((3, 500)) / 3
    assert paired_bootstrap(seeds, seeds[[2, 0, 1]], generator(), samples=200).p == 1


def test_clear_difference() -> None:
    b = generator().integers(2, size=2000).astype(float)
    better = paired_bootstrap(b + 0.1, b, generator(), samples=1000)
    assert better.difference == pytest.approx(0.1)
    assert better.p == pytest.approx(2 / 1001)
    a = np.maximum(b, generator(1).random(2000) < 0.1)
    assert paired_bootstrap(a, b, generator()).low > 0
    assert paired_bootstrap(b, a, generator()).high < 0


def test_seeds_are_averaged_and_users_resampled() -> None:
    a, b = generator(1).random((3, 80)), generator(2).random((2, 80))
    found = paired_bootstrap(a, b, generator(), samples=200)
    assert found == paired_bootstrap(a.mean(0), b.mean(0), generator(), samples=200)
    assert found.difference == pytest.approx(a.mean() - b.mean())


def test_calibrated_when_there_is_no_difference() -> None:
    rng = generator(5)
    significant = 0
    for _ in range(400):
        a, b = (rng.random((2, 300)) < 0.3).astype(float)
        significant += paired_bootstrap(a, b, rng, samples=400).p < 0.1
    assert 0.05 < significant / 400 < 0.15  # expected .1, standard error .015


def test_confidence_interval_matches_the_normal_one() -> None:
    values = (generator().random(5000) < 0.2).astype(float)
    mean, low, high = confidence_interval(values, generator())
    half = 1.96 * values.std() / np.sqrt(5000)
    assert mean == values.mean()
    np.testing.assert_allclose([low, high], [mean - half, mean + half], atol=0.05 * half)
    narrow = confidence_interval(values, generator(), confidence=0.5)
    assert low < narrow.low < mean < narrow.high < high


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros(3), np.zeros(4), "3 users with 4"),
        (np.zeros(0), np.zeros(0), "shape"),
        (np.array([0.0, np.nan]), np.zeros(2), "not finite"),
        (np.zeros((1, 1, 2)), np.zeros(2), "shape"),
    ],
)
def test_refuses(a: FloatArray, b: FloatArray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        paired_bootstrap(a, b, generator())
