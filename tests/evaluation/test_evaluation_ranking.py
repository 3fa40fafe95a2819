from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.threads import Member, members, together
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.distributed.shards import sharded
from mclrec.errors import EvaluationError
from mclrec.evaluation import ranking
from mclrec.evaluation.metrics import MISS, per_user
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import evaluate, list_items, rank_targets, top_items
from mclrec.models.base import ModelConfig, Recommender, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase
from mclrec.models.sasrec import SASRec, SASRecConfig

CPU = torch.device("cpu")


def sequence_data(rows: Sequence[Sequence[int]], num_items: int) -> SequenceData:
    packed = Packed.of(rows)
    return SequenceData(
        packed.items.astype(np.int32),
        packed.offsets,
        Vocabulary([f"i{item}" for item in range(1, num_items + 1)]),
        Vocabulary([f"u{user}" for user in range(1, len(rows) + 1)]),
    )


class Scripted(Recommender):
    """Returns scores from a fixed table, one row per user, and records the histories that it was given."""

    max_length = 3
    config_type = ModelConfig

    def __init__(self, table: Tensor) -> None:
        super().__init__(ModelConfig(), table.shape[1] - 1)
        self.register_buffer("table", table)
        self.frozen = nn.Dropout().eval()
        self.seen: dict[int, list[int]] = {}
        self.batches: list[list[int]] = []

    def phases(self) -> Sequence[Phase]:
        return ()

    def scores(self, histories: Histories) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        packed = Packed(histories.items.numpy(), histories.offsets.numpy())
        self.seen |= dict(zip(histories.users.tolist(), packed.tolist(), strict=True))
        self.batches.append(packed.lengths.tolist())
        table = self.table
        assert isinstance(table, Tensor)
        return table[histories.users - 1]


def naive_rank(scores: list[float], target: int, history: list[int], seen: Seen) -> int:
    """Rank of the target behind every candidate that is not certainly below it."""
    if (seen == "drop" and target in history) or not scores[target] > -np.inf:
        return MISS  # no list holds it
    rank = 1
    for item in range(1, len(scores)):
        dropped = seen == "drop" and item in history
        if item != target and not dropped and not scores[item] < scores[target]:
            rank += 1
    return rank


@st.composite
def cases(draw: st.DrawFn) -> tuple[Targets, Tensor]:
    num_items = draw(st.integers(2, 7))
    rows = draw(st.lists(st.lists(st.integers(1, num_items), min_size=3, max_size=8), min_size=1, max_size=6))
    # Few values, so that ties are common; column 0 would win if it were a candidate.
    value = st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("nan"), float("inf"), -float("inf")])
    line = st.lists(value, min_size=num_items, max_size=num_items)
    table = [[9.0, *draw(line)] for _ in rows]
    return leave_one_out(sequence_data(rows, num_items)).test, torch.tensor(table)


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["keep", "drop"]), st.sampled_from([1, 2, 1024]))
def test_ranks_equal_naive_loop(case: tuple[Targets, Tensor], seen: Seen, batch_size: int) -> None:
    targets, table = case
    model = Scripted(table)
    ranks = rank_targets(model, targets, seen=seen, device=CPU, batch_size=batch_size)
    sequences = [targets.data.sequence(user).tolist() for user in targets.users]
    expected = [
        naive_rank(scores, row[-1], row[:-1], seen)
        for scores, row in zip(table.tolist(), sequences, strict=True)
    ]
    assert ranks.dtype == np.int64
    assert ranks.tolist() == expected
    assert model.seen == {user: row[:-1][-3:] for user, row in enumerate(sequences, start=1)}
    np.testing.assert_array_equal(model.table, table)  # the model's own scores are not modified


def listed(scores: list[float], history: list[int], k: int, seen: Seen, target: int) -> bool:
    """Whether a list of k items contains the target, with ties placed before the target."""
    candidates = [
        item
        for item in range(1, len(scores))
        if scores[item] > -np.inf and not (seen == "drop" and item in history)
    ]
    best = sorted(candidates, key=lambda item: (-scores[item], item == target))
    return target in best[:k]


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["keep", "drop"]), st.integers(1, 50))
def test_a_hit_is_what_a_list_holds(case: tuple[Targets, Tensor], seen: Seen, k: int) -> None:
    """Holds for lists longer than the catalogue too: an excluded item or one without a score is not a hit."""
    targets, table = case
    table = torch.where(table.isnan() & (torch.arange(table.shape[1]) != 0), -torch.inf, table)
    hits = per_user(rank_targets(Scripted(table), targets, seen=seen), "hr", k)
    sequences = [targets.data.sequence(user).tolist() for user in targets.users]
    assert hits.tolist() == [
        listed(scores, row[:-1], k, seen, row[-1])
        for scores, row in zip(table.tolist(), sequences, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["keep", "drop"]), st.integers(1, 7), st.sampled_from([1, 2, 1024]))
