"""The order probe finds sequential order in a log that has it, not in a shuffled one, reproducibly for a seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import sequences_of, tiny_data

from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.runs import order_probe
from mclrec.runs.order_probe import OrderProbe, probe_order, shuffled_histories


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_probe, "_EPOCHS", (2, 2))


@given(st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=8), st.integers(0, 99))
def test_shuffling_keeps_items_and_what_comes_after(rows: list[list[int]], seed: int) -> None:
    data = sequences_of(rows, 9)
    lengths = np.maximum(data.lengths - 2, 0)
    found = shuffled_histories(data, lengths, np.random.default_rng(seed))
    for user, row in enumerate(rows):
        after = found.sequence(user).tolist()
        length = int(lengths[user])
        assert Counter(after[:length]) == Counter(row[:length])
        assert after[length:] == row[length:]


def test_both_logs_have_the_same_targets_and_nothing_of_the_test() -> None:
    data = tiny_data()
    arms = order_probe._arms(data, 1)
    expected = leave_one_out(data)
    for arm, split in arms.items():
        assert split.test.items.tolist() == expected.validation.items.tolist(), arm
        assert not len(split.validation)
        assert split.training.popularity.tolist() == expected.training.popularity.tolist()
        histories = split.test.histories(np.arange(len(split.test)))
        training = [split.training.sequence(user).tolist() for user in split.test.users.tolist()]
        assert histories.tolist() == training
    assert arms["shuffled"].training.items.tolist() != arms["in order"].training.items.tolist()


def at_random(data: SequenceData, seed: int) -> SequenceData:
    return shuffled_histories(data, data.lengths, np.random.default_rng(seed))


def probe(data: SequenceData, seed: int = 1) -> OrderProbe:
    return probe_order(data, seed=seed)


def test_order_is_found_where_it_is_and_only_there(quick: None) -> None:
    data = tiny_data(users=150, items=30, shortest=8)
    found = probe(data).effect
    markov = next(system for system in found.systems if system.name == "markov")
    assert markov.difference > 0.2
    assert markov.p < 0.05
    assert found.verdict.startswith("Order matters on this log")
    none = probe(at_random(data, 5)).effect
    assert "cannot be shown" in none.verdict
    assert all(system.p > 0.05 for system in none.systems)


def test_the_seed_decides_everything(quick: None) -> None:
    data = tiny_data(users=60)
    one = probe(data, 3)
    assert one.to_json() == probe(data, 3).to_json()
    assert one.to_json() != probe(data, 4).to_json()


def test_of_a_long_log_some_users_are_taken_and_told(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_data(users=200)
    monkeypatch.setattr(order_probe, "_MOST_ROWS", 300)
    part = order_probe._some_users(data, 1)
    assert 300 <= part.num_interactions <= 312
    ids = [part.user_ids[user + 1] for user in range(part.num_users)]
    for user, name in enumerate(ids):
        own = [part.item_ids[int(item)] for item in part.sequence(user)]
        place = data.user_ids.dense(name) - 1
        assert own == [data.item_ids[int(item)] for item in data.sequence(place)]
    found = probe(data)
    assert (found.rows, found.of_rows) == (part.num_interactions, data.num_interactions)
    assert f"of users drawn at random from all {data.num_interactions:,}" in found.notes[0]


def test_progress_and_plan(quick: None) -> None:
    lines: list[str] = []
    calls: list[tuple[int, int]] = []
    probe_order(tiny_data(), planned=lines.append, progress=lambda done, total: calls.append((done, total)))
    assert lines[0].startswith("SASRec is trained twice, in order and shuffled, for 2 epochs of ")
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))


def test_epochs_depend_on_the_number_of_rows_alone() -> None:
    data = tiny_data(users=60)
    split = order_probe._arms(data, 1)["in order"]
    assert order_probe._recipe(split, 0.0).training.epochs == order_probe._EPOCHS[1]
    many = replace(split, training=tiny_data(users=300, shortest=100, longest=400))
    rows = many.training.num_interactions
    assert order_probe._recipe(many, 0.0).training.epochs == round(order_probe._BUDGET / rows)
