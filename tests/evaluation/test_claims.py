"""Families of comparisons: Holm's correction against its definition, and the wording of claims."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.errors import EvaluationError
from mclrec.evaluation.claims import Finding, compare_with_baseline
from mclrec.evaluation.effects import Effect, detectable_difference, nested_bootstrap
from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.significance import Interval, holm
from mclrec.randomness import Stream, generator


def naive_holm(values: Sequence[float]) -> list[float]:
    """For each p, the largest (m - j + 1) p_(j) over all p_(j) <= p, at most 1 (Holm 1979)."""
    steps = sorted(values)
    return [
        max(min(1.0, (len(steps) - j) * steps[j]) for j in range(len(steps)) if steps[j] <= value)
        for value in values
    ]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(values: list[float]) -> None:
    corrected = holm(values)
    assert corrected == pytest.approx(naive_holm(values))
    assert all(p <= better <= 1 for p, better in zip(values, corrected, strict=True))
    ordered = [corrected[index] for index in np.argsort(values)]
    assert ordered == sorted(ordered)


def systems() -> dict[str, FloatArray]:
    rng = np.random.default_rng(0)
    base = (rng.random((2, 800)) < 0.3).astype(float)
    return {
        "base": base,
        "same": base[:1],
        "better": np.maximum(base, rng.random((2, 800)) < 0.2),
        "worse": base[0] * (rng.random(800) < 0.5),
        "near": np.where(rng.random(800) < 0.1, rng.random(800) < 0.3, base[0]),
    }


def test_a_family_is_corrected_together() -> None:
    values = systems()
    found = compare_with_baseline(values, "HR@10")
    assert [one.system for one in found] == ["same", "better", "worse", "near"]
    assert [one.adjusted_p for one in found] == holm([one.effect.p for one in found])
    for one in found:
        rows = np.atleast_2d(values[one.system])
        assert one.effect == nested_bootstrap(rows, values["base"], generator(0, Stream.BOOTSTRAP))
        assert (one.users, one.seeds, one.family) == (800, (len(rows), 2), 4)
        assert one.detectable == detectable_difference(rows, values["base"], 0.05 / 4)
    assert [one.sure for one in found] == [False, True, True, False]
    alone = compare_with_baseline({name: values[name] for name in ("base", "better")}, "HR@10")
    assert alone[0].effect == found[1].effect  # the effect does not depend on the other systems compared


def test_claims_of_a_family() -> None:
    _, better, worse, near = compare_with_baseline(systems(), "HR@10")
    assert better.claim.startswith("better is ahead of base on HR@10 by ")
    assert better.claim.endswith(" %), p \u2264 0.0008 after Holm over 4 comparisons")
    assert worse.claim.startswith("worse is behind base on HR@10 by ")
    assert near.claim.startswith("near and base cannot be told apart on HR@10 (")
    assert ": this test set of 800 users shows differences of " in near.claim


def finding(
    relative: Interval | None, p: float, family: int = 1, detectable: float | None = 0.009, users: int = 943
) -> Finding:
    difference = Interval(0.0, 0.0, 0.0) if relative is None else Interval(*(0.1 * end for end in relative))
    effect = Effect(difference, relative, p)
    return Finding("a", "b", "NDCG@10", users, (1, 1), effect, min(1, p * family), family, detectable, 0.1)


@pytest.mark.parametrize(
    ("one", "claim"),
    [
        (
            finding(Interval(0.071, 0.021, 0.119), 0.001, 3),
            "a is ahead of b on NDCG@10 by 7.1 % (2.1 to 11.9 %), p = 0.0030 after Holm over 3 comparisons",
        ),
        (
            finding(Interval(-0.25, -0.37, -0.118), 0.004),
            "a is behind b on NDCG@10 by 25 % (12 to 37 %), p = 0.0040",
        ),
        (
            finding(Interval(9.251, 7.5, 11.2), 2 / 10_001, 2),
            "a is ahead of b on NDCG@10 by 925 % (750 to 1,120 %), p \u2264 0.0004 after Holm over 2 comparisons",
        ),
        (
            finding(Interval(0.02, -0.04, 0.08), 0.3, 2),
            (
                "a and b cannot be told apart on NDCG@10 (+2.0 %, \u22124.0 to +8.0 %, p = 0.6000 after Holm over "
                "2 comparisons): this test set of 943 users shows differences of 9.0 % or more"
            ),
        ),
        (finding(None, 1.0), "a and b cannot be told apart: they have the same NDCG@10 for every user"),
        (
            finding(Interval(1.0, 1.0, 1.0), 1.0, detectable=None, users=1),
            "a and b cannot be told apart on NDCG@10 (+100 %, +100 to +100 %, p = 1.0000): a single user shows nothing",
        ),
    ],
)
def test_words(one: Finding, claim: str) -> None:
    assert one.claim == claim


def test_words_where_the_baseline_may_be_zero() -> None:
    values = {"b": np.zeros(200), "a": np.repeat([0.0, 1.0], [190, 10]), "c": np.repeat([0.0, 1.0], [198, 2])}
    better, near = compare_with_baseline(values, "HR@5")
    assert better.claim.startswith("a is ahead of b on HR@5 by 0.0500 (0.0")
    assert near.claim.startswith("c and b cannot be told apart on HR@5 (+0.0100, +0.0000 to +0.0")
    assert near.claim.endswith("this test set of 200 users shows differences of 0.0217 or more")
    assert (near.effect.relative, near.relative_detectable) == (None, None)


def test_one_system_is_no_comparison() -> None:
    assert compare_with_baseline({"a": np.ones(3)}, "HR@5") == []
    with pytest.raises(EvaluationError, match="no systems"):
        compare_with_baseline({}, "HR@5")
