"""Time a search for the weight of co-occurrence: with scores recomputed for each choice, and with scores kept.

Request: ``data`` (names), ``targets``, ``threads``, ``seed``. The model's weights are random; they hardly affect the
time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.ours.sources import open_split
from mclrec.data.packed import IntArray
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.reranking import Reranker
from mclrec.models.base import VectorRecommender
from mclrec.models.registry import model_class
from mclrec.nn.co_occurrence import CoOccurrence, Nearness
from mclrec.training.validation import drawn

__all__ = ["measure"]

_CUT = 10
_CHOICES = tuple(
    Nearness(weight, decay) for decay, weight in product((0.8, 0.9, 1.0), (0.25, 0.5, 1, 2, 4, 8, 16, 32))
)
_START = Nearness(4.0, 0.8)
_CPU = torch.device("cpu")


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    torch.set_num_threads(request["threads"])
    return {
        "seconds": {name: _of_data(name, request) for name in request["data"]},
        "versions": versions(["mclrec", "torch", "numpy"]),
    }


def _of_data(name: str, request: Request) -> dict[str, float]:
    """Seconds of the search on one data set, by the way in which ranks are computed."""
    split = open_split(name)
    torch.manual_seed(request["seed"])
    sasrec = model_class("sasrec")
    model = sasrec(
        sasrec.config_type.of_layers({"co_occurrence": _START.weight, "unit": "windows"}),
        split.data.num_items,
    )
    model.on_fit_start(split.training)
    part = model.co_occurrence
    assert isinstance(model, VectorRecommender)
    assert part is not None
    targets = drawn(split.validation, request["targets"], np.random.default_rng(request["seed"]))
    kept, seconds_kept = _search(
        part, lambda: Reranker(model, targets, part, seen="drop", cut=_CUT, device=_CPU).ranks
    )
    anew, seconds_anew = _search(part, lambda: partial(rank_targets, model, targets, seen="drop"))
    if any(
        ((one != other) & (np.minimum(one, other) <= _CUT)).any()
        for one, other in zip(kept, anew, strict=True)
    ):
        raise RuntimeError(f"{name}: the ranks differ")
    return {"kept": seconds_kept, "anew": seconds_anew}


def _search(
    part: CoOccurrence, ready: Callable[[], Callable[[], IntArray]]
) -> tuple[Sequence[IntArray], float]:
    """The ranks for each choice, and the seconds that the whole search took."""
    part.choose(_START)
    started, ranks = time.perf_counter(), []
    rank = ready()
    for chosen in _CHOICES:
        part.choose(chosen)
        ranks.append(rank())
    return ranks, time.perf_counter() - started


if __name__ == "__main__":
    answer(measure)
