from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, Targets, by_time, by_time_quantiles, leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError


def make(times: list[list[int]]) -> SequenceData:
    """Data in which each interaction has its own item, so that items identify places."""
    packed = Packed.of([sorted(row) for row in times])
    count = len(packed.items)
    return SequenceData(
        items=np.arange(1, count + 1, dtype=np.int32),
        offsets=packed.offsets,
        item_ids=Vocabulary(range(1, count + 1)),
        user_ids=Vocabulary(range(1, len(times) + 1)),
        times=packed.items,
    )


def check(split: Split) -> None:
    """Invariants of every split: nothing held out is trained on, histories end right before their targets."""
    data, trained = split.data, set(split.training.items.tolist())
    assert split.training.num_users == data.num_users
    for targets in (split.validation, split.test):
        assert trained.isdisjoint(targets.items.tolist())
        assert len(np.unique(targets.users)) == len(targets)
        histories = targets.histories(np.arange(len(targets)))
        for row, (user, place) in enumerate(zip(targets.users, targets.places, strict=True)):
            expected = data.items[data.offsets[user] : place].tolist()
            assert expected
            assert histories[row].tolist() == expected
            assert targets.histories(np.array([row]), max_length=2)[0].tolist() == expected[-2:]


LOGS = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=8), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(times=LOGS)
def test_leave_one_out(times: list[list[int]]) -> None:
    data = make(times)
    if max(map(len, times)) < 3:
        with pytest.raises(DataError, match="no user has 3 interactions"):
            leave_one_out(data)
        return
    split = leave_one_out(data)
    check(split)
    for user, row in enumerate(times):
        held = user in split.test.users.tolist()
        assert held == (len(row) >= 3)
        assert len(split.training.sequence(user)) == len(row) - 2 * held
    assert split.test.places.tolist() == [place + 1 for place in split.validation.places.tolist()]


def naive_targets(times: list[list[int]], begin: int, end: int) -> list[tuple[int, int]]:
    """Each user's first interaction in [begin, end) that has a history, as (user, place in the sequence)."""
    found = []
    for user, row in enumerate(times):
        places = [place for place, time in enumerate(sorted(row)) if begin <= time < end and place > 0]
        if places:
            found.append((user, places[0]))
    return found


def pairs(targets: Targets) -> list[tuple[int, int]]:
    return [
        (int(u), int(p - targets.data.offsets[u])) for u, p in zip(targets.users, targets.places, strict=True)
    ]


@settings(max_examples=100, deadline=None)
@given(times=LOGS, first=st.integers(0, 20), gap=st.integers(1, 10))
def test_by_time_equals_naive_loops(times: list[list[int]], first: int, gap: int) -> None:
    data, second = make(times), first + gap
    training = [[time for time in sorted(row) if time < first] for row in times]
    validation, test = naive_targets(times, first, second), naive_targets(times, second, 10**9)
    if not (any(training) and validation and test):
        with pytest.raises(DataError, match="leaves nothing for"):
            by_time(data, first, second)
        return
    split = by_time(data, first, second)
    check(split)
    assert pairs(split.validation) == validation
    assert pairs(split.test) == test
    assert split.training.times is not None
    assert [split.training.times[a:b].tolist() for a, b in pairwise(split.training.offsets)] == training


def test_by_time_says_what_is_wrong() -> None:
    data = make([[1, 5, 9], [2, 6]])
    with pytest.raises(DataError, match="validation must begin before the test, not at 6 and 6"):
        by_time(data, 6, 6)
    with pytest.raises(DataError, match="leaves nothing for test; times are 1 to 9"):
        by_time(data, 5, 10)
    timeless = SequenceData(data.items, data.offsets, data.item_ids, data.user_ids)
    with pytest.raises(DataError, match="has no times"):
        by_time(timeless, 1, 2)


def test_a_part_that_is_none_is_not_taken_for_the_test() -> None:
    with pytest.raises(ConfigError, match="'validation'"):
        leave_one_out(make([[1, 2, 3]])).targets("valid")  # type: ignore[arg-type]


def test_quantiles_count_rows() -> None:
    big = 1_700_000_000_000_000_000  # nanoseconds, beyond what a float holds
    data = make([[big + time for time in range(user, 100, 2)] for user in (0, 1)])
    split = by_time_quantiles(data, 0.7, 0.9)
    check(split)
    assert split.name == f"by-time({big + 70}, {big + 90})"
    assert split.training.num_interactions == 70
    with pytest.raises(DataError, match="fractions must satisfy"):
        by_time_quantiles(data, 0.9, 0.8)
    with pytest.raises(
        DataError, match=r"80% and 90% of all rows lie before the same moment, 3, .*--valid-from"
    ):
        by_time_quantiles(make([[1, 2, 3, 3, 3, 3], [1, 3]]))
