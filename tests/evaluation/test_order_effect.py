"""Effect of order: the best system on ordered histories against the best on shuffled ones, as numbers and a verdict."""

from __future__ import annotations

import numpy as np
import pytest

from mclrec.errors import EvaluationError
from mclrec.evaluation.effects import LEVEL, detectable_difference
from mclrec.evaluation.order_effect import order_effect
from mclrec.evaluation.significance import holm, paired_bootstrap
from mclrec.randomness import Stream, generator

RNG = np.random.default_rng(0)
HIGH, LOW = (RNG.random((2, 500)) < np.array([[0.5], [0.2]])).astype(float)
SLIGHT = np.where(np.arange(500) < 20, 0.0, HIGH)


def test_numbers_are_those_of_the_paired_bootstrap() -> None:
    found = order_effect({"a": HIGH, "b": LOW, "c": LOW}, {"a": SLIGHT, "b": HIGH, "c": LOW}, "NDCG@10")
    one, other, same = found.systems
    test = paired_bootstrap(HIGH, SLIGHT, generator(0, Stream.BOOTSTRAP))
    assert (one.difference, one.low, one.high) == pytest.approx(test[:3])
    assert one.lost == pytest.approx((HIGH.mean() - SLIGHT.mean()) / HIGH.mean())
    assert other.difference < 0
    assert (same.difference, same.p) == (0, 1)
    tests = [
        paired_bootstrap(x, y, generator(0, Stream.BOOTSTRAP)).p
        for x, y in ((HIGH, SLIGHT), (LOW, HIGH), (HIGH, HIGH))
    ]
    assert [one.p, other.p] == pytest.approx(holm(tests[:2]))
    # Holm compares the smallest p with a third of the level: there are three tests (a, b, and the two best systems).
    assert found.detectable == detectable_difference(HIGH, HIGH if found.rival == "b" else SLIGHT, LEVEL / 3)


def test_the_best_without_order_is_the_rival() -> None:
    """If one model loses its accuracy without order and another is as good without it, order has no effect."""
    found = order_effect({"chain": HIGH, "bag": HIGH}, {"chain": LOW, "bag": HIGH}, "NDCG@10")
    assert (found.rival, found.best.difference) == ("bag", 0)
    assert found.verdict.startswith("It cannot be shown that order matters on this log: NDCG@10")
    assert found.systems[0].p < 0.05


@pytest.mark.parametrize(
    ("ordered", "shuffled", "said"),
    [
        (HIGH, LOW, "Order matters on this log, 5"),
        (HIGH, SLIGHT, "Order matters little on this log, "),
        (LOW, HIGH, "Order misleads on this log: "),
        (HIGH, RNG.permutation(HIGH), "It cannot be shown that order matters on this log: "),
    ],
)
def test_the_verdict_in_words(ordered: np.ndarray, shuffled: np.ndarray, said: str) -> None:
    found = order_effect({"sasrec": ordered}, {"sasrec": shuffled}, "NDCG@10")
    assert found.verdict.startswith(said)
    assert found.to_json()["verdict"] == found.verdict
    assert len(found.verdict) < 300


def test_other_systems_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the same systems"):
        order_effect({"a": HIGH}, {"b": LOW}, "NDCG@10")
    with pytest.raises(EvaluationError, match="the same systems"):
        order_effect({}, {}, "NDCG@10")
