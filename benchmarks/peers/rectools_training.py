"""Train RecTools' SASRecModel, softmax over all positions, for some batches with its own Lightning trainer.

RecTools' SASRec layers have an inner width of d. Its pre-norm layers, also part of RecTools, have 4 d and GELU, as ours
do: ``layers`` in the request is ``preln`` (same sizes on both sides) or ``own``.

Request: ``inter`` (file, see `benchmarks.ours.export`), ``layers``, ``batch``, ``max_length``, ``hidden_size``,
``blocks``, ``heads``, ``dropout``, ``seed``, ``batches``, ``warmup``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.net_blocks import PreLNTransformerLayers
from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.rectools_setup import interactions
from benchmarks.peers.stop_watch import Enough, StopWatch

__all__ = ["measure"]

_LAYERS = {"preln": PreLNTransformerLayers, "own": SASRecTransformerLayers}


class _Watching(lightning.Callback):  # type: ignore[misc] # it has no types
    """Reports each batch to the stop watch."""

    def __init__(self, watch: StopWatch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Called by Lightning; the time until the next call includes the preparation of a batch."""
        with suppress(Enough):  # Lightning counts the steps itself
            self.watch.batch_ended(outputs["loss"])


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    lightning.seed_everything(request["seed"])
    model = SASRecModel(
        loss="softmax",
        session_max_len=request["max_length"],
        n_factors=request["hidden_size"],
        n_blocks=request["blocks"],
        n_heads=request["heads"],
        dropout_rate=request["dropout"],
        batch_size=request["batch"],
        transformer_layers_type=_LAYERS[request["layers"]],
        get_trainer_func=_trainer,
        get_trainer_func_kwargs={name: request[name] for name in ("warmup", "batches")},
    )
    model.fit(Dataset.construct(interactions(Path(request["inter"]), held_out=2)))
    [watching] = [found for found in model.fit_trainer.callbacks if isinstance(found, _Watching)]
    return {
        "work": _work(model),
        "layers": request["layers"],
        "dtype": {torch.float32: "fp32"}.get(next(model.torch_model.parameters()).dtype, "other"),
        "threads": torch.get_num_threads(),
        "versions": versions(["rectools", "pytorch-lightning", "torch", "numpy", "pandas"]),
        "classes": model.torch_model.item_model.n_items,
        **watching.watch.timings(len(model.data_preparator.get_dataloader_train())),
    }


def _trainer(warmup: int, batches: int) -> Any:
    """RecTools' default trainer with a stop watch, which ends after some steps."""
    return lightning.Trainer(
        max_steps=warmup + batches,
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        deterministic=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        callbacks=[_Watching(StopWatch(warmup, batches))],
    )


def _work(model: Any) -> dict[str, Any]:
    """The work of an epoch, read from the objects that do it."""
    sessions = model.data_preparator.get_dataloader_train().dataset.sessions
    block = model.torch_model.transformer_layers.transformer_blocks[0]
    targets = [item for session in sessions for item in session[1:]]
    return {
        "examples": len(sessions),
        "targets": len(targets),
        "distinct_targets": len(set(targets)),
        "tokens": sum(len(session) - 1 for session in sessions),
        "items": model.torch_model.item_model.n_items - model.data_preparator.n_item_extra_tokens,
        "batch": model.data_preparator.batch_size,
        "max_length": model.data_preparator.session_max_len,
        "hidden_size": block.multi_head_attn.embed_dim,
        "layers": len(model.torch_model.transformer_layers.transformer_blocks),
        "heads": block.multi_head_attn.num_heads,
        "inner_size": block.feed_forward.ff_linear_1.out_features,
        "dropout": block.feed_forward.ff_dropout_1.p,
        "attention_dropout": block.multi_head_attn.dropout,
        "loss": model.lightning_model.loss,
    }


if __name__ == "__main__":
    answer(measure)
