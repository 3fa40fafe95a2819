"""Train Transformers4Rec's causal transformer (GPT-2, with SASRec's blocks) for some batches with its `Model.fit`.

Its loss is a softmax over all items only at positions that have a target, and a batch is padded to its longest history.
Metrics of training batches are off.

Request: as `replay_training`, without ``parts``.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers4rec.torch as t4rec
from merlin.schema import ColumnSchema, Schema, Tags
from transformers4rec.config.transformer import GPT2Config
from transformers4rec.torch.masking import CausalLanguageModeling
from transformers4rec.torch.utils.data_utils import MerlinDataLoader

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.log_lists import Histories
from benchmarks.peers.stop_watch import Enough, StopWatch
from benchmarks.peers.training_part import on_prefixes, training_rows

__all__ = ["measure"]

_ITEM = "item_id"
_LARGE = 1000  # epochs: the watch ends training


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    torch.manual_seed(request["seed"])
    np.random.seed(request["seed"])  # noqa: NPY002 # the loader shuffles with NumPy's generator
    histories, items = training_rows(request)
    schema = _schema(items, request["max_length"] + 1)
    model = _model(request, schema)
    watch = StopWatch(request["warmup"], request["batches"])
    with tempfile.TemporaryDirectory(dir=request["scratch"]) as folder:
        loader = _loader(request, schema, histories, Path(folder) / "train.parquet")
        with suppress(Enough):
            model.fit(
                loader,
                optimizer=_watched(model, watch),
                num_epochs=_LARGE,
                verbose=False,
                compute_metric=False,
            )
        work = _work(model, loader)
    return {
        "work": work,
        "dtype": {torch.float32: "fp32"}.get(next(model.parameters()).dtype, "other"),
        "threads": torch.get_num_threads(),
        "versions": versions(
            ["transformers4rec", "merlin-dataloader", "transformers", "torch", "numpy", "pandas"]
        ),
        "classes": _item_table(model).num_embeddings,
        **watch.timings(len(loader.dataset)),
    }


def _schema(items: int, length: int) -> Any:
    column = ColumnSchema(
        _ITEM,
        dtype=np.int64,
        tags=[Tags.CATEGORICAL, Tags.ITEM_ID],
        properties={
            "domain": {"min": 0, "max": items, "name": _ITEM},
            "value_count": {"min": 0, "max": length},
        },
        is_list=True,
        is_ragged=True,
    )
    return Schema([column])


def _model(request: Request, schema: Any) -> Any:
    """Embeddings, transformer and head with tied weights; the last item of a history is only a target."""
    width, places = request["hidden_size"], request["max_length"] + 1
    features = t4rec.TabularSequenceFeatures.from_schema(
        schema,
        max_sequence_length=places,
        aggregation="concat",
        embedding_dim_default=width,
        embeddings_initializers={_ITEM: partial(torch.nn.init.normal_, std=0.02)},
    )
    features.set_masking(CausalLanguageModeling(width, train_on_last_item_seq_only=on_prefixes(request)))
    config = GPT2Config.build(
        width, request["heads"], request["blocks"], places, dropout=request["dropout"], layer_norm_eps=1e-8
    )
    body = t4rec.SequentialBlock(features, t4rec.TransformerBlock(config, masking=features.masking))
    return t4rec.Model(t4rec.Head(body, t4rec.NextItemPredictionTask(weight_tying=True)))


def _loader(request: Request, schema: Any, histories: Histories, path: Path) -> Any:
    """Its loader over a file with one history per row; it yields values and offsets, and the model pads."""
    rows = pa.ListArray.from_arrays(pa.array(histories.offsets, pa.int32()), pa.array(histories.items))
    pq.write_table(pa.table({_ITEM: rows}), path)
    return MerlinDataLoader.from_schema(schema, str(path), request["batch"], list_features=[_ITEM])


def _watched(model: Any, watch: StopWatch) -> Any:
    """Its default optimiser, which reports to the stop watch when a batch is done."""
    losses: list[Any] = []
    model.register_forward_hook(lambda _module, _inputs, output: losses.append(output["loss"].detach()))
    optimiser = torch.optim.Adam(model.parameters())
    optimiser.register_step_post_hook(lambda *_: watch.batch_ended(losses.pop()))
    return optimiser


def _item_table(model: Any) -> Any:
    return model.heads[0].body.inputs.item_embedding_table


def _work(model: Any, loader: Any) -> dict[str, Any]:
    """The work of an epoch, read from the objects that do it."""
    lengths, targets = [], []
    last_alone = model.heads[0].body.inputs.masking.train_on_last_item_seq_only
    for batch, _ in loader.dataset:
        offsets, values = batch[f"{_ITEM}__offsets"], batch[f"{_ITEM}__values"]
        lengths.append(offsets.diff())
        ends = torch.zeros(len(values), dtype=torch.bool)
        ends[offsets[1:] - 1 if last_alone else offsets[:-1]] = True
        targets.append(values[ends if last_alone else ~ends])
    transformer = next(module for module in model.modules() if type(module).__name__ == "GPT2Model")
    block = transformer.h[0]
    return {
        "examples": sum(map(len, lengths)),
        "targets": sum(map(len, targets)),
        "distinct_targets": len(torch.unique(torch.cat(targets))),
        "tokens": int(sum((of_batch - 1).sum() for of_batch in lengths)),
        "items": _item_table(model).num_embeddings - 1,
        "batch": loader.dataset.batch_size,
        "max_length": transformer.wpe.num_embeddings - 1,
        "hidden_size": transformer.wpe.embedding_dim,
        "layers": len(transformer.h),
        "heads": block.attn.num_heads,
        "inner_size": block.mlp.c_fc.nf,
        "dropout": block.mlp.dropout.p,
        "attention_dropout": block.attn.attn_dropout.p,
        "loss": "softmax",
    }


if __name__ == "__main__":
    answer(measure)
