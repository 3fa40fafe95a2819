"""Ranks computed from the kept scores, against ranks computed from all scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data
from tests.test_model_contract import build
from tests.threads import Member, members, together

from mclrec.data.split import Split, leave_one_out
from mclrec.evaluation import reranking
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.reranking import Reranker, ranker
from mclrec.models.base import VectorRecommender
from mclrec.nn.co_occurrence import Nearness
from mclrec.nn.repeats import Chosen

CPU = torch.device("cpu")
BOTH = {"repeat_bias": True, "co_occurrence": 3.0}
SEENS: Any = st.sampled_from(["keep", "drop"])
CUTS = st.sampled_from([1, 3, 10, 40])


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(tiny_data(users=30, items=25, longest=20))


def made(split: Split) -> VectorRecommender:
    """A model without zero parameters that reads fewer items than the longest histories contain."""
    model = build("sasrec", BOTH, split.training)
    assert isinstance(model, VectorRecommender)
    assert model.repeats is not None
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.repeats.choose(Chosen(0.5, 1.0, 2.0))
    return model


@pytest.fixture(scope="module")
def model(split: Split) -> VectorRecommender:
    return made(split)


def within(ranks: np.ndarray, cut: int) -> list[int]:
    found: list[int] = np.where(ranks <= cut, ranks, MISS).tolist()
    return found


@given(st.integers(-12, 12), st.sampled_from([0.0, 1.0, 8.0]), st.sampled_from([0.0, 2.0, 8.0]), SEENS, CUTS)
def test_ranks_are_those_of_all_scores_as_returns_change(
    split: Split,
    model: VectorRecommender,
    returns: float,
    frequency: float,
    recency: float,
    seen: Seen,
    cut: int,
) -> None:
    part = model.repeats
    assert part is not None
    part.choose(Chosen(0.5, 1.0, 2.0))
    found = Reranker(model, split.validation, part, seen=seen, cut=cut, device=CPU)
    part.choose(Chosen(returns, frequency, recency))
    assert found.ranks().tolist() == within(rank_targets(model, split.validation, seen=seen), cut)


@given(st.floats(3 / 16, 48), st.sampled_from([0.7, 0.8, 0.9, 1.0]), SEENS, CUTS)
def test_ranks_are_those_of_all_scores_as_near_items_gain_more_or_less(
    split: Split, model: VectorRecommender, weight: float, decay: float, seen: Seen, cut: int
) -> None:
    part = model.co_occurrence
    assert part is not None
    part.choose(Nearness(3.0, 0.8))
    found = Reranker(model, split.validation, part, seen=seen, cut=cut, device=CPU)
    part.choose(Nearness(weight, decay))
    assert found.ranks().tolist() == within(rank_targets(model, split.validation, seen=seen), cut)


def test_what_can_never_be_above_a_target_is_not_kept() -> None:
    split, kept = leave_one_out(tiny_data(users=40, items=400, longest=6)), []
    model = made(split)
    part = model.co_occurrence
    assert part is not None
    for weight in (1e-4, 3.0):
        part.choose(Nearness(weight, 0.8))
        found = Reranker(model, split.validation, part, seen="drop", cut=1, device=CPU)
        kept.append(sum(len(lists.scores) for lists in found._kept))
    assert kept[0] < kept[1] / 10


@pytest.mark.parametrize("size", [2, 3])
def test_processes_rank_a_part_each_and_get_all(split: Split, size: int) -> None:
    models = [made(split) for _ in range(size)]

    def work(member: Member) -> list[int]:
        model, targets = models[member.rank], split.validation
        part = model.co_occurrence
        assert part is not None
        rank = ranker(model, targets, part, seen="drop", cut=10, device=CPU, processes=member)
        part.choose(Nearness(6.0, 1.0))
        return within(rank(), 10)

    model = made(split)
    assert model.co_occurrence is not None
    model.co_occurrence.choose(Nearness(6.0, 1.0))
    wanted = within(rank_targets(model, split.validation, seen="drop"), 10)
    assert together(members(size), work) == [wanted] * size


def test_what_does_not_fit_into_memory_is_computed_anew(
    split: Split, model: VectorRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "_BATCH", 7)
    part = model.repeats
    assert part is not None
    part.choose(Chosen())
    whole = Reranker(model, split.validation, part, seen="keep", cut=10, device=CPU)
    monkeypatch.setattr(reranking, "_KEPT_BYTES", sum(lists.size for lists in whole._kept) // 2)
    found = Reranker(model, split.validation, part, seen="keep", cut=10, device=CPU)
    assert 0 < len(found._kept) < len(found._batches)
    part.choose(Chosen(2, 4, 1))
    assert found.ranks().tolist() == whole.ranks().tolist()
    assert found.ranks().tolist() == within(rank_targets(model, split.validation, seen="keep"), 10)


def test_no_targets(split: Split) -> None:
    model = made(split)
    assert model.repeats is not None
    none = split.validation.take(np.arange(0))
    assert len(Reranker(model, none, model.repeats, seen="keep", cut=10, device=CPU).ranks()) == 0


def test_very_long_lists_are_ranked_by_all_scores(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranking, "_MOST", 20)
    model = made(split)
    assert model.repeats is not None
    rank = ranker(model, split.validation, model.repeats, seen="keep", cut=21, device=CPU)
    assert rank().tolist() == rank_targets(model, split.validation, seen="keep").tolist()
    assert max(rank()) > 21


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf])
def test_ties_and_what_is_no_number(split: Split, value: float) -> None:
    model = made(split)
    assert model.co_occurrence is not None
    model.repeats = None
    table = model.items()
    with torch.no_grad():
        table.weight[1::3] = value  # the scores of these items are all equal, or not finite
    found = Reranker(model, split.validation, model.co_occurrence, seen="keep", cut=10, device=CPU)
    assert found.ranks().tolist() == within(rank_targets(model, split.validation, seen="keep"), 10)
