"""Engines by torch: any model of the registry, as it was saved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import LoadedModel
from mclrec.serving.engine import Engine, FloatArray
from mclrec.serving.engines import ScoringEngine, VectorEngine
from mclrec.serving.ranking import ExactRanker

__all__ = ["item_vectors", "torch_engine"]


def torch_engine(loaded: LoadedModel, device: str | torch.device = "cpu") -> Engine:
    """What answers by a loaded model.

    Args:
        loaded: a model on ``device``.
        device: where histories go. Items are compared in NumPy, on the host.
    """
    model, place = loaded.model, torch.device(device)
    if isinstance(model, VectorRecommender):
        exact = ExactRanker(*item_vectors(model))
        return VectorEngine(_calling(model.query_vectors, place), exact, loaded.counts, model.max_length)
    return ScoringEngine(_calling(model.scores, place), loaded.counts, model.max_length, loaded.name)


def item_vectors(model: VectorRecommender) -> tuple[FloatArray, FloatArray | None]:
    """The catalogue's vectors (V + 1, d) and biases (V + 1,), fp32 on the host."""
    table, rows = model.items(), model.num_items + 1
    return _array(table.weight[:rows]), None if table.bias is None else _array(table.bias[:rows])


def _calling(function: Callable[[Histories], Tensor], device: torch.device) -> Callable[[Packed], FloatArray]:
    @torch.inference_mode()
    def call(histories: Packed) -> FloatArray:
        return _array(function(Histories.of(histories).to(device)))

    return call


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return np.ascontiguousarray(array)
