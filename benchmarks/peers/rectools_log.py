"""RecTools on a log, at its defaults: fit on everything but each user's last item, then a list for each user.

``network`` in the request is ``SASRecModel``, RecTools' model as it is, or ``FlatSASRecNet``, the fastest SASRec that
it has (`rectools.fast_transformers`). The latter comes with functions for its input but without a trainer: it is
trained here as `SASRecModel` is by default, with its sizes, loss, initial weights, optimiser, batches and epochs.

Request: ``inter`` (see `benchmarks.ours.export`), ``network``, ``seed``, ``lists`` (file to write), ``listed`` (length
of a list), and optionally ``epochs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers import SequenceBatchDataset, build_sequences
from rectools.models import SASRecModel

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.log_lists import Costs, Histories, read_histories, top_lists, write_lists
from benchmarks.peers.rectools_setup import flat_network, flat_optimiser, interactions, tensors

__all__ = ["measure"]

_BATCH = 256
"""Number of users whose lists are computed at once."""


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    lightning.seed_everything(request["seed"])
    costs = Costs()
    # All rows but each user's last: nothing is held out for validation, because no default uses it.
    frame = interactions(Path(request["inter"]), held_out=1)
    fit = {"SASRecModel": _fit_model, "FlatSASRecNet": _fit_network}[request["network"]]
    model, epochs, lists = fit(frame, request)
    costs.stop()
    write_lists(Path(request["lists"]), *lists(model, frame, request))
    return {
        **costs.document(),
        "epochs": epochs,
        "ended": "epochs",
        "threads": torch.get_num_threads(),
        "versions": versions(["rectools", "pytorch-lightning", "torch", "numpy", "pandas"]),
    }


def _fit_model(frame: pd.DataFrame, request: Request) -> tuple[Any, int, Any]:
    model = SASRecModel(**({"epochs": request["epochs"]} if "epochs" in request else {}))
    model.fit(Dataset.construct(frame))
    return model, model.epochs, _lists_of_model


def _lists_of_model(model: Any, frame: pd.DataFrame, request: Request) -> tuple[Any, Any]:
    histories = read_histories(Path(request["inter"]))
    listed = min(request["listed"], histories.num_items)
    users = np.arange(1, histories.users + 1)
    found = model.recommend(
        users, Dataset.construct(frame), k=listed, filter_viewed=True, on_unsupported_targets="ignore"
    )
    items = np.zeros((len(users), listed), dtype=np.int64)
    scores = np.full((len(users), listed), -np.inf, dtype=np.float32)
    places = (found[Columns.User].to_numpy() - 1, found[Columns.Rank].to_numpy() - 1)
    items[places], scores[places] = found[Columns.Item].to_numpy(), found[Columns.Score].to_numpy()
    return items, scores


def _fit_network(frame: pd.DataFrame, request: Request) -> tuple[Any, int, Any]:
    model = SASRecModel()  # for its defaults
    x, y, known, _ = build_sequences(*tensors(frame), max_len=model.session_max_len)
    net = flat_network(
        len(known), model.n_factors, model.n_blocks, model.n_heads, model.session_max_len, model.dropout_rate
    )
    optimiser = flat_optimiser(net, model.lr)
    batches = torch.utils.data.DataLoader(SequenceBatchDataset(x, y), model.batch_size, shuffle=True)
    epochs = request.get("epochs", model.epochs)
    for _ in range(epochs):
        for batch in batches:
            targets = batch["y"].flatten() - 1  # classes of items 1..n; -1 is padding
            loss = torch.nn.functional.cross_entropy(
                net({"x": batch["x"], "y": batch["y"]}).flatten(0, 1), targets, ignore_index=-1
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    if not torch.isfinite(loss):
        raise ValueError("FlatSASRecNet: the loss is not a number")
    net.known_items = known  # its item i is known[i - 1]
    return net.eval(), epochs, _lists_of_network


@torch.no_grad()
def _lists_of_network(net: Any, frame: pd.DataFrame, request: Request) -> tuple[Any, Any]:  # noqa: ARG001
    histories: Histories = read_histories(Path(request["inter"]))
    known = net.known_items.numpy()
    dense = np.zeros(histories.num_items + 1, dtype=np.int64)
    dense[known] = np.arange(1, len(known) + 1)
    # torch's fast path for inference gives NaN for a query whose first positions are padding, as they are here.
    torch.backends.mha.set_fastpath_enabled(False)
    vectors = net.all_item_embeddings()
    lists = []
    for first in range(0, histories.users, _BATCH):
        users = range(first, min(first + _BATCH, histories.users))
        queries = torch.zeros(len(users), net.session_max_len, dtype=torch.long)
        for row, user in enumerate(users):
            newest = dense[histories.before_last(user)][-net.session_max_len :]
            queries[row, net.session_max_len - len(newest) :] = torch.from_numpy(newest)
        scores = np.full((len(users), histories.num_items + 1), -np.inf, dtype=np.float32)
        scores[:, known] = (net.encode_last(queries) @ vectors.T).numpy()
        lists.append(top_lists(scores, histories, first, request["listed"]))
    items, values = zip(*lists, strict=True)
    return np.concatenate(items), np.concatenate(values)


if __name__ == "__main__":
    answer(measure)
