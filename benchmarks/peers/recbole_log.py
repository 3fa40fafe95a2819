"""RecBole's SASRec on a log, at its defaults: its own training loop, ended by a time box, then a list for each user.

RecBole splits at random by default, so the split is given: each user's last item is for test and the one before it for
validation. Its default loss, a softmax over all items, needs negative sampling to be off. As in RecBole, the weights of
the best validation are measured; if no epoch ended in time, those of the last step.

Request: as `recbole_setup.build`, ``lists`` (file to write), ``listed`` (length of a list), ``box_seconds``, and
optionally ``epochs``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.log_lists import Costs, read_histories, top_lists, write_lists
from benchmarks.peers.recbole_setup import build

__all__ = ["measure"]


class _BoxEnded(Exception):
    """Ends training when its time is over."""


class _Box:
    """Ends training when the time box is over, and keeps the weights of the best validation."""

    def __init__(self, model: Any, loss: Callable[[Any], Any], ends: float) -> None:
        self.epochs, self.best = 0, None
        self._model, self._loss, self._ends, self._highest = model, loss, ends, -np.inf

    def loss(self, interaction: Any) -> Any:
        """The model's loss; raises `_BoxEnded` once the time is over."""
        if time.process_time() > self._ends:
            raise _BoxEnded
        return self._loss(interaction)

    def validated(self, epoch: int, score: float) -> None:
        """Called by RecBole after each validation."""
        self.epochs = epoch + 1
        if score > self._highest:
            self._highest, self.best = score, deepcopy(self._model.state_dict())


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    from recbole.utils import get_trainer

    costs = Costs()
    config, training, validation, test, model = build(request)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    # In processor time, so that other work on the machine does not shorten the training.
    ends = costs.processor + request["box_seconds"] * torch.get_num_threads()
    box = _Box(model, model.calculate_loss, ends)
    model.calculate_loss = box.loss
    try:
        trainer.fit(training, validation, saved=False, show_progress=False, callback_fn=box.validated)
        ended = "early stopping or epochs"
    except _BoxEnded:
        ended = "time box"
    if box.best is not None:
        model.load_state_dict(box.best)
    costs.stop()
    write_lists(Path(request["lists"]), *_lists(model, test, request))
    return {
        **costs.document(),
        "epochs": box.epochs,
        "ended": ended,
        "threads": torch.get_num_threads(),
        "versions": versions(["recbole", "torch", "numpy", "pandas"]),
    }


@torch.no_grad()
def _lists(model: Any, test: Any, request: Request) -> tuple[Any, Any]:
    """Lists from the scores of all items, with RecBole's ids mapped back to those of the rows."""
    histories = read_histories(Path(request["inter"]))
    listed = min(request["listed"], histories.num_items)
    items = np.zeros((histories.users, listed), dtype=np.int64)
    values = np.full((histories.users, listed), -np.inf, dtype=np.float32)
    dataset = test.dataset
    users, outside = (
        np.array(dataset.id2token(field, range(dataset.num(field))))
        for field in (dataset.uid_field, dataset.iid_field)
    )
    columns = outside[1:].astype(np.int64)  # 0 is padding
    answered = 0
    model.eval()
    for interaction, *_ in test:
        found = model.full_sort_predict(interaction).view(len(interaction), -1).numpy()
        for row, user in enumerate(users[interaction[dataset.uid_field].numpy()].astype(np.int64) - 1):
            scores = np.full((1, histories.num_items + 1), -np.inf, dtype=np.float32)
            scores[0, columns] = found[row, 1:]
            [items[user]], [values[user]] = top_lists(scores, histories, int(user), listed)
            answered += 1
    if answered != histories.users:
        raise ValueError(f"{answered} of {histories.users} users have a test item")
    return items, values


if __name__ == "__main__":
    answer(measure)
