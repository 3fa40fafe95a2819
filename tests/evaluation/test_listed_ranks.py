"""Ranks of targets in lists: equal to a naive loop, to our own exact ranks, and to pytrec_eval."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import SMALL, sequences_of, tiny_data

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, leave_one_out
from mclrec.errors import DataError, EvaluationError
from mclrec.evaluation.listed_ranks import ListedRanks, ranks_of_lists
from mclrec.evaluation.metrics import MISS, hit_rate, ndcg
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import list_items, rank_targets
from mclrec.evaluation.recommended_columns import Ordering
from mclrec.evaluation.recommended_lists import RecommendedLists
from mclrec.models.base import Recommender
from mclrec.models.sasrec import SASRec, SASRecConfig

Row = tuple[Any, Any, float]


def lists_of(rows: Sequence[Row], ordering: Ordering = "score") -> RecommendedLists:
    users, items, order = zip(*rows, strict=True)
    kind = float if ordering == "score" else int
    return RecommendedLists(
        "lists",
        pa.array(users),
        pa.array(items),
        np.array([kind(one) for one in order]),
        ordering,
        {"user": "user", "item": "item", "order": ordering},
        0,
    )


@dataclass
class Naive:
    """One user's list and target, ranked by a loop over the rows."""

    items: list[int]
    order: list[float]
    ordering: Ordering
    history: list[int]
    target: int

    def rank(self, seen: Seen) -> int:
        if self.target not in self.items or (seen == "drop" and self.target in self.history):
            return MISS
        better: Callable[[float, float], bool] = operator.ge if self.ordering == "score" else operator.le
        own = [order for item, order in zip(self.items, self.order, strict=True) if item == self.target]
        best = max(own) if self.ordering == "score" else min(own)
        place, closed = 1, 0
        for item, order in zip(self.items, self.order, strict=True):
            if item != self.target and better(order, best):
                place += 1
                closed += item in self.history
        if self.ordering == "rank":
            place = max(place, int(best))
        return place - closed if seen == "drop" else place

    def tied(self, seen: Seen) -> bool:
        left = [
            (item, order)
            for item, order in zip(self.items, self.order, strict=True)
            if not (seen == "drop" and item in self.history)
        ]
        own = [order for item, order in left if item == self.target]
        best = (max if self.ordering == "score" else min)(own, default=None)
        return best is not None and any(item != self.target and order == best for item, order in left)


HISTORIES = [[1, 2, 3, 4], [2, 2, 5], [6, 1, 6, 3], [4, 5, 6]]
"""Histories with the test target at the end."""


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), max_size=8), min_size=4, max_size=4),
    st.sampled_from(["rank", "score"]),
    st.sampled_from(["keep", "drop"]),
)
def test_ranks_equal_a_naive_loop(lists: list[list[tuple[int, int]]], ordering: Ordering, seen: Seen) -> None:
    data = sequences_of(HISTORIES, 6)  # 7, 8 and 9 are unknown
    rows = [(user, item, order) for user, own in enumerate(lists, start=1) for item, order in own]
    targets = leave_one_out(data).test
    known = [row for row in rows if row[1] <= 6]
    if not known:
        return
    found = ranks_of_lists(lists_of(rows, ordering), targets, seen)
    expected = [
        Naive([i for i, _ in own], [o for _, o in own], ordering, sequence[:-1], sequence[-1])
        for own, sequence in zip(lists, HISTORIES, strict=True)
    ]
    assert found.ranks.tolist() == [naive.rank(seen) for naive in expected]
    lengths = [max([len(own), *(o for _, o in own if ordering == "rank")]) for own in lists]
    assert found.facts.length == max(lengths)
    assert found.facts.unknown_items == len(rows) - len(known)
    assert found.facts.copies == len(rows) - len({(user, item) for user, item, _ in rows})
    assert found.facts.seen == sum(item in HISTORIES[user - 1][:-1] for user, item, _ in rows)
    assert found.facts.tied == sum(naive.tied(seen) for naive in expected)
    assert (found.best_case() <= found.ranks).all()


@pytest.fixture(scope="module")
def trained() -> tuple[SequenceData, Recommender]:
    torch.manual_seed(0)
    data = tiny_data(users=60, items=40, longest=20)
    return data, SASRec(SASRecConfig(**SMALL), data.num_items)


def own_lists(
    data: SequenceData, targets: Targets, lists: np.ndarray[Any, Any], ordering: Ordering
) -> RecommendedLists:
    """Lists of dense ids converted to shuffled rows of outside ids, as in a file."""
    rows = []
    for user, items in zip(targets.users.tolist(), lists.tolist(), strict=True):
        for place, item in enumerate(items, start=1):
            if item:
                order = place if ordering == "rank" else 1 / place
                rows.append((data.user_ids[user + 1], data.item_ids[item], order))
    rng = np.random.default_rng(0)
    shuffled = [rows[place] for place in rng.permutation(len(rows))]
    return lists_of(shuffled, ordering)