def test_lists_equal_sorting(case: tuple[Targets, Tensor], seen: Seen, k: int, batch_size: int) -> None:
    targets, table = case
    k = min(k, table.shape[1] - 1)
    done: list[int] = []
    lists = list_items(Scripted(table), targets, k, seen=seen, batch_size=batch_size, progress=done.append)
    for row, user in zip(lists.tolist(), targets.users.tolist(), strict=True):
        scores, history = table[user].tolist(), targets.data.sequence(user)[:-1].tolist()
        best = sorted(
            (item for item in range(1, len(scores)) if scores[item] > -np.inf), key=lambda i: (-scores[i], i)
        )
        kept = [item for item in best if seen == "keep" or item not in history]
        assert row == (kept + k * [0])[:k]
    assert sum(done) == len(targets)


def test_constant_scorer_gets_nothing() -> None:
    targets = leave_one_out(sequence_data([[1, 2, 3, 4], [5, 6, 7]], 9)).test
    assert rank_targets(Scripted(torch.zeros(2, 10)), targets, seen="keep").tolist() == [9, 9]


@pytest.mark.parametrize("seen", ["keep", "drop"])
@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_an_item_without_a_score_is_in_no_list(value: float, seen: Seen) -> None:
    targets = leave_one_out(sequence_data([[1, 2, 3, 4], [5, 6, 7]], 9)).test
    ranks = rank_targets(Scripted(torch.full((2, 10), value)), targets, seen=seen)
    assert per_user(ranks, "hr", 10**9 - 1).tolist() == [0, 0]


def test_constant_scorer_is_last_among_what_is_not_dropped() -> None:
    targets = leave_one_out(sequence_data([[1, 2, 2, 4], [5, 6, 5]], 9)).test
    assert rank_targets(Scripted(torch.zeros(2, 10)), targets, seen="drop").tolist() == [7, MISS]


def test_batches_hold_histories_of_like_length_and_report_progress() -> None:
    rows = [[1] * length for length in (4, 3, 9, 3, 4, 3)]
    model = Scripted(torch.zeros(6, 3))
    done: list[int] = []
    rank_targets(
        model, leave_one_out(sequence_data(rows, 2)).test, seen="keep", batch_size=2, progress=done.append
    )
    assert model.batches == [[2, 2], [2, 3], [3, 3]]
    assert done == [2, 2, 2]


def test_modes_are_restored_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = leave_one_out(sequence_data([[1, 2, 1]], 2)).test
    model = Scripted(torch.zeros(1, 3)).train()
    model.frozen.eval()
    rank_targets(model, targets, seen="keep")
    assert model.training
    assert not model.frozen.training
    monkeypatch.setattr(model, "num_items", 5)
    with pytest.raises(EvaluationError, match=r"\(1, 3\), not \(B, V \+ 1\) = \(1, 6\)"):
        rank_targets(model, targets, seen="keep")
    assert model.training


def test_scores_are_fp32_under_autocast() -> None:
    class Product(Scripted):
        def scores(self, histories: Histories) -> Tensor:
            return super().scores(histories) @ torch.eye(3)

    targets = leave_one_out(sequence_data([[1, 2, 1]], 2)).test
    close = torch.tensor([[0.0, 1.0001, 1.0]])  # equal in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert rank_targets(Product(close), targets, seen="keep").tolist() == [1]


def test_rows_per_chunk_stays_in_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SCORE_BYTES", 4000 * 100)
    assert ranking.rows_per_chunk(999) == 100
    assert ranking.rows_per_chunk(10**6) == 32
    assert ranking.rows_per_chunk(9) == 1024


@pytest.mark.parametrize("seen", ["keep", "drop"])
def test_chunks_do_not_change_ranks(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.integers(1, 51, size=length).tolist() for length in generator.integers(3, 9, size=100)]
    targets = leave_one_out(sequence_data(rows, 50)).test
    model = SASRec(SASRecConfig.model_validate({"max_length": 5, "hidden_size": 4, "inner_size": 4}), 50)
    whole = rank_targets(model, targets, seen=seen)
    monkeypatch.setattr(ranking, "SCORE_BYTES", 0)
    assert ranking.rows_per_chunk(50) == 32
    assert np.array_equal(rank_targets(model, targets, seen=seen), whole)


