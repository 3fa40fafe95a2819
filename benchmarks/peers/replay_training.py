"""Train RePlay's SasRec (`replay.nn`), softmax over all positions, for some batches with its own Lightning module.

``parts`` in the request is ``template`` (RePlay's transforms and its cross-entropy, which also scores padded positions)
or ``fast`` (what RePlay 0.22 offers against padding: batches trimmed to their longest history, an encoder over buckets
of similar length, and a loss only at positions that have a target; that loss takes negatives, which here are the whole
catalogue, so that it is the full softmax). Everything is in fp32: the buckets fail if Lightning casts to bf16.

RePlay also predicts each user's first item, from an empty history. Here a copy of the padding mask leaves that target
out.

Request: ``inter`` (file, see `benchmarks.ours.export`), ``unit``, ``scratch``, ``parts``, ``batch``, ``max_length``,
``hidden_size``, ``blocks``, ``heads``, ``dropout``, ``seed``, ``batches``, ``warmup``.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.agg import SumAggregator
from replay.nn.embedding import SequenceEmbedding
from replay.nn.lightning import LightningModule
from replay.nn.loss import CE, GroupedCESampled
from replay.nn.mask import DefaultAttentionMask
from replay.nn.sequential import (
    LengthBucketedQueryEncoder,
    PositionAwareAggregator,
    SasRec,
    SasRecBody,
    SasRecTransformerLayer,
)
from replay.nn.transform import (
    CopyTransform,
    GroupTransform,
    NextTokenTransform,
    RenameTransform,
    TargetAwareAdaptiveTrimTransform,
    UnsqueezeTransform,
)

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.log_lists import Histories
from benchmarks.peers.stop_watch import Enough, StopWatch
from benchmarks.peers.training_part import on_prefixes, training_rows

__all__ = ["measure"]

_ITEM = "item_id"
_BUCKET = 32
"""Number of histories that the encoder takes at once: the fastest of 16, 32 and 64 on Beauty."""


class _Watching(lightning.Callback):  # type: ignore[misc] # it has no types
    """Reports each batch to the stop watch."""

    def __init__(self, watch: StopWatch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Called by Lightning; the time until the next call includes the preparation of a batch."""
        with suppress(Enough):  # Lightning counts the steps itself
            self.watch.batch_ended(outputs["loss"].detach())


class _Catalogue(torch.nn.Module):
    """Gives each batch all items as shared negatives."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self._items = torch.arange(items)[None]

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the negatives to a batch."""
        return {**batch, "negative_labels": self._items}


class _LastPlace(torch.nn.Module):
    """Makes the item at the last position a row's only target."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the target mask to a batch."""
        targets = torch.zeros_like(batch["padding_mask"])
        targets[:, -1] = True
        return {**batch, "target_padding_mask": targets}


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    lightning.seed_everything(request["seed"])
    histories, items = training_rows(request)
    model = _model(request, items)
    watch = StopWatch(request["warmup"], request["batches"])
    with tempfile.TemporaryDirectory(dir=request["scratch"]) as folder:
        data = _data(request, histories, items, Path(folder) / "train.parquet")
        trainer = lightning.Trainer(
            max_steps=request["warmup"] + request["batches"],
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
            limit_val_batches=0,
            callbacks=[_Watching(watch)],
        )
        trainer.fit(LightningModule(model), datamodule=data)  # its own optimiser, Adam
        work, batches = _work(model, data), len(data.train_dataloader())
    return {
        "work": work,
        "parts": request["parts"],
        "dtype": {torch.float32: "fp32"}.get(next(model.parameters()).dtype, "other"),
        "threads": torch.get_num_threads(),
        "versions": versions(["replay-rec", "lightning", "torch", "numpy", "pyarrow"]),
        "classes": len(model.body.embedder.get_item_weights()),
        **watch.timings(batches),
    }


def _data(request: Request, histories: Histories, items: int, path: Path) -> Any:
    """RePlay's data module over a file with one history per row; items are counted from 0, and V is padding."""
    rows = pa.ListArray.from_arrays(pa.array(histories.offsets, pa.int32()), pa.array(histories.items - 1))
    pq.write_table(pa.table({_ITEM: rows}), path)
    trim, negatives = [], []
    if request["parts"] == "fast":
        trim, negatives = [TargetAwareAdaptiveTrimTransform([_ITEM, "positive_labels"])], [_Catalogue(items)]
    transforms = [
        NextTokenTransform(label_name=_ITEM, shift=1),
        RenameTransform({f"{_ITEM}_mask": "padding_mask"}),
        _LastPlace() if on_prefixes(request) else CopyTransform({"padding_mask": "target_padding_mask"}),
        *trim,
        UnsqueezeTransform("target_padding_mask", -1),
        UnsqueezeTransform("positive_labels", -1),
        *negatives,
        GroupTransform({"feature_tensors": [_ITEM]}),
    ]
    return ParquetModule(
        batch_size=request["batch"],
        metadata={"train": {_ITEM: {"shape": request["max_length"] + 1, "padding": items}}},
        transforms={"train": transforms},
        train_path=str(path),
    )


def _model(request: Request, items: int) -> Any:
    width, dropout = request["hidden_size"], request["dropout"]
    schema = TensorSchema(
        TensorFeatureInfo(
            _ITEM,
            is_seq=True,
            feature_type=FeatureType.CATEGORICAL,
            embedding_dim=width,
            padding_value=items,
            cardinality=items,
            feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, _ITEM)],
        )
    )
    encoder: Any = SasRecTransformerLayer(
        width, request["heads"], request["blocks"], dropout, activation="gelu", hidden_dim=4 * width
    )
    loss: Any = CE(ignore_index=items)
    if request["parts"] == "fast":
        encoder = LengthBucketedQueryEncoder(encoder, _BUCKET)
        loss = GroupedCESampled(request["batch"], cardinality=items)
    positions = PositionAwareAggregator(SumAggregator(width), request["max_length"], dropout)
    mask = DefaultAttentionMask(_ITEM, request["heads"])
    return SasRec(
        SasRecBody(SequenceEmbedding(schema), positions, mask, encoder, torch.nn.LayerNorm(width)), loss
    )


def _work(model: Any, data: Any) -> dict[str, Any]:
    """The work of an epoch, read from the objects that do it."""
    batches = [data.compiled_transforms["train"](batch) for batch in data.train_dataloader()]
    targets = torch.cat([batch["positive_labels"][batch["target_padding_mask"]] for batch in batches])
    encoder = model.body.encoder
    encoder = getattr(encoder, "encoder", encoder)  # the one within the buckets
    attention, forward = encoder.attention_layers[0], encoder.forward_layers[0]
    return {
        "examples": sum(len(batch["padding_mask"]) for batch in batches),
        "targets": len(targets),
        "distinct_targets": len(torch.unique(targets)),
        "tokens": int(sum(batch["padding_mask"].sum() for batch in batches)),
        "items": len(model.body.embedder.get_item_weights()),
        "batch": data.batch_size,
        "max_length": model.body.embedding_aggregator.pe.num_embeddings,
        "hidden_size": attention.embed_dim,
        "layers": encoder.num_blocks,
        "heads": attention.num_heads,
        "inner_size": forward.conv1.out_channels,
        "dropout": forward.dropout1.p,
        "attention_dropout": attention.dropout,
        "loss": "softmax",
    }


if __name__ == "__main__":
    answer(measure)
