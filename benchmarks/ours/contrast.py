"""Time the contrast of all states, forward and backward: by whole rows and by parts without most zeros, in turns.

Request: ``data`` (names), ``batch_size``, ``hidden_size``, ``max_length``, ``batches``, ``seed``. The states are
random; the time depends only on the lengths of the histories.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.ours.sources import open_split
from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.losses.contrastive import info_nce_of
from mclrec.models.all_states import contrast_of_all_states
from mclrec.models.phases import StepContext

__all__ = ["measure"]

_WAYS = {"whole": StepContext(alone=False), "parts": StepContext()}
_WARM_UP = 2


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    torch.manual_seed(request["seed"])
    return {
        "seconds": {name: _of_data(name, request) for name in request["data"]},
        "versions": versions(["mclrec", "torch", "numpy"]),
    }


def _of_data(name: str, request: Request) -> dict[str, list[float]]:
    """Seconds of each batch, for each way to contrast it; both ways get the same batches."""
    training, rng = open_split(name).training, np.random.default_rng(request["seed"])
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    for number in range(request["batches"] + _WARM_UP):
        users = rng.choice(len(training.lengths), request["batch_size"], replace=False)
        lengths = np.minimum(training.lengths[users], request["max_length"])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        view = Histories.of(Packed(np.zeros(offsets[-1], dtype=np.int64), offsets))
        states = [torch.randn(int(offsets[-1]), request["hidden_size"], requires_grad=True) for _ in range(2)]
        for way, context in _WAYS.items():
            started = time.perf_counter()
            pairs = contrast_of_all_states(states, (view, view), request["max_length"], context)
            info_nce_of(pairs).sum().backward()
            if number >= _WARM_UP:
                found[way].append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    answer(measure)