def test_evaluate_says_all_that_belongs_to_the_numbers() -> None:
    split = leave_one_out(sequence_data([[1, 2, 3, 4], [3, 4, 3]], 4))
    result = evaluate(
        Scripted(torch.tensor([[0.0, 1, 2, 3, 4]] * 2)), split, name="scripted", seen="keep", ks=(1, 2)
    )
    assert result.ranks.tolist() == [1, 2]
    assert result.metrics["HR@1"] == 0.5
    assert result.metrics["MRR@2"] == 0.75
    assert (result.protocol.label, result.protocol.part, result.protocol.split) == (
        "U",
        "test",
        "leave-one-out",
    )
    assert result.popularity.tolist() == split.training.popularity.tolist()
    validation = evaluate(Scripted(torch.zeros(2, 5)), split, name="scripted", part="validation", ks=(1,))
    assert validation.targets.items.tolist() == [3, 4]
    with pytest.raises(EvaluationError, match="4 items"):
        evaluate(Scripted(torch.zeros(2, 5)), split, name="scripted", ks=(5,))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_top_items_equals_sorting(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(1, 8))
    k = data.draw(st.integers(1, num_items))
    value = st.sampled_from([-2.0, -0.0, 0.0, 1.0, float("nan"), float("inf"), -float("inf")])
    line = st.lists(value, min_size=num_items, max_size=num_items)
    rows = data.draw(st.lists(line, min_size=1, max_size=4))
    seen = [data.draw(st.lists(st.integers(1, num_items), max_size=4)) for _ in rows]
    scores = torch.tensor([[9.0, *row] for row in rows])
    before = scores.clone()
    ids, values = top_items(scores, k, Packed.of(seen))
    for row, history, found, its in zip(rows, seen, ids.tolist(), values.tolist(), strict=True):
        usable = {
            item: score
            for item, score in enumerate(row, start=1)
            if item not in history and score > -float("inf")
        }
        best = sorted(usable, key=lambda item: (-usable[item], item))[:k]
        missing = k - len(best)
        assert found == best + [0] * missing
        assert its == [usable[item] for item in best] + [-float("inf")] * missing
    torch.testing.assert_close(scores, before, equal_nan=True)


def test_top_items_refuses_more_than_the_catalogue() -> None:
    assert top_items(torch.zeros(1, 4), 3)[0].tolist() == [[1, 2, 3]]
    with pytest.raises(EvaluationError, match="3 items"):
        top_items(torch.zeros(1, 4), 4)


class Vectors(VectorRecommender):
    """A model whose query is a fixed user vector; item vectors and biases may be sharded over processes."""

    config_type, max_length, supports_sharding = ModelConfig, 3, True
    item_tensors = ("table", "biases")

    def __init__(self, users: Tensor, table: Tensor, biases: Tensor) -> None:
        super().__init__(ModelConfig(), len(biases) - 1)
        first = self.shard.first
        self.register_buffer("users", users)
        self.register_buffer("table", table[first:][: self.shard.count(len(table))])
        self.register_buffer("biases", biases[first:][: self.shard.count(len(biases))])

    def phases(self) -> Sequence[Phase]:
        return ()

    def query_vectors(self, histories: Histories) -> Tensor:
        users = self.users
        assert isinstance(users, Tensor)
        return users[histories.users - 1]

    def items(self) -> ItemTable:
        table, biases = self.table, self.biases
        assert isinstance(table, Tensor)
        assert isinstance(biases, Tensor)
        return ItemTable(table, self.num_items, biases, self.shard)


def sharded_models(size: int) -> tuple[list[Member], list[Vectors], Vectors, Targets]:
    """A model sharded over `size` processes and the same model whole, with integer values so that ties occur."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 24, size=rng.integers(3, 8)).tolist() for _ in range(9)]
    generator = torch.Generator().manual_seed(0)
    users, table, biases = (
        torch.randint(-2, 3, shape, generator=generator).float() for shape in ((9, 3), (25, 3), (24,))
    )
    table[4], biases[7] = torch.nan, -torch.inf
    parts, group = [], members(size)
    for member in group:
        with sharded(member):
            parts.append(Vectors(users, table, biases))
    return group, parts, Vectors(users, table, biases), leave_one_out(sequence_data(rows, 23)).test


@pytest.mark.parametrize("size", [2, 3, 12])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("seen", ["keep", "drop"])
def test_ranks_of_sharded_items(
    seen: Seen, batch_size: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_MIN_ROWS", 2)
    monkeypatch.setattr(ranking, "SCORE_BYTES", 1)
    group, parts, whole, targets = sharded_models(size)
    expected = rank_targets(whole, targets, seen=seen)
    found = together(
        group,
        lambda member: rank_targets(
            parts[member.rank], targets, seen=seen, batch_size=batch_size, processes=member
        ),
    )
    assert [ranks.tolist() for ranks in found] == [expected.tolist()] * size
