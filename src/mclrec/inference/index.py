"""An approximate index over the items, for catalogues of more than about a million items: faiss, inverted lists.

Items are assigned to lists by nearest centroid, and a query probes a few of the lists. An item's bias is an additional
dimension of its vector, with 1 in the query. Queries that an index cannot answer well go to exact comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mclrec.arguments import check_choice
from mclrec.data.packed import IntArray
from mclrec.errors import ModelFileError
from mclrec.extras import require
from mclrec.inference.exact_ranker import ExactRanker
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.top_k import FloatArray, best_first

if TYPE_CHECKING:
    import faiss

__all__ = ["INDEX", "KINDS", "IndexRanker", "build_index", "check_kind", "load_index"]

INDEX = "index.faiss"
"""Name of the index file in an export."""

KINDS = ("faiss",)

_ROUNDS = 10  # of k-means
_POINTS = 64  # maximum training items per centroid for k-means
_LEAST_PER_CENTROID = 39  # minimum items per centroid: with fewer, faiss warns
_ENOUGH = 0.99  # recall at which no more lists are probed
_LONGEST_LIST = 1024  # maximum length of a list from the index


class IndexRanker:
    """Finds the best items using an index.

    Args:
        index: over the vectors of items 1..V with their biases.
        exact: answers queries with allow-lists, rules or additions due to the history, those for long lists, and those
            for which the index finds too few items.
    """

    def __init__(self, index: faiss.Index, exact: ExactRanker) -> None:
        self._index, self._exact = index, exact

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Get candidates from the index, and sort them; implements `Ranker.rank`."""
        wanted = [query.k + len(query.left_out) for query in queries]
        rows = [
            row
            for row, query in enumerate(queries)
            if wanted[row] <= _LONGEST_LIST and not self._exact.alone(query)
        ]
        lists: dict[int, Ranked] = {}
        if rows:
            width = min(max(wanted[row] for row in rows), self._exact.num_items)
            scores, places = self._index.search(_extended_queries(vectors[rows], self._exact), width)
            for row, values, found in zip(rows, scores, places, strict=True):
                query = queries[row]
                ranked = Ranked(*best_first(found + 1, values, query.left_out, query.k))
                if len(ranked.items) == query.k:
                    lists[row] = ranked
        left = [row for row in range(len(queries)) if row not in lists]
        if left:
            exact = self._exact.rank(vectors[left], [queries[row] for row in left])
            lists.update(zip(left, exact, strict=True))
        return [lists[row] for row in range(len(queries))]


def check_kind(kind: str) -> None:
    """Check that a kind of index exists.

    Raises:
        ConfigError: it does not; the message suggests the nearest name.
    """
    check_choice("index", kind, KINDS)


def build_index(exact: ExactRanker, queries: FloatArray, path: Path, k: int = 10) -> dict[str, Any]:
    """Write an index, and choose how many lists a query must probe for a recall of `_ENOUGH`.

    Args:
        exact: the items.
        queries: (Q, d) a sample of query vectors, to measure the recall on.
        path: of the file.
        k: of the recall.

    Returns:
        Kind, number of lists, number of lists probed, k, and the recall@k relative to exact comparison.

    Raises:
        ConfigError: faiss is not installed.
    """
    engine, k = _faiss(), min(k, exact.num_items)
    lists = max(1, min(int(4 * exact.num_items**0.5), exact.num_items // _LEAST_PER_CENTROID))
    vectors = np.ascontiguousarray(_extended(exact))
    index = engine.index_factory(vectors.shape[1], f"IVF{lists},Flat", engine.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.seed = _ROUNDS, _POINTS, 1
    index.train(vectors)
    index.add(vectors)
    none = np.empty(0, dtype=np.int64)
    wanted = exact.rank(queries, [DenseQuery(none, k)] * len(queries))
    extended, index.nprobe = _extended_queries(queries, exact), 1
    while (recall := _recall(index.search(extended, k)[1] + 1, wanted)) < _ENOUGH and index.nprobe < lists:
        index.nprobe = min(2 * index.nprobe, lists)
    engine.write_index(index, str(path))
    return {"kind": "faiss", "lists": lists, "probes": index.nprobe, "k": k, "recall": recall}


def load_index(path: Path, exact: ExactRanker, probes: int, threads: int = 1) -> IndexRanker:
    """Memory-map an index.

    Args:
        path: of the file, whose checksum has been verified.
        exact: the items.
        probes: number of lists that a query probes.
        threads: number that faiss may use.

    Raises:
        ConfigError: faiss is not installed.
        ModelFileError: the file is not an index over these items.
    """
    engine = _faiss()
    engine.omp_set_num_threads(threads)
    try:
        index = engine.read_index(str(path), engine.IO_FLAG_MMAP | engine.IO_FLAG_READ_ONLY)
    except RuntimeError as problem:
        raise ModelFileError(f"{path}: faiss cannot read it: {str(problem).splitlines()[-1]}") from None
    if index.ntotal != exact.num_items:
        raise ModelFileError(f"{path}: holds {index.ntotal} items, the export {exact.num_items}")
    index.nprobe = probes
    return IndexRanker(index, exact)


def _faiss() -> Any:
    require("an index")
    import faiss

    return faiss


def _extended(exact: ExactRanker) -> FloatArray:
    """(V, d) vectors of the items, or (V, d + 1) with their biases."""
    if exact.biases is None:
        return exact.vectors[1:]
    return np.concatenate([exact.vectors[1:], exact.biases[1:, None]], 1)


def _extended_queries(queries: FloatArray, exact: ExactRanker) -> FloatArray:
    """Query vectors that fit the items' extended vectors: (B, d), or (B, d + 1) with ones."""
    if exact.biases is None:
        return np.ascontiguousarray(queries)
    return np.concatenate([queries, np.ones((len(queries), 1), np.float32)], 1)


def _recall(found: IntArray, wanted: Sequence[Ranked]) -> float:
    """Recall: share of the exact best items that were found."""
    hits = sum(len(np.intersect1d(row, ranked.items)) for row, ranked in zip(found, wanted, strict=True))
    return hits / max(1, sum(len(ranked.items) for ranked in wanted))