@pytest.mark.parametrize("seen", ["keep", "drop"])
@pytest.mark.parametrize("ordering", ["rank", "score"])
def test_our_own_lists_have_exactly_our_own_metrics(
    trained: tuple[SequenceData, Recommender], seen: Seen, ordering: Ordering
) -> None:
    data, model = trained
    targets = leave_one_out(data).test
    exact = rank_targets(model, targets, seen=seen)
    for k in (1, 5, 10, 20):
        lists = own_lists(data, targets, list_items(model, targets, k, seen=seen), ordering)
        found = ranks_of_lists(lists, targets, seen)
        assert found.facts.length == k
        for cut in (1, k):
            assert hit_rate(found.ranks, cut) == hit_rate(exact, cut)
            assert ndcg(found.ranks, cut) == ndcg(exact, cut)
    assert hit_rate(exact, 10) > 0


def test_unfiltered_lists_close_up_to_the_filtered_ones(trained: tuple[SequenceData, Recommender]) -> None:
    data, model = trained
    targets = leave_one_out(data).test
    exact = rank_targets(model, targets, seen="drop")
    whole = own_lists(data, targets, list_items(model, targets, data.num_items, seen="keep"), "rank")
    assert ranks_of_lists(whole, targets, "drop").ranks.tolist() == exact.tolist()
    cut = own_lists(data, targets, list_items(model, targets, 10, seen="keep"), "rank")
    found = ranks_of_lists(cut, targets, "drop")
    for k in range(1, 11):  # lower and upper bounds
        assert hit_rate(found.ranks, k) <= hit_rate(exact, k) <= hit_rate(found.best_case(), k)
        assert (found.bounded_at(k) == 0) <= (hit_rate(found.ranks, k) == hit_rate(exact, k))
    assert found.bounded_at(1) == 0 < found.bounded_at(10)


def test_equals_pytrec_eval_on_the_same_lists() -> None:
    rng = np.random.default_rng(1)
    data = tiny_data(users=50, items=30)
    targets = leave_one_out(data).test
    run: dict[str, dict[str, float]] = {}
    for user in targets.users.tolist():
        chosen = rng.permutation(data.num_items)[: rng.integers(5, 20)] + 1
        scores = rng.permutation(100)[: len(chosen)]
        run[str(data.user_ids[user + 1])] = {
            str(data.item_ids[int(item)]): float(score) for item, score in zip(chosen, scores, strict=True)
        }
    rows = [(user, item, score) for user, own in run.items() for item, score in own.items()]
    found = ranks_of_lists(lists_of(rows), targets, "keep")
    qrel = {
        str(data.user_ids[user + 1]): {str(data.item_ids[item]): 1}
        for user, item in zip(targets.users.tolist(), targets.items.tolist(), strict=True)
    }
    judged = pytrec_eval.RelevanceEvaluator(qrel, {"ndcg_cut.5,10", "success.5,10"}).evaluate(run)
    for k in (5, 10):
        assert hit_rate(found.ranks, k) == pytest.approx(
            np.mean([one[f"success_{k}"] for one in judged.values()]), abs=1e-12
        )
        assert ndcg(found.ranks, k) == pytest.approx(
            np.mean([one[f"ndcg_cut_{k}"] for one in judged.values()]), abs=1e-12
        )


# One user: history 1 2, target 3; another: history 4 5, target 6.
TWO = sequences_of([[1, 2, 3], [4, 5, 6]], 9)


def judged(rows: Sequence[Row], ordering: Ordering = "rank", seen: Seen = "keep") -> ListedRanks:
    return ranks_of_lists(lists_of(rows, ordering), leave_one_out(TWO).test, seen)


def test_a_user_without_a_list_is_a_miss_and_counted() -> None:
    found = judged([(1, 3, 1)])
    assert found.ranks.tolist() == [1, MISS]
    assert found.facts.without_list == 1
    assert "1 target without a list: misses" in list(found.facts.notes("keep"))


def test_a_list_that_ends_early_is_a_miss_beyond_its_end() -> None:
    found = judged([(1, 3, 1), (2, 7, 1), (2, 8, 2)])
    assert (found.facts.short, found.facts.length, found.bounded_at(2)) == (1, 2, 0)
    found.check_cut(2, "theirs")
    with pytest.raises(
        EvaluationError, match=r"theirs: the lists end at place 2, and say nothing about metrics at 3"
    ):
        found.check_cut(3, "theirs")


