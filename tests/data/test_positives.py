from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.examples import prefixes, sequences
from mclrec.data.packed import Packed
from mclrec.data.positives import SameTarget
from mclrec.data.sequences import SequenceData, Vocabulary


def make(rows: list[list[int]]) -> SequenceData:
    packed = Packed.of(rows)
    items, users = Vocabulary(range(9)), Vocabulary(range(len(rows)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, items, users)


@given(
    rows=st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=1, max_size=8),
    whole=st.booleans(),
)
def test_another_prefix_with_the_same_target(rows: list[list[int]], whole: bool) -> None:
    data, max_length = make(rows), 3
    examples = sequences(data, max_length) if whole else prefixes(data, max_length)
    chosen = np.arange(len(examples))
    found = SameTarget(max_length)(examples, chosen, np.random.default_rng(0)).tolist()
    every = [(row, end) for row in range(len(rows)) for end in range(1, len(rows[row]))]
    for number, history in enumerate(found):
        stretches = examples.at(np.array([number]))
        user = int(stretches.users[0])
        end = int(stretches.ends[0] - data.offsets[user])
        others = [
            rows[row][max(0, place - max_length) : place]
            for row, place in every
            if rows[row][place] == rows[user][end] and (row, place) != (user, end)
        ]
        assert history in (others or [rows[user][max(0, end - max_length) : end]])


def test_all_others_are_drawn_alike() -> None:
    data = make([[1, 9], [2, 9], [3, 9], [4, 9]])
    examples = prefixes(data, 5)
    drawer, rng = SameTarget(5), np.random.default_rng(0)
    drawn = [drawer(examples, np.array([1]), rng).items[0] for _ in range(600)]
    items, counts = np.unique(drawn, return_counts=True)
    assert items.tolist() == [1, 3, 4]
    assert counts.min() > 150
