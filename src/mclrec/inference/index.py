"""An approximate index over the items, for catalogues past about a million: faiss, inverted lists.

Items lie in lists by their nearest centroid, and a query looks into a few of the lists. The item's bias is one more
dimension of its vector, with 1 in the query. What an index cannot answer well, exact comparison does.
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
"""Name of its file in an export."""

KINDS = ("faiss",)

_ROUNDS = 10  # of k-means
_POINTS = 64  # items a centroid that k-means sees, at most
_FEWEST = 39  # with fewer, faiss warns that centroids mean little
_ENOUGH = 0.99  # recall at which no more lists are looked into
_WIDE = 1024  # places that an index is asked for at most


class IndexRanker:
    """Finds the best items by an index.

    Args:
        index: over the vectors of items 1..V with their biases.
        exact: for allow-lists, rules, what the history adds to, long lists, and where the index finds too few.
    """

    def __init__(self, index: faiss.Index, exact: ExactRanker) -> None:
        self._index, self._exact = index, exact

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Ask the index for candidates, and sort them; implements `Ranker.rank`."""
        wanted = [query.k + len(query.left_out) for query in queries]
        rows = [
            row for row, query in enumerate(queries) if wanted[row] <= _WIDE and not self._exact.alone(query)
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
    """Refuse an unknown kind of index.

    Raises:
        ConfigError: with the nearest name.
    """
    check_choice("index", kind, KINDS)


def build_index(exact: ExactRanker, queries: FloatArray, path: Path, k: int = 10) -> dict[str, Any]:
    """Write an index that looks into as many lists as the recall needs.

    Args:
        exact: the items.
        queries: (Q, d) a sample of query vectors, to measure the recall on.
        path: of the file.
        k: of the recall.

    Returns:
        Kind, number of lists, lists looked into, k, and the recall@k against exact comparison.

    Raises:
        ConfigError: faiss is not installed.
    """
    engine, k = _faiss(), min(k, exact.num_items)
    lists = max(1, min(int(4 * exact.num_items**0.5), exact.num_items // _FEWEST))
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
    """Map an index into memory.

    Args:
        path: of the file, whose checksum has been compared.
        exact: the items.
        probes: lists that a query looks into.
        threads: that faiss may use.

    Raises:
        ConfigError: faiss is not installed.
        ModelFileError: it is not an index over these items.
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
    """Share of the best items that were found."""
    hits = sum(len(np.intersect1d(row, ranked.items)) for row, ranked in zip(found, wanted, strict=True))
    return hits / max(1, sum(len(ranked.items) for ranked in wanted))