def test_unknown_items_and_copies_take_their_places() -> None:
    found = judged([(1, 99, 1), (1, 8, 2), (1, 8, 3), (1, 3, 4), (1, 3, 5)])
    assert found.ranks.tolist() == [4, MISS]
    assert (found.facts.unknown_items, found.facts.first_unknown, found.facts.copies) == (1, 99, 2)


def test_ties_count_against_the_target() -> None:
    assert judged([(1, 3, 0.5), (1, 7, 0.5), (1, 8, 0.1)], "score").ranks.tolist()[0] == 2
    found = judged([(1, 3, 1), (1, 7, 1), (1, 8, 2)])
    assert (found.ranks.tolist()[0], found.facts.tied) == (2, 1)


@given(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=2))
def test_scores_that_rise_in_every_list_are_told(scores: list[list[int]]) -> None:
    """A note is needed because a distance mistaken for a score gives wrong metrics and looks the same."""
    rows = [
        (user, item, score) for user, found in enumerate(scores, 1) for item, score in enumerate(found, 1)
    ]
    if not rows:
        return
    steps = [np.diff(found) for found in scores]
    rising = [step for step in steps if (step > 0).any()]
    falls = any((step < 0).any() for step in steps)
    found = judged(rows, "score")
    assert found.facts.rising == (0 if falls else len(rising))
    assert any("rise from row to row" in note for note in found.facts.notes("keep")) == (
        found.facts.rising > 0
    )
    assert judged([(user, item, -score) for user, item, score in rows], "score").facts.rising == (
        len([step for step in steps if (step < 0).any()]) if not rising else 0
    )
    assert judged(rows[:1], "score").facts.rising == 0


def test_lists_that_hold_no_target_at_all_are_told() -> None:
    said = "no list contains its target: lists made from the whole log leave the targets out as seen"
    for rows, none in (([(1, 7, 1), (2, 8, 1)], True), ([(1, 7, 1), (1, 3, 2)], False)):
        found = judged(rows)
        assert any(note.startswith(said) for note in found.facts.notes("keep")) == none
        assert found.facts.found == (0 if none else 1)


def test_ranks_with_gaps_stand_as_written_and_may_count_from_0() -> None:
    found = judged([(1, 3, 17), (2, 6, 2)])
    assert found.ranks.tolist() == [17, 2]
    assert (found.facts.gaps, found.facts.length) == (2, 17)
    found = judged([(1, 7, 0), (1, 3, 1), (2, 6, 0)])
    assert found.ranks.tolist() == [2, 1]
    assert found.facts.from_zero


def test_under_f_lists_close_up_and_a_repeated_target_is_a_miss() -> None:
    rows = [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 4, 1), (2, 5, 2), (2, 7, 3)]
    assert judged(rows).ranks.tolist() == [3, MISS]
    found = judged(rows, seen="drop")
    assert found.ranks.tolist() == [1, MISS]
    assert (found.facts.seen, found.facts.bounded, found.bounded_at(1), found.bounded_at(2)) == (4, 1, 0, 1)
    assert found.best_case().tolist() == [1, 2]
    again = ranks_of_lists(
        lists_of([(1, 2, 1)], "rank"), leave_one_out(sequences_of([[1, 2, 2]], 3)).test, "drop"
    )
    assert again.ranks.tolist() == [MISS]
    assert again.facts.bounded == 0


def test_scores_of_whole_numbers_are_ordered_to_the_last_digit() -> None:
    big = 2**62
    lists = RecommendedLists(
        "lists", pa.array([1, 1]), pa.array([3, 7]), np.array([big, big + 1]), "score", {}, 0
    )
    assert ranks_of_lists(lists, leave_one_out(TWO).test, "keep").ranks.tolist()[0] == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("u1", 3, 1)], "none of its users is in the data: the first is 'u1', that of the data 1"),
        ([(1, "i3", 1)], "none of its items is in the data: the first is 'i3'"),
    ],
)
def test_lists_in_other_ids_are_refused(rows: list[Row], said: str) -> None:
    with pytest.raises(DataError, match=said):
        judged(rows)


def test_users_without_targets_are_counted() -> None:
    data = sequences_of([[1, 2, 3], [4, 5]], 9)
    targets = leave_one_out(data).test
    found = ranks_of_lists(lists_of([(1, 3, 1), (2, 4, 1), (7, 4, 1)], "rank"), targets, "keep")
    assert (found.facts.other_users, found.facts.unknown_users, found.facts.rows) == (1, 1, 1)
    with pytest.raises(DataError, match="none of its users has a target"):
        ranks_of_lists(lists_of([(2, 4, 1)], "rank"), targets, "keep")
    twice = Targets(data, np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(EvaluationError, match="several targets of a user"):
        ranks_of_lists(lists_of([(1, 3, 1)], "rank"), twice, "keep")
