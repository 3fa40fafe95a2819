"""RecBole's own training loop for some batches. Request: as `recbole_setup.build`, ``batches``, ``warmup``."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.recbole_setup import build

__all__ = ["measure"]


class _Enough(Exception):
    """Ends training once the requested batches are done."""


class _StopWatch:
    """Wraps the loss and times its calls: the time between two includes a whole step and the preparation of a batch."""

    def __init__(self, loss: Any, batches: int) -> None:
        self.moments: list[float] = []
        self.first_loss = 0.0
        self._loss, self._batches = loss, batches

    def __call__(self, interaction: Any) -> Any:
        self.moments.append(time.perf_counter())
        if len(self.moments) > self._batches:
            raise _Enough
        loss = self._loss(interaction)
        if len(self.moments) == 1:
            self.first_loss = float(loss.detach())
        return loss


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    from recbole.utils import get_trainer

    config, training, _, _, model = build(request)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    warmup = request["warmup"]
    watch = _StopWatch(model.calculate_loss, warmup + request["batches"])
    with suppress(_Enough):
        trainer._train_epoch(training, 0, loss_func=watch)
    examples = training.dataset.inter_feat
    targets = examples[training.dataset.iid_field]
    seconds = [later - sooner for sooner, later in zip(watch.moments, watch.moments[1:], strict=False)]
    return {
        "work": {
            "examples": len(examples),
            "targets": len(targets),
            "distinct_targets": len(torch.unique(targets)),
            "tokens": int(examples[training.dataset.item_list_length_field].sum()),
            "items": model.n_items - 1,
            "batch": training.batch_size,
            "max_length": model.max_seq_length,
            "hidden_size": model.hidden_size,
            "layers": len(model.trm_encoder.layer),
            "heads": model.trm_encoder.layer[0].multi_head_attention.num_attention_heads,
            "inner_size": model.trm_encoder.layer[0].feed_forward.dense_1.out_features,
            "dropout": model.dropout.p,
            "attention_dropout": model.trm_encoder.layer[0].multi_head_attention.attn_dropout.p,
            "loss": "softmax" if model.loss_type == "CE" else model.loss_type,
        },
        "dtype": {torch.float32: "fp32"}.get(model.item_embedding.weight.dtype, "other"),
        "threads": torch.get_num_threads(),
        "versions": versions(["recbole", "torch", "numpy", "pandas"]),
        "classes": model.n_items,
        "first_loss": watch.first_loss,
        "warmup": warmup,
        "batch_seconds": [round(value, 6) for value in seconds[warmup:]],
        "batches_per_epoch": len(training),
    }


if __name__ == "__main__":
    answer(measure)
