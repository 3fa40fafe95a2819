from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tests.helpers import sequences_of

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.evaluation.ranking import top_items
from mclrec.models.base import Recommender
from mclrec.models.registry import model_class
from mclrec.models.trivial import (
    Frequency,
    FrequencyConfig,
    Markov,
    MarkovConfig,
    Popularity,
    PopularityConfig,
    Recency,
    RecencyConfig,
)

NUM_ITEMS = 6
sequences = st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=7), min_size=1, max_size=8)


def order(model: Recommender, history: Sequence[int]) -> list[int]:
    """All items, best first."""
    scores = model.scores(Histories.of(Packed.of([history])))
    return [int(item) for item in top_items(scores, NUM_ITEMS)[0][0]]


def popularity(rows: Sequence[Sequence[int]], item: int) -> int:
    return sum(value == item for row in rows for value in row)


@settings(max_examples=30, deadline=None)
@given(sequences, st.lists(st.integers(1, NUM_ITEMS), max_size=5))
def test_popularity(rows: list[list[int]], history: list[int]) -> None:
    model = Popularity(PopularityConfig(), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    scores = model.scores(Histories.of(Packed.of([history, []])))
    assert scores.dtype == torch.float32
    assert scores[:, 1:].tolist() == [[popularity(rows, item) for item in range(1, NUM_ITEMS + 1)]] * 2


@settings(max_examples=30, deadline=None)
@given(sequences, st.lists(st.integers(1, NUM_ITEMS), max_size=8), st.integers(1, 4))
def test_recency(rows: list[list[int]], history: list[int], max_length: int) -> None:
    model = Recency(RecencyConfig(max_length=max_length), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    own = list(dict.fromkeys(history[::-1][:max_length]))
    others = [item for item in range(1, NUM_ITEMS + 1) if item not in own]
    assert order(model, history) == own + sorted(others, key=lambda item: (-popularity(rows, item), item))


@settings(max_examples=50, deadline=None)
@given(sequences, st.lists(st.integers(1, NUM_ITEMS), max_size=9), st.sampled_from([1, 3, 5, 2000]))
def test_frequency(rows: list[list[int]], history: list[int], max_length: int) -> None:
    model = Frequency(FrequencyConfig(max_length=max_length), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    newest = history[::-1][:max_length]
    own = sorted(set(newest), key=lambda item: (-newest.count(item), newest.index(item)))
    others = [item for item in range(1, NUM_ITEMS + 1) if item not in own]
    batch = Histories.of(Packed.of([[3, 3], history, []]))  # other rows must not leak into this one
    ranked = [int(item) for item in top_items(model.scores(batch), NUM_ITEMS)[0][1]]
    assert ranked == own + sorted(others, key=lambda item: (-popularity(rows, item), item))


def test_scores_of_the_longest_history_stay_apart() -> None:
    """In the longest history allowed, items of equal counts at adjacent places still differ by exactly 1 in fp32."""
    model = Frequency(FrequencyConfig(max_length=2000), NUM_ITEMS)
    model.on_fit_start(sequences_of([[1, 1, 2, 3]], NUM_ITEMS))
    scores = model.scores(Histories.of(Packed.of([[1] * 999 + [2] * 1000 + [1]])))[0]
    assert (scores[1] - scores[2]).item() == 1
    assert scores[2] > scores[3]


@settings(max_examples=50, deadline=None)
@given(sequences, st.lists(st.integers(1, NUM_ITEMS), max_size=5), st.integers(1, 3))
def test_markov(rows: list[list[int]], history: list[int], window: int) -> None:
    model = Markov(MarkovConfig(window=window), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))

    def votes(item: int) -> int:
        return sum(
            (before, after) == (voter, item)
            for voter in history[-window:]
            for row in rows
            for before, after in pairwise(row)
        )

    most = max(popularity(rows, item) for item in range(1, NUM_ITEMS + 1)) or 1
    expected = [votes(item) + popularity(rows, item) / (2 * most) for item in range(1, NUM_ITEMS + 1)]
    batch = Histories.of(Packed.of([[3], history, []]))  # other rows must not leak into this one
    scores = model.scores(batch)
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores[1, 1:], expected, rtol=1e-6)


def test_tie_breaks_never_reach_the_next_count() -> None:
    model = Markov(MarkovConfig(), 3)
    model.popularity.copy_(torch.tensor([0, 2**40, 2**40 - 1, 1]))
    ties = model.tie_breaks()
    assert float(ties.max()) == 0.5
    count = torch.tensor(2.0**22 - 2)
    assert bool((count + ties[1] < count + 1 + ties[3]).all())


@pytest.mark.parametrize("name", ["popularity", "recency", "frequency", "markov"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    kind = model_class(name)
    model = kind(kind.config_type(), NUM_ITEMS)
    assert model.phases() == ()
    assert list(model.parameters()) == []
    histories = Histories.of(Packed.of([[1, 2], [4], []]))
    empty = model.scores(histories)  # untrained: all items tie except the user's own; no error
    assert torch.isfinite(empty).all()
    model.on_fit_start(sequences_of([[1, 2, 3, 1, 2, 4], [4, 4, 5], [6]], NUM_ITEMS))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = kind(kind.config_type(), NUM_ITEMS)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    torch.testing.assert_close(loaded.scores(histories), model.scores(histories), rtol=0, atol=0)
    assert not torch.equal(loaded.scores(histories), empty)
    assert loaded.state_dict().keys() == model.state_dict().keys()


def test_loading_checks_what_is_stored() -> None:
    model = Markov(MarkovConfig(), NUM_ITEMS)
    state = model.state_dict()
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict({key: value for key, value in state.items() if key != "counts"})
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(Markov(MarkovConfig(), NUM_ITEMS + 1).state_dict())


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        MarkovConfig(window=0)
    with pytest.raises(ValidationError):
        RecencyConfig(max_length=0)
    with pytest.raises(ValidationError):
        FrequencyConfig(max_length=2001)
