"""Slices: each against a naive loop, and the invariants that they partition the targets and add up to the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.target_labels import TargetLabels
from mclrec.errors import EvaluationError
from mclrec.evaluation.metrics import MISS, Metric, by_user
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.slices import FEW, Slicing, label_slicing, measure_slices, slicings

NDCG, HR = Metric("ndcg", 10), Metric("hr", 10)
DAY = 86_400


class Case:
    """Random targets with their ranks; some users have several targets."""

    def __init__(self, seed: int, *, several: bool = True) -> None:
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 60))
        users = rng.integers(0, size, size) if several else np.arange(size)
        ranks = rng.integers(1, 20, size)
        ranks[rng.random(size) < 0.2] = MISS
        self.rng = rng
        self.table = RankTable(
            users=[f"user {user}" for user in users.tolist()],
            items=[f"item {item}" for item in rng.integers(1, 9, size).tolist()],
            ranks=ranks,
            history_lengths=rng.integers(1, int(rng.integers(2, 40)), size),
            in_history=rng.random(size) < 0.3,
            popularity=rng.integers(0, int(rng.integers(1, 9)), size),
            about={},
            gaps=rng.integers(0, 60, size) * int(rng.choice([0, 60, 3600, DAY])),
            user_counts=rng.integers(0, 3, size),
            units_per_second=None if rng.random() < 0.3 else 1,
        )
        values = rng.choice(["a", "b", *map(str, range(int(rng.integers(0, 20))))], size).tolist()
        labels = [None if rng.random() < 0.1 else value for value in values]
        self.labels = TargetLabels("country", tuple(labels), 0)

    @property
    def all(self) -> list[Slicing]:
        return [label_slicing(self.labels), *slicings(self.table)]


cases = st.builds(Case, st.integers(0, 2**32 - 1))


@given(cases)
def test_slices_partition_the_targets(case: Case) -> None:
    for slicing in case.all:
        assert len(set(slicing.names)) == len(slicing.names)
        rows = np.concatenate([part.rows for part in slicing.slices()])
        assert sorted(rows.tolist()) == list(range(len(case.table)))


@pytest.mark.slow
@given(cases)
def test_the_weighted_mean_of_slices_is_the_whole(case: Case) -> None:
    found = measure_slices(case.all, {"one": [case.table]}, [NDCG, HR])
    for slicing in case.all:
        for metric in (NDCG, HR):
            own = [value for value in found.values if (value.by, value.metric) == (slicing.key, str(metric))]
            assert sum(value.targets for value in own) == len(case.table)
            assert sum(value.share for value in own) == pytest.approx(1)
            whole = sum(value.targets * (value.mean or 0) for value in own) / len(case.table)
            assert whole == pytest.approx(metric.mean(case.table.ranks))


@given(cases)
def test_slices_as_a_loop(case: Case) -> None:
    table = case.table
    found = measure_slices(slicings(table), {"one": [table]}, [NDCG])
    gains = [1 / np.log2(rank + 1) if rank <= 10 else 0.0 for rank in table.ranks.tolist()]

    def expect(by: str, name: str, belongs: list[bool]) -> None:
        value = found.of(by, name)["one", "NDCG@10"]
        own = [gain for gain, here in zip(gains, belongs, strict=True) if here]
        assert value.targets == len(own)
        assert value.mean == (None if not own else pytest.approx(sum(own) / len(own)))

    assert table.user_counts is not None
    assert table.gaps is not None
    expect("repeat", "in the history", table.in_history.tolist())
    expect("repeat", "new to the user", [not one for one in table.in_history.tolist()])
    expect("item", "never in training", [count == 0 for count in table.popularity.tolist()])
    expect("popularity", "0", [count == 0 for count in table.popularity.tolist()])
    expect("user", "never in training", [count == 0 for count in table.user_counts.tolist()])
    if table.units_per_second == 1:
        gaps = table.gaps.tolist()
        expect("time", "same moment", [gap == 0 for gap in gaps])
        expect("time", "up to an hour", [0 < gap <= 3600 for gap in gaps])
        expect("time", "up to a week", [DAY < gap <= 7 * DAY for gap in gaps])
        expect("time", "over 30 days", [gap > 30 * DAY for gap in gaps])
    for slicing in slicings(table):
        for part in slicing.slices():
            if slicing.key == "history":
                low, _, high = part.name.partition("\N{EN DASH}")
                lengths = table.history_lengths.tolist()
                expect("history", part.name, [int(low) <= one <= int(high or low) for one in lengths])


@given(cases)
def test_labels_as_a_loop(case: Case) -> None:
    slicing = label_slicing(case.labels)
    values = [value for value in case.labels.values if value is not None]
    distinct = sorted(set(values), key=lambda value: (-values.count(value), value))
    kept = distinct if len(distinct) <= 11 else distinct[:10]
    for place, value in enumerate(case.labels.values):
        name = slicing.names[slicing.places[place]]
        assert name == ("no value" if value is None else value if value in kept else "other values")
    assert (slicing.note is None) == (len(kept) == len(distinct))


def test_values_that_are_called_like_the_rest() -> None:
    values = [
        *(f"{number:02}" for number in range(12)),
        "other values",
        "other values",
        "no value",
        "no value",
        None,
    ]
    slicing = label_slicing(TargetLabels("user", tuple(values), 2))
    assert slicing.names[:2] == ("no value", "other values")
    assert slicing.names[-2:] == ("(other values)", "(no value)")
    assert slicing.key == "column user"  # distinct from the key of the slicing by user
    assert slicing.note == (
        "14 values among the targets; the 4 rarest are '(other values)'; 2 targets are in several rows with "
        "different values: the first row is used"
    )


def test_groups_are_as_many_as_ties_allow() -> None:
    table = Case(0, several=False).table

    def groups(values: list[int]) -> dict[str, int]:
        size = len(values)
        of = replace(
            table,
            users=list(range(size)),
            items=[1] * size,
            ranks=np.ones(size, dtype=np.int64),
            history_lengths=np.array(values),
            in_history=np.zeros(size, dtype=np.bool_),
            popularity=np.ones(size, dtype=np.int64),
            gaps=None,
            user_counts=None,
        )
        return {part.name: len(part.rows) for part in slicings(of)[0].slices()}

    assert groups(np.repeat([4, 30, 38, 39], [2, 2, 2, 10]).tolist()) == {"4\u201330": 4, "38\u201339": 12}
    assert list(groups(list(range(100))).values()) == [25, 25, 24, 26]
    assert groups([7] * 5) == {"7": 5}


def test_empty_and_tiny_slices_are_said() -> None:
    case = Case(1, several=False)
    size = len(case.table)
    table = replace(
        case.table, in_history=np.zeros(size, dtype=np.bool_), user_counts=np.ones(size, dtype=np.int64)
    )
    found = measure_slices(slicings(table), {"one": [table]}, [NDCG])
    empty = found.of("user", "never in training")["one", "NDCG@10"]
    assert (empty.targets, empty.mean, empty.low, empty.text) == (0, None, None, "none")
    assert any(note.startswith(f"* fewer than {FEW} targets") for note in found.notes)
    single = Slicing("by", "by", ("first", "rest"), np.minimum(np.arange(size), 1))
    alone = measure_slices([single], {"one": [table]}, [NDCG]).of("by", "first")["one", "NDCG@10"]
    assert (alone.targets, alone.low, alone.high) == (1, None, None)
    assert alone.few


def test_intervals_hold_the_mean_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(0)
    size = 400
    table = replace(
        Case(2, several=False).table,
        users=list(range(size)),
        items=[1] * size,
        ranks=rng.integers(1, 30, size),
        history_lengths=rng.integers(1, 9, size),
        in_history=rng.random(size) < 0.5,
        popularity=np.ones(size, dtype=np.int64),
        gaps=None,
        user_counts=None,
    )
    again = replace(table, ranks=rng.integers(1, 30, size))
    found = measure_slices(slicings(table), {"two": [table, again]}, [HR])
    value = found.of("repeat", "in the history")["two", "HR@10"]
    rows = np.flatnonzero(table.in_history)
    expected = (HR.mean(table.ranks[rows]) + HR.mean(again.ranks[rows])) / 2
    assert value.mean == pytest.approx(expected)
    assert value.low is not None
    assert value.high is not None
    assert value.low < expected < value.high


def test_a_data_frame_has_a_row_a_slice_system_and_metric() -> None:
    case = Case(3)
    found = measure_slices(slicings(case.table), {"one": [case.table], "two": [case.table]}, [NDCG, HR])
    frame = found.to_arrow()
    assert frame.num_rows == sum(len(slicing.names) for slicing in slicings(case.table)) * 4
    assert frame.column_names == [
        "by",
        "slice",
        "targets",
        "share",
        "system",
        "metric",
        "mean",
        "low",
        "high",
    ]
    assert frame["mean"].null_count == sum(value.mean is None for value in found.values)
    assert len(found.to_json()["values"]) == frame.num_rows


def test_systems_of_other_targets_are_refused() -> None:
    one, other = Case(4).table, Case(5).table
    with pytest.raises(EvaluationError, match="rank the same targets"):
        measure_slices(slicings(one), {"one": [one], "other": [other]}, [NDCG])
    size = len(one)
    with pytest.raises(EvaluationError, match="a slicing does not cover the"):
        measure_slices(
            [Slicing("a", "a", ("b",), np.zeros(size + 1, dtype=np.int64))], {"one": [one]}, [NDCG]
        )


@given(cases)
def test_values_a_user_have_the_mean_of_the_targets(case: Case) -> None:
    values = case.table.values(NDCG)
    assert len(values) == len(set(case.table.users))
    assert values.mean() == pytest.approx(NDCG.mean(case.table.ranks))


def test_one_target_a_user_keeps_its_values_bit_for_bit() -> None:
    values = np.random.default_rng(0).random(50)
    assert by_user(values, np.arange(50)) is values


def test_values_a_user_vary_as_the_mean_does_when_users_are_drawn() -> None:
    """Compared with a naive bootstrap, which draws users with all their targets and averages over those targets."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(300), rng.integers(1, 12, 300))
    values = (rng.random(300)[users] + rng.random(len(users))) / 2
    of_users = [values[users == user] for user in range(300)]
    means = [
        np.concatenate([of_users[user] for user in rng.integers(0, 300, 300)]).mean() for _ in range(2000)
    ]
    linear = by_user(values, users)
    drawn = linear[rng.integers(0, 300, (2000, 300))].mean(axis=1)
    assert np.std(drawn) == pytest.approx(np.std(means), rel=0.08)
    assert np.std(drawn) > 1.2 * values.std() / np.sqrt(len(values))  # targets of a user are correlated
