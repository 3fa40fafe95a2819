import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.errors import ConfigError, EvaluationError
from mclrec.evaluation.metrics import (
    METRICS,
    Metric,
    check_cut,
    hit_rate,
    mrr,
    ndcg,
    parse_metric,
    per_user,
    summarise,
)

ranks_lists = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def naive(rank: int, metric: str, k: int) -> float:
    """NDCG, reciprocal rank or recall of a list with one relevant item, for which the ideal DCG is 1."""
    total = 0.0
    for place in range(1, k + 1):
        if place == rank:
            total += {"hr": 1.0, "ndcg": 1.0 / math.log2(place + 1), "mrr": 1.0 / place}[metric]
    return total


@settings(max_examples=50, deadline=None)
@given(ranks_lists, st.sampled_from(METRICS), st.integers(1, 45))
def test_per_user_equals_naive_loop(ranks: list[int], metric: str, k: int) -> None:
    expected = [naive(rank, metric, k) for rank in ranks]
    np.testing.assert_allclose(per_user(np.array(ranks), metric, k), expected, rtol=1e-12)
    mean = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}[metric](np.array(ranks), k)
    assert mean == pytest.approx(sum(expected) / len(expected))


def test_equals_pytrec_eval() -> None:
    rng = np.random.default_rng(0)
    users, items = 40, 30
    scores = rng.permuted(np.tile(np.arange(items, dtype=float), (users, 1)), axis=1)
    targets = rng.integers(items, size=users)
    ranks = (scores >= scores[np.arange(users), targets][:, None]).sum(1)
    qrel = {f"u{u}": {f"i{targets[u]}": 1} for u in range(users)}
    run = {f"u{u}": {f"i{i}": float(scores[u, i]) for i in range(items)} for u in range(users)}
    judge = pytrec_eval.RelevanceEvaluator(
        qrel, {"recip_rank", "ndcg_cut.5,10", "success.5,10", "recall.5,10"}
    )
    judged = judge.evaluate(run)

    def column(name: str) -> list[float]:
        return [judged[f"u{u}"][name] for u in range(users)]

    for k in (5, 10):
        np.testing.assert_allclose(per_user(ranks, "hr", k), column(f"success_{k}"))
        np.testing.assert_allclose(per_user(ranks, "hr", k), column(f"recall_{k}"))
        np.testing.assert_allclose(per_user(ranks, "ndcg", k), column(f"ndcg_cut_{k}"))
    np.testing.assert_allclose(per_user(ranks, "mrr", items), column("recip_rank"))
    assert 0 < hit_rate(ranks, 5) < 1


def test_summarise_holds_every_metric_at_every_cut() -> None:
    ranks = np.array([1, 3, 7])
    found = summarise(ranks, (1, 5))
    assert list(found) == ["HR@1", "HR@5", "NDCG@1", "NDCG@5", "MRR@1", "MRR@5"]
    assert found["HR@5"] == pytest.approx(2 / 3)
    assert found["NDCG@5"] == pytest.approx((1 + 1 / 2) / 3)
    assert found["MRR@5"] == pytest.approx((1 + 1 / 3) / 3)


@pytest.mark.parametrize("text", ["mrr@10", " MRR@10 "])
def test_parse_metric(text: str) -> None:
    metric = parse_metric(text)
    assert metric == Metric("mrr", 10)
    assert str(metric) == "MRR@10"
    assert metric.mean(np.array([2, 11])) == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ndgc@10", "did you mean 'ndcg'"),
        ("mrr", "mrr@10"),
        ("mrr@0", "at least 1"),
        ("hr@-1", "hr@10"),
        ("hr@x", "hr@10"),
    ],
)
def test_parse_metric_refuses(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_metric(text)


def test_undefined_metrics() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mrr'"):
        per_user(np.array([1]), "mmr", 5)
    with pytest.raises(EvaluationError, match="k = 0"):
        per_user(np.array([1]), "hr", 0)
    with pytest.raises(EvaluationError, match="count from 1"):
        per_user(np.array([1, 0]), "hr", 5)
    with pytest.raises(EvaluationError, match="no targets"):
        summarise(np.array([], dtype=np.int64))
    check_cut(12, 12)
    with pytest.raises(EvaluationError, match="12 items"):
        check_cut(13, 12)
