"""The co-occurrence model, against a loop over its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import sequences_of
from tests.runs.conftest import log_source

from mclrec.data.batches import Histories
from mclrec.data.near_items import near_items
from mclrec.data.packed import Packed
from mclrec.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from mclrec.models.storage import load_model
from mclrec.nn.co_occurrence import Nearness
from mclrec.runs.request import TrainRequest
from mclrec.runs.training_run import train

NUM_ITEMS = 6
ROWS = st.lists(st.lists(st.integers(1, NUM_ITEMS), min_size=1, max_size=9), min_size=1, max_size=8)


def fitted(rows: list[list[int]], max_length: int = 50) -> Cooccurrence:
    model = Cooccurrence(CooccurrenceConfig(max_length=max_length), NUM_ITEMS)
    model.on_fit_start(sequences_of(rows, NUM_ITEMS))
    return model


@given(
    ROWS,
    st.lists(st.integers(1, NUM_ITEMS), min_size=1, max_size=8),
    st.integers(1, 9),
    st.sampled_from([0.7, 0.8, 0.9, 1.0]),
)
def test_scores_are_those_of_a_loop(
    rows: list[list[int]], history: list[int], max_length: int, decay: float
) -> None:
    model = fitted(rows, max_length)
    model.co_occurrence.choose(Nearness(1.0, decay))
    near = near_items(sequences_of(rows, NUM_ITEMS))
    expected, read = np.zeros(NUM_ITEMS + 1), history[-max_length:]
    for distance, item in enumerate(reversed(read)):
        for other, similarity in zip(near.items[item], near.similarities[item], strict=True):
            if other not in read:
                expected[other] += decay**distance * similarity
    scores = model.scores(Histories.of(Packed.of([read])))[0].double().numpy()
    np.testing.assert_allclose(scores[1:], expected[1:], rtol=1e-5, atol=2e-9)


def test_items_that_come_near_none_are_ordered_by_popularity() -> None:
    model = fitted([[1, 2], [3, 4], [4, 5], [4, 5], [6, 6]])
    scores = model.scores(Histories.of(Packed.of([[1]])))[0]
    assert scores[1:].argsort(descending=True).add(1).tolist()[:3] == [2, 4, 5]
    assert scores[2] > 1e4 * scores[4] > 0


def test_validation_chooses_the_decay_of_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # The next item depends on the last item alone.
    chains = [np.roll(np.arange(1, 31), -int(start))[:8].tolist() for start in rng.integers(30, size=300)]
    log = tmp_path / "log.csv"
    log.write_text(
        "user,item,time\n"
        + "".join(
            f"{user},{item},{time}\n" for user, row in enumerate(chains) for time, item in enumerate(row)
        )
    )
    run = train(TrainRequest(log_source(log), "cooccurrence", out=tmp_path / "run"))
    assert run.record.near_items is not None
    assert run.metrics["F"]["NDCG@10"] > 0.9
    again = load_model(run.directory).model
    assert isinstance(again, Cooccurrence)
    assert again.co_occurrence.chosen == Nearness(**run.record.near_items.chosen)


@pytest.mark.parametrize("count", [1, 3])
def test_padded_histories_have_the_same_queries(count: int) -> None:
    model = fitted([[1, 2, 3]])
    packed = model.query_vectors(Histories.of(Packed.of([[1, 2]] * count)))
    padded = model.padded_query_vectors(torch.tensor([[1, 2]] * count), torch.tensor([2] * count))
    assert torch.equal(packed, padded)
