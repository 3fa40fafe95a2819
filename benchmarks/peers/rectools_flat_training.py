"""Train RecTools' flat SASRec network (`rectools.fast_transformers`) for some batches, softmax over all positions.

RecTools has the network, its sequences and their data set, but no trainer for it: the loop is ours, with the optimiser
of its `SASRecModel`. ``places`` in the request is ``all`` (the network's own forward pass, which also scores padded
positions) or ``real`` (its `encode` and `all_item_embeddings`: scores only at positions that have a target).

Request: as `rectools_training`, without ``layers``, with ``unit`` (see `training_part`), ``places`` and ``precision``
(fp32, or bf16 by autocast).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rectools.fast_transformers import SequenceBatchDataset, build_sequences
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.rectools_setup import flat_network, flat_optimiser, interactions, tensors
from benchmarks.peers.stop_watch import Enough, StopWatch
from benchmarks.peers.training_part import on_prefixes, training_rows

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    torch.manual_seed(request["seed"])
    x, y, items = (_prefixes if on_prefixes(request) else _sequences)(request)
    width, blocks, heads = (request[key] for key in ("hidden_size", "blocks", "heads"))
    net = flat_network(items, width, blocks, heads, request["max_length"], request["dropout"])
    loader = DataLoader(SequenceBatchDataset(x, y), request["batch"], shuffle=True)
    watch = StopWatch(request["warmup"], request["batches"])
    loss = {"all": _loss_at_all_places, "real": _loss_at_real_places}[request["places"]]
    with suppress(Enough):
        _train(net, loader, loss, request["precision"], watch)
    return {
        "work": _work(net, loader),
        "places": request["places"],
        "dtype": request["precision"],
        "threads": torch.get_num_threads(),
        "versions": versions(["rectools", "torch", "numpy", "pandas"]),
        "classes": len(net.all_item_embeddings()),
        **watch.timings(len(loader)),
    }


def _sequences(request: Request) -> tuple[Any, Any, int]:
    """Inputs and targets from RecTools' own function, and the number of items."""
    length = request["max_length"]
    rows = interactions(Path(request["inter"]), held_out=2, newest=length + 1)
    x, y, known, _ = build_sequences(*tensors(rows), max_len=length)
    return x, y, len(known)


def _prefixes(request: Request) -> tuple[Any, Any, int]:
    """Inputs and targets of the same form, with a target only at the last position."""
    rows, items = training_rows(request)
    length, sizes = request["max_length"], np.diff(rows.offsets) - 1
    last = np.zeros(len(rows.items), dtype=bool)
    last[rows.offsets[1:] - 1] = True
    x, y = (torch.zeros(len(sizes), length, dtype=torch.long) for _ in range(2))
    row = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes), sizes) + length
    x[row, place] = torch.from_numpy(rows.items[~last])
    y[:, -1] = torch.from_numpy(rows.items[last])
    return x, y, items


def _train(
    net: Any, loader: Any, loss_of: Callable[[Any, Any], Any], precision: str, watch: StopWatch
) -> None:
    """Train until the watch ends it."""
    optimiser = flat_optimiser(net)
    while True:
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = loss_of(net, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.batch_ended(loss.detach())


def _loss_at_all_places(net: Any, batch: Any) -> Any:
    scores = net({"x": batch["x"], "y": batch["y"]})
    return cross_entropy(scores.flatten(0, 1), batch["y"].flatten() - 1, ignore_index=-1)  # -1 is padding


def _loss_at_real_places(net: Any, batch: Any) -> Any:
    real = batch["y"] != net.PADDING_IDX
    scores = net.encode(batch["x"])[real] @ net.all_item_embeddings().T
    return cross_entropy(scores, batch["y"][real] - 1)


def _work(net: Any, loader: Any) -> dict[str, Any]:
    """The work of an epoch, read from the objects that do it."""
    x, y = loader.dataset.x, loader.dataset.y
    block = net.blocks[0]
    return {
        "examples": len(x),
        "targets": int((y != 0).sum()),
        "distinct_targets": len(torch.unique(y[y != 0])),
        "tokens": int((x != 0).sum()),
        "items": net.n_items,
        "batch": loader.batch_size,
        "max_length": net.session_max_len,
        "hidden_size": net.item_emb.embedding_dim,
        "layers": len(net.blocks),
        "heads": block.mha.num_heads,
        "inner_size": block.ffn[0].out_features,
        "dropout": block.ffn[2].p,
        "attention_dropout": block.mha.dropout,
        "loss": "softmax",
    }


if __name__ == "__main__":
    answer(measure)
