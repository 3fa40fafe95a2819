"""Which interactions after a cutoff time are targets, and that nothing after it is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, by_time, by_time_quantiles, make_split, times_at
from mclrec.data.split_rules import SplitRule
from mclrec.data.target_choice import check_targets
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError

SPAN = 30


def random_log(seed: int, users: int = 12, items: int = 9) -> SequenceData:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, users)
    times = np.concatenate([np.sort(rng.integers(0, SPAN, length)) for length in lengths])
    return SequenceData(
        rng.integers(1, items + 1, lengths.sum()).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        Vocabulary(np.arange(1, items + 1)),
        Vocabulary(np.arange(1, users + 1)),
        times,
    )


def pairs(targets: Targets) -> list[tuple[int, int]]:
    return list(zip(targets.users.tolist(), targets.places.tolist(), strict=True))


def in_window(data: SequenceData, low: int, high: float) -> list[list[int]]:
    """Each user's places in [low, high) that have an earlier interaction, by a plain loop."""
    assert data.times is not None
    found = []
    for user in range(data.num_users):
        first, last = data.offsets[user], data.offsets[user + 1]
        found.append(
            [place for place in range(first, last) if low <= data.times[place] < high and place > first]
        )
    return found


def same_training(data: SequenceData, other: SequenceData) -> bool:
    return data.fingerprint == other.fingerprint and data.times_checksum == other.times_checksum


moments = st.lists(st.integers(1, SPAN - 1), min_size=2, max_size=3, unique=True).map(sorted)


@given(st.integers(0, 2**32 - 1), moments)
def test_choices_as_a_loop(seed: int, cuts: list[int]) -> None:
    data = random_log(seed)
    first, second, *rest = cuts
    until = rest[0] if rest else None
    try:
        splits = {
            choice: by_time(data, first, second, until, choice)
            for choice in ("first", "last", "all", "random")
        }
    except DataError as problem:
        assert "leaves nothing for" in str(problem)  # noqa: PT017 - random logs may have an empty part
        return
    for part, low, high in (("validation", first, second), ("test", second, until or np.inf)):
        windows = in_window(data, low, high)
        own = {choice: pairs(split.targets(part)) for choice, split in splits.items()}  # type: ignore[arg-type]
        assert own["first"] == [(user, places[0]) for user, places in enumerate(windows) if places]
        assert own["last"] == [(user, places[-1]) for user, places in enumerate(windows) if places]
        assert own["all"] == [(user, place) for user, places in enumerate(windows) for place in places]
        assert [user for user, _ in own["random"]] == [user for user, _ in own["first"]]
        assert set(own["random"]) <= set(own["all"])
    assert len({split.training.fingerprint for split in splits.values()}) == 1


@given(st.integers(0, 2**32 - 1), moments)
def test_nothing_after_a_cut_reaches_training_or_histories(seed: int, cuts: list[int]) -> None:
    """Changing rows after the test changes nothing; changing test rows changes neither training nor validation."""
    data = random_log(seed)
    first, second, *rest = cuts
    until = rest[0] if rest else SPAN
    assert data.times is not None
    rng = np.random.default_rng(seed + 1)

    def changed(since: int) -> SequenceData:
        assert data.times is not None
        later = np.flatnonzero(data.times >= since)
        items = data.items.copy()
        items[later] = rng.integers(1, data.num_items + 1, len(later))
        return replace(data, items=items)

    try:
        split = by_time(data, first, second, until, "all")
    except DataError:
        return
    after_test, after_validation = (
        by_time(changed(since), first, second, until, "all") for since in (until, second)
    )
    for other in (after_test, after_validation):
        assert same_training(split.training, other.training)
        assert split.training.popularity.tolist() == other.training.popularity.tolist()
        assert pairs(split.validation) == pairs(other.validation)
        assert split.validation.items.tolist() == other.validation.items.tolist()
    everyone = np.arange(len(split.test))
    assert split.test.items.tolist() == after_test.test.items.tolist()
    assert split.test.histories(everyone).tolist() == after_test.test.histories(everyone).tolist()
    assert data.times[split.test.places].max(initial=0) < until
    for row, user in enumerate(split.test.users.tolist()):
        before = np.arange(data.offsets[user], split.test.places[row])
        assert (data.times[before] <= data.times[split.test.places[row]]).all()


def test_random_targets_are_seeded_and_spread() -> None:
    data = random_log(3, users=400)
    draws = {name: pairs(by_time(data, 5, 10, None, name).test) for name in ("random", "random-2")}
    assert draws["random"] == pairs(by_time(data, 5, 10, None, "random-1").test)
    assert draws["random"] != draws["random-2"]
    whole = in_window(data, 10, np.inf)
    long = [(user, places) for user, places in enumerate(whole) if len(places) >= 3]
    chosen = dict(draws["random"])
    shares = np.bincount([min(places.index(chosen[user]), 2) for user, places in long], minlength=3) / len(
        long
    )
    assert shares[0] > 0.1
    assert shares[1] > 0.1
    assert by_time(data, 5, 10, 20, "random-2").name == "by-time(5, 10, until 20, random-2)"


def test_fractions_of_the_rows() -> None:
    data = random_log(0, users=100)
    assert data.times is not None
    ordered = np.sort(data.times)
    assert times_at(data, [0.0, 0.5]) == [int(ordered[0]), int(ordered[len(ordered) // 2])]
    assert pairs(by_time_quantiles(data, targets="last").test) == pairs(make_split(data, "time(last)").test)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time", "--split time"),
        ("time(last)", "--split time --targets last"),
        ("time(5, 9)", "--split time --valid-from 5 --test-from 9"),
        ("time(5, 9, all)", "--split time --valid-from 5 --test-from 9 --targets all"),
        ("time(5, 9, until 12)", "--split time --valid-from 5 --test-from 9 --test-until 12"),
        (
            "time(2024-01-01, 2024-02-01T12:00, until 1709251200, last)",
            "--split time --valid-from 2024-01-01 --test-from 2024-02-01T12:00 --test-until 1709251200 --targets last",
        ),
    ],
)
def test_rules_as_text_and_as_words(text: str, words: str) -> None:
    rule = SplitRule.of(text)
    assert str(rule) == text
    assert " ".join(rule.words()) == words
    assert SplitRule.of("time", rule.valid_from, rule.test_from, rule.test_until, rule.targets) == rule


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("leave-one-out", None, None, None, "last"), "leave-one-out has one target per user"),
        (("files", None, None, None, "all"), "files has one target per user"),
        (("time", None, None, None, "lst"), "last"),
        (("time", None, None, None, "random-x"), "whole number"),
        (("time", None, None, None, 3), "targets"),
        (("time", None, None, 9), "--test-until needs --valid-from and --test-from"),
        (("time", 1, 2, "soon"), "--test-until: 'soon' is not a moment"),
        (("time(1)",), "write time"),
        (("time(1, 2, 3)",), "write time"),
        (("time(until 3)",), "write time"),
        (("time(1, 2, until)",), "moment|write time"),
    ],
)
def test_what_is_no_rule(options: tuple[object, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SplitRule.of(*options)  # type: ignore[arg-type]


def test_a_test_that_ends_before_it_begins() -> None:
    with pytest.raises(DataError, match="the test must end after 10"):
        by_time(random_log(0), 5, 10, 10)
    with pytest.raises(ConfigError, match="first"):
        check_targets("frist")
