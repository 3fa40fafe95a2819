from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data

from mclrec.data.examples import prefixes, sequences
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.losses.contrastive import ViewPairs, info_nce, regularizer_official
from mclrec.models.duorec import DuoRec, DuoRecConfig, SameTarget
from mclrec.models.phases import StepContext
from mclrec.nn.dropout import seed_dropout

DATA = tiny_data()


def model(**settings: Any) -> DuoRec:
    torch.manual_seed(0)
    small = {"hidden_size": 8, "inner_size": 16, "max_length": 6, "dropout": 0, "attention_dropout": 0}
    return DuoRec(DuoRecConfig.model_validate(small | settings), DATA.num_items)


@pytest.mark.parametrize("unit", ["prefixes", "sequences"])
def test_contrasts_are_between_the_versions_that_they_name(unit: str) -> None:
    for contrast, terms in {
        "crossed": {"cl": (1, 2)},
        "unsupervised": {"unsupervised": (0, 1)},
        "supervised": {"supervised": (0, 2)},
        "both": {"unsupervised": (0, 1), "supervised": (0, 2)},
    }.items():
        made = model(contrast=contrast, unit=unit, gamma=0.02)
        [phase] = made.phases()
        examples = phase.examples(DATA)
        batch = phase.collate(examples, np.arange(30), np.random.default_rng(0))
        versions = [made.encoder.encode(part.items, part.offsets) for part in (batch.histories, *batch.views)]
        losses = made.loss(batch, StepContext())
        assert losses.keys() == {"rec", *terms, *(f"reg of {name}" for name in terms)}
        for name, (one, other) in terms.items():
            torch.testing.assert_close(losses[name].mean, info_nce(versions[one], versions[other]))
            pairs = ViewPairs.of((versions[one], versions[other]), ((0, 1),))
            torch.testing.assert_close(losses[f"reg of {name}"].mean, regularizer_official(pairs)[0])
            assert losses[f"reg of {name}"].weight == 0.02


def test_both_passes_of_a_history_have_dropout_of_their_own() -> None:
    made = model(contrast="unsupervised", dropout=0.5).train()
    [phase] = made.phases()
    batch = phase.collate(phase.examples(DATA), np.arange(30), np.random.default_rng(0))
    seed_dropout(made, np.random.default_rng(0))
    states, (again, _) = made.states_with_views(batch)
    assert batch.views[0].items.tolist() == batch.histories.items.tolist()
    assert not torch.isclose(states, again).all(1).any()


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
        spans = examples.at(np.array([number]))
        user = int(spans.users[0])
        end = int(spans.ends[0] - data.offsets[user])
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
