"""Torch engines: any registered model as it was saved, on the CPU or on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.near_items import NearItems
from mclrec.data.packed import IntArray, Packed
from mclrec.evaluation.ranking import rows_per_chunk, top_items
from mclrec.inference.engine import Engine, Ranker, ScoringEngine, VectorEngine
from mclrec.inference.exact_ranker import ExactRanker
from mclrec.inference.history_gains import HistoryGains, NearGains
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.top_k import FloatArray
from mclrec.models.base import VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.storage import LoadedModel

__all__ = ["DeviceRanker", "history_gains", "item_vectors", "torch_engine"]


def torch_engine(loaded: LoadedModel, device: str | torch.device = "cpu") -> Engine:
    """Make the engine of a loaded model.

    Args:
        loaded: a model on ``device``.
        device: where histories are encoded and items ranked; on the CPU, NumPy ranks the items.
    """
    model, place = loaded.model, torch.device(device)
    if not isinstance(model, VectorRecommender):
        return ScoringEngine(_as_numpy_function(model.scores, place), loaded.counts, model.reads, loaded.name)
    exact = ExactRanker(*item_vectors(model), history_gains(model))
    ranker: Ranker = exact if place.type == "cpu" else DeviceRanker(model.items(), exact)
    return VectorEngine(
        _as_numpy_function(model.query_vectors, place), exact, loaded.counts, model.reads, ranker
    )


def item_vectors(model: VectorRecommender) -> tuple[FloatArray, FloatArray | None]:
    """The catalogue's vectors (V + 1, d) and biases (V + 1,), fp32 on the host."""
    table, rows = model.items(), model.num_items + 1
    return _array(table.weight[:rows]), None if table.bias is None else _array(table.bias[:rows])


def history_gains(model: VectorRecommender) -> HistoryGains:
    """Additions to scores due to the history, fp32 on the host."""
    repeats, counted = model.repeats, model.co_occurrence
    by_distance = None if repeats is None else _array(repeats.values()[: model.reads])
    whole = None if repeats is None or not any(repeats.chosen) else _array(repeats.calibrated)
    if counted is None:
        return HistoryGains(by_distance, whole)
    near = NearItems(counted.near.cpu().numpy(), _array(counted.similarities))
    return HistoryGains(by_distance, whole, NearGains(near, _array(counted.by_distance()[: model.reads])))


class DeviceRanker:
    """Compares query vectors with all items on the items' device, with the same order of ties as in NumPy.

    Args:
        table: the catalogue, on its device.
        exact: answers, on the host, queries with allow-lists, rules or additions due to the history.
    """

    def __init__(self, table: ItemTable, exact: ExactRanker) -> None:
        self._table, self._exact = table, exact

    @torch.inference_mode()
    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """Score and select on the device, in blocks of queries; implements `Ranker.rank`."""
        lists: dict[int, Ranked] = {}
        rows = [row for row, query in enumerate(queries) if not self._exact.alone(query)]
        device = self._table.weight.device
        size = rows_per_chunk(self._exact.num_items, device)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            asked = [queries[row] for row in some]
            scores = self._table.scores(torch.from_numpy(vectors[some]).to(device))
            left_out = Packed.of([query.left_out for query in asked])
            ids, values = top_items(scores, max(query.k for query in asked), left_out)
            for row, query, items, found in zip(
                some, asked, ids.cpu().numpy(), values.cpu().numpy(), strict=True
            ):
                count = min(query.k, int(np.count_nonzero(items)))
                lists[row] = Ranked(items[:count], found[:count])
        left = [row for row in range(len(queries)) if row not in lists]
        exact = self._exact.rank(vectors[left], [queries[row] for row in left])
        lists.update(zip(left, exact, strict=True))
        return [lists[row] for row in range(len(queries))]


def _as_numpy_function(
    function: Callable[[Histories], Tensor], device: torch.device
) -> Callable[[Packed, IntArray], FloatArray]:
    @torch.inference_mode()
    def call(histories: Packed, users: IntArray) -> FloatArray:
        return _array(function(Histories.of(histories, users).to(device)))

    return call


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return np.ascontiguousarray(array)
