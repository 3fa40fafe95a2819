import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.datasets import dataset
from mclrec.data.examples import Examples, interactions, prefixes, sequences, whole, windows
from mclrec.data.loading import load
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import Vocabulary

FOLDER = Path(os.environ.get("MCLREC_DATA", "nowhere"))
LOGS = st.lists(st.lists(st.integers(1, 30), max_size=9), min_size=1, max_size=6)


def make(rows: list[list[int]]) -> SequenceData:
    packed = Packed.of(rows)
    users = Vocabulary(range(len(rows)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, Vocabulary(range(30)), users)


def every(examples: Examples) -> IntArray:
    return np.arange(len(examples))


@given(LOGS, st.integers(1, 5))
def test_prefixes_are_every_item_after_what_came_before(rows: list[list[int]], max_length: int) -> None:
    examples = prefixes(make(rows), max_length)
    expected = [
        (user, row[max(0, t - max_length) : t], row[t])
        for user, row in enumerate(rows)
        for t in range(1, len(row))
    ]
    inputs, targets = examples.inputs(every(examples)).tolist(), examples.targets(every(examples)).tolist()
    assert list(zip(examples.at(every(examples)).users.tolist(), inputs, targets, strict=True)) == expected
    assert len(examples) == examples.num_targets == len(expected)


@given(LOGS, st.integers(1, 5))
def test_sequences_have_a_target_after_each_of_the_last_positions(
    rows: list[list[int]], max_length: int
) -> None:
    examples = sequences(make(rows), max_length)
    users = [user for user, row in enumerate(rows) if len(row) >= 2]
    spans = [rows[user][-max_length - 1 :] for user in users]
    assert examples.at(every(examples)).users.tolist() == users
    assert examples.inputs(every(examples)).tolist() == [span[:-1] for span in spans]
    targets = [item for span in spans for item in span[1:]]
    assert examples.targets(every(examples)).tolist() == targets
    assert examples.num_targets == len(targets)


@given(LOGS, st.integers(1, 5))
def test_windows_have_every_item_but_the_first_as_a_target_once(
    rows: list[list[int]], max_length: int
) -> None:
    examples = windows(make(rows), max_length)
    expected = []
    for user, row in enumerate(rows):
        ends = list(range(len(row) - 1, 0, -max_length))[::-1]
        expected += [(user, row[max(0, end - max_length) : end]) for end in ends]
    found = examples.inputs(every(examples)).tolist()
    assert list(zip(examples.at(every(examples)).users.tolist(), found, strict=True)) == expected
    assert examples.targets(every(examples)).tolist() == [item for row in rows for item in row[1:]]
    assert examples.num_targets == sum(max(len(row) - 1, 0) for row in rows)


@pytest.mark.parametrize("index", [prefixes, sequences, windows])
@given(rows=LOGS, choice=st.lists(st.integers(0, 999), max_size=6))
def test_any_rows_in_any_order(
    index: Callable[[SequenceData, int], Examples], rows: list[list[int]], choice: list[int]
) -> None:
    examples = index(make(rows), 3)
    chosen = np.array([c % len(examples) for c in choice] if len(examples) else [], dtype=np.int64)
    one_by_one = [np.array([row]) for row in chosen]
    inputs = examples.inputs(chosen)
    assert inputs.items.dtype == inputs.offsets.dtype == np.int64
    assert inputs.tolist() == [examples.inputs(row)[0].tolist() for row in one_by_one]
    assert examples.targets(chosen).tolist() == [t for row in one_by_one for t in examples.targets(row)]


@pytest.mark.parametrize(("name", "count"), [("beauty", 131_413), ("sports", 189_543), ("yelp", 225_061)])
def test_as_many_prefixes_as_the_official_code(name: str, count: int) -> None:
    if not (FOLDER / dataset(name).file).is_file():
        pytest.skip(f"MCLREC_DATA has no {dataset(name).file}")
    examples = prefixes(leave_one_out(load(name)).training, 50)
    assert len(examples) == count
    assert examples.at(every(examples)).lengths.max() == 50


@given(LOGS)
def test_interactions_are_every_item_after_nothing(rows: list[list[int]]) -> None:
    examples = interactions(make(rows))
    expected = [(user, item) for user, row in enumerate(rows) for item in row]
    targets = examples.targets(every(examples)).tolist()
    assert list(zip(examples.at(every(examples)).users.tolist(), targets, strict=True)) == expected
    assert not len(examples.inputs(every(examples)).items)


@given(LOGS, st.integers(1, 5))
def test_whole_histories_keep_nothing_back(rows: list[list[int]], max_length: int) -> None:
    examples = whole(make(rows), max_length)
    assert examples.inputs(every(examples)).tolist() == [row[-max_length:] for row in rows if row]
