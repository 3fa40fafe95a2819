import os
from pathlib import Path

import numpy as np
import pytest

from mclrec.data.datasets import dataset
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.data.statistics import table2, table5
from mclrec.data.vocabulary import Vocabulary

FOLDER = Path(os.environ.get("MCLREC_DATA") or Path(__file__).parents[3] / "shared" / "data")


def test_small_table() -> None:
    lengths = [5, 6, 8, 9, 4]
    items = [user + 1 if place else 6 for user, length in enumerate(lengths) for place in range(length)]
    data = SequenceData(
        np.array(items, dtype=np.int32),
        np.cumsum([0, *lengths]),
        Vocabulary(range(1, 7)),
        Vocabulary(range(1, 6)),
    )
    row = table2(data)
    assert (row.users, row.items, row.distinct_items, row.actions, row.average_length) == (5, 6, 6, 32, 6.4)
    assert row.sparsity == pytest.approx(1 - 32 / 30)
    assert [(r.name, r.users, r.items, r.distinct_items, r.actions) for r in table5(data)] == [
        ("=5", 1, 6, 2, 5),
        ("6-8", 2, 6, 3, 14),
        (">8", 1, 6, 2, 9),
    ]


def test_empty_group() -> None:
    data = SequenceData(np.array([1, 1], dtype=np.int32), np.array([0, 2]), Vocabulary([1]), Vocabulary([1]))
    assert [(row.users, row.items, row.average_length, row.sparsity) for row in table5(data)] == [
        (0, 0, 0.0, 1.0)
    ] * 3


PAPER = {
    "sports": [
        (11416, 18357, 57080, "99.97%"),
        (14209, 18357, 95564, "99.96%"),
        (9973, 18357, 143693, "99.92%"),
    ],
    "yelp": [
        (8076, 20032, 40380, "99.98%"),
        (11109, 20030, 75082, "99.97%"),
        (11246, 20033, 200892, "99.91%"),
    ],
}
# The paper prints 8.8 for Beauty, truncated rather than rounded.
TABLE2 = {"sports": ("8.3", "99.95%"), "beauty": ("8.9", "99.93%"), "yelp": ("10.4", "99.95%")}


@pytest.mark.parametrize("name", ["beauty", "sports", "yelp"])
def test_the_papers_tables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (FOLDER / dataset(name).file).exists():
        pytest.skip(f"no {dataset(name).file} in MCLREC_DATA")
    monkeypatch.setenv("MCLREC_DATA", str(FOLDER))
    data, known = load(name), dataset(name)
    row = table2(data)
    assert (row.users, row.items, row.actions) == (known.users, known.items, known.interactions)
    assert (f"{row.average_length:.1f}", f"{row.sparsity:.2%}") == TABLE2[name]
    assert list(data.item_ids) == list(range(1, row.items + 1))
    assert min(data.lengths.min(), data.popularity[1:].min()) >= 5  # so that a 5-core changes nothing
    if name in PAPER:
        found = [(row.users, row.items, row.actions, f"{row.sparsity:.2%}") for row in table5(data)]
        assert found == PAPER[name]
