"""An approximate index finds nearly the same items as exact search, and falls back to it for what it cannot answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mclrec.errors import ModelFileError
from mclrec.inference.exact_ranker import ExactRanker
from mclrec.inference.index import build_index, load_index
from mclrec.inference.queries import DenseQuery

RNG = np.random.default_rng(2)
CENTRES = RNG.normal(size=(30, 16))
NOTHING = np.empty(0, dtype=np.int64)


def near(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    chosen = CENTRES[RNG.integers(0, 30, count)]
    return (chosen + 0.4 * RNG.normal(size=chosen.shape)).astype(np.float32)


VECTORS, QUERIES = near(4001), near(60)
BIASES = RNG.normal(size=4001).astype(np.float32)


@pytest.mark.parametrize("biases", [None, BIASES], ids=["plain", "biased"])
def test_recall(tmp_path: Path, biases: np.ndarray[tuple[int], np.dtype[np.float32]] | None) -> None:
    exact = ExactRanker(VECTORS, biases)
    built = build_index(exact, QUERIES, tmp_path / "index")
    assert built["recall"] >= 0.99
    assert 1 <= built["probes"] < built["lists"]
    ranker = load_index(tmp_path / "index", exact, built["probes"])
    asked = [DenseQuery(NOTHING, 10, excluded=RNG.integers(1, 4001, 20)) for _ in QUERIES]
    hits = 0
    for found, wanted in zip(ranker.rank(QUERIES, asked), exact.rank(QUERIES, asked), strict=True):
        assert len(found.items) == 10
        hits += len(np.intersect1d(found.items, wanted.items))
        shared = {int(item): score for item, score in zip(wanted.items, wanted.scores, strict=True)}
        for item, score in zip(found.items.tolist(), found.scores, strict=True):
            assert score == pytest.approx(shared.get(item, score), abs=1e-4)
    assert hits / 600 >= 0.97


def test_what_it_leaves_to_exact_comparison(tmp_path: Path) -> None:
    exact = ExactRanker(VECTORS, BIASES)
    build_index(exact, QUERIES, tmp_path / "index")
    ranker = load_index(tmp_path / "index", exact, probes=1)  # finds few items
    asked = [
        DenseQuery(NOTHING, 900),
        DenseQuery(NOTHING, 3, allowed=np.array([5, 6, 7, 8])),
        DenseQuery(NOTHING, 2000),
        DenseQuery(NOTHING, 5, excluded=np.arange(1, 3990)),
    ]
    for found, wanted in zip(ranker.rank(QUERIES[:4], asked), exact.rank(QUERIES[:4], asked), strict=True):
        assert found.items.tolist() == wanted.items.tolist()
    assert ranker.rank(QUERIES[:0], []) == []


def test_an_index_over_other_items(tmp_path: Path) -> None:
    build_index(ExactRanker(VECTORS), QUERIES, tmp_path / "index")
    with pytest.raises(ModelFileError, match="holds 4000 items, the export 99"):
        load_index(tmp_path / "index", ExactRanker(VECTORS[:100]), 1)
    (tmp_path / "index").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="faiss cannot read it"):
        load_index(tmp_path / "index", ExactRanker(VECTORS), 1)
