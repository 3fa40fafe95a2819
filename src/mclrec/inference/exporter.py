"""Export of a run's model to ONNX, for inference without torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.errors import ConfigError, ModelFileError
from mclrec.extras import require
from mclrec.files import atomic_directory, check_writable, sha256_file
from mclrec.inference.exact_ranker import ExactRanker
from mclrec.inference.export_folder import check_free, checksums, locked, vector_model
from mclrec.inference.index import INDEX, build_index, check_kind
from mclrec.inference.onnx_engine import (
    BIASES,
    ENCODER,
    EXPORT_FORMAT,
    KIND,
    MANIFEST,
    RANKING,
    VECTORS,
    onnx_encoder,
    open_session,
)
from mclrec.inference.runtime import model_card, model_version
from mclrec.inference.top_k import FloatArray, top_k
from mclrec.inference.torch_engine import history_gains, item_vectors
from mclrec.json_files import write_json
from mclrec.models.base import VectorRecommender
from mclrec.models.directory import (
    ITEMS,
    TENSORS,
    USERS,
    write_ids,
    write_users,
)
from mclrec.models.storage import LoadedModel
from mclrec.progress import working
from mclrec.randomness import Stream, generator
from mclrec.sealed_json import sealed

__all__ = ["TOLERANCE", "OnnxReport", "export_onnx"]

TOLERANCE = 1e-5
"""Largest difference of query vectors and scores from torch's: relative to the largest magnitude if that exceeds 1.

Rounding errors grow with the numbers, and cosines divided by a temperature of .01 are scores up to 100.
"""

_OPSET = 18
_LARGEST = 1_800_000_000
"""Bytes of weights stored inside an ONNX file, whose format is limited to 2 GB; larger ones go into a second file."""

_ROWS = 4  # histories compared per length
_SAMPLE = 500  # queries on which the recall of an index is measured


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """Result of an export to ONNX.

    Attributes:
        directory: directory of the export.
        difference: largest difference of query vectors and scores from torch's, measured as for `TOLERANCE`.
        histories: number of histories that were compared, of every length 1..n.
        index: description of the index over the items, with its recall; None for no index.
    """

    directory: Path
    difference: float
    histories: int
    index: Mapping[str, Any] | None = None


def export_onnx(run: Path, out: Path | None = None, index: str | None = None) -> OnnxReport:
    """Write the encoder and the ranking as ONNX, and compare them with torch.

    Args:
        run: directory of a trained model.
        out: output directory; ``RUN/onnx`` if None, where serving looks for it. An earlier export there is replaced.
        index: kind of approximate index to build over the items, for catalogues of more than about a million items;
            None for none.

    Raises:
        ModelFileError: the run cannot be read, or onnxruntime's results differ from torch's.
        ConfigError: the model has no vectors or no padded form, ``out`` holds something else, an extra is missing,
            or no query would use the index.
    """
    require("an export to ONNX")
    if index is not None:
        check_kind(index)
        require("an index")
    directory = out or run / "onnx"
    check_writable(directory, "whole folder")
    check_free(directory, MANIFEST)
    loaded, model = vector_model(run)
    if index is not None and model.co_occurrence is not None:
        raise ConfigError(
            f"{run}: an index would never be used: co_occurrence adds to scores, so each query is compared with "
            "all items; leave the index out, or train with co_occurrence = 0"
        )
    with locked(run, directory), atomic_directory(directory) as folder:
        check_free(directory, MANIFEST)
        with working("exporting to ONNX"):
            _write_encoder(folder / ENCODER, model)
        (vectors, biases), gains = item_vectors(model), history_gains(model)
        for name, array in ((VECTORS, vectors), (BIASES, biases)):
            if array is not None:
                np.save(folder / name, array, allow_pickle=False)
        gains.write(folder)
        _write_ranking(folder / RANKING, vectors, biases)
        write_ids(folder / ITEMS, loaded.items, count=pa.array(loaded.counts[1:], pa.int64()))
        if loaded.users is not None:
            write_users(folder / USERS, loaded.users, loaded.model.trained_users())
        with working("comparing with torch"):
            difference, count = _compare(folder, model)
        built = None
        if index is not None:
            queries = onnx_encoder(folder / ENCODER)(*_likely_histories(loaded))
            with working("building the index"):
                built = build_index(ExactRanker(vectors, biases), queries, folder / INDEX)
        manifest = _manifest(run, loaded, folder, difference) | {
            "format": gains.format or EXPORT_FORMAT,
            "index": built,
        }
        write_json(folder / MANIFEST, sealed(manifest))
    return OnnxReport(directory, difference, count, built)


def _manifest(run: Path, loaded: LoadedModel, folder: Path, difference: float) -> dict[str, Any]:
    weights = sha256_file(run / TENSORS, ModelFileError)
    return {
        "kind": KIND,
        "weights": weights,
        "max_length": loaded.model.reads,
        "num_items": loaded.model.num_items,
        "num_users": loaded.model.num_users,
        "difference": difference,
        "card": model_card(run, model_version(loaded.name, weights)),
        "files": checksums(folder),
    }


class _Queries(nn.Module):
    """Makes the padded query vectors the forward pass, which torch exports; only models with users are given users."""

    def __init__(self, model: VectorRecommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor | None = None) -> Tensor:
        if users is None:
            return self.model.padded_query_vectors(items, lengths)
        return self.model.padded_user_query_vectors(items, lengths, users)


def _write_encoder(path: Path, model: VectorRecommender) -> None:
    # torch.export would treat sizes of 0 and 1 as constants; no history has more than `max_length` items.
    dynamic = torch.export.Dim.DYNAMIC
    example = [torch.ones(3, 4, dtype=torch.int64), torch.ones(3, dtype=torch.int64)]
    shapes = {"items": {0: dynamic, 1: dynamic}, "lengths": {0: dynamic}}
    if model.needs_users:
        example.append(torch.ones(3, dtype=torch.int64))
        shapes["users"] = {0: dynamic}
    queries = _Queries(model)
    queries(example[0][:, :1], *example[1:])  # a model without a padded form raises its own error
    weights = sum(parameter.nbytes for parameter in model.parameters())
    with _quiet(), _export_failures_as_ours(), _fresh_gru_dispatch():
        torch.onnx.export(
            queries,
            tuple(example),
            path,
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(shapes),
            output_names=["queries"],
            dynamic_shapes=shapes,
            external_data=weights > _LARGEST,
            verbose=False,
        )


def _write_ranking(path: Path, vectors: FloatArray, biases: FloatArray | None) -> None:
    """Write the ranking graph: queries (B, d), k (1,) -> scores (B, V), items (B, k), values (B, k).

    Column j of the scores is item j + 1. Among equal scores, TopK lists the lower item first.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    num_items, width = len(vectors) - 1, vectors.shape[1]
    constants = {"vectors": vectors[1:], "one": np.array(1)}
    inputs = ["queries", "vectors"]
    if biases is not None:
        constants["biases"] = biases[1:]
        inputs.append("biases")
    nodes = [
        helper.make_node("Gemm", inputs, ["scores"], transB=1),
        helper.make_node("TopK", ["scores", "k"], ["values", "places"], axis=1),
        helper.make_node("Add", ["places", "one"], ["items"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ranking",
        [
            helper.make_tensor_value_info("queries", TensorProto.FLOAT, ["batch", width]),
            helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", num_items]),
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", "k"]),
            helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", "k"]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    # The same version of the file format as the encoder's.
    encoder = onnx.load(path.with_name(ENCODER), load_external_data=False)
    opset = helper.make_opsetid("", _OPSET)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=encoder.ir_version)
    large = vectors.nbytes > _LARGEST
    onnx.save(proto, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)


@torch.inference_mode()
def _compare(folder: Path, model: VectorRecommender) -> tuple[float, int]:
    """Largest difference from torch on random histories of every length, and the number of histories.

    Raises:
        ModelFileError: the difference exceeds `TOLERANCE`, or the exported top items are not those of its own scores.
    """
    encode, ranking = onnx_encoder(folder / ENCODER), open_session(folder / RANKING)
    k, worst, rng = min(10, model.num_items), 0.0, generator(0, Stream.EXPORT)
    for batch in _histories(model, rng):
        users = rng.integers(0, model.num_users + 1, size=len(batch))  # including 0, unknown
        wanted = model.query_vectors(Histories.of(batch, users))
        queries = encode(batch, users)
        scores, items, values = ranking.run(
            ["scores", "items", "values"], {"queries": queries, "k": np.array([k])}
        )
        expected = model.items().scores(wanted).numpy()
        worst = max(
            worst, _largest_difference(queries, wanted.numpy()), _largest_difference(scores, expected[:, 1:])
        )
        places, best = top_k(scores, k)
        if not (np.array_equal(items, places + 1) and np.array_equal(values, best)):
            raise ModelFileError("the exported ranking does not list the best items")
    if not worst <= TOLERANCE:
        raise ModelFileError(
            f"the export differs from torch by {worst:.1e}, more than {TOLERANCE:.0e}: nothing was written"
        )
    return worst, _ROWS * model.reads


def _histories(model: VectorRecommender, rng: np.random.Generator) -> Iterator[Packed]:
    """Batches of random histories: one for each length, then one of all lengths mixed."""
    lengths = np.arange(1, model.reads + 1)
    for batch in [np.full(_ROWS - 1, length) for length in lengths] + [rng.permutation(lengths)]:
        yield Packed.of([rng.integers(1, model.num_items + 1, size=length) for length in batch])


def _likely_histories(loaded: LoadedModel) -> tuple[Packed, IntArray]:
    """Histories of random length with items drawn by popularity, and random users, to measure an index on."""
    rng = generator(0, Stream.EXPORT)
    counts = loaded.counts[1:] + 1.0
    lengths = rng.integers(1, loaded.model.reads, size=_SAMPLE, endpoint=True)
    drawn = rng.choice(len(counts), size=lengths.sum(), p=counts / counts.sum()) + 1
    users = rng.integers(0, loaded.model.num_users + 1, size=_SAMPLE)
    return Packed(drawn, np.concatenate([[0], np.cumsum(lengths)])), users


def _largest_difference(found: FloatArray, wanted: FloatArray) -> float:
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))


@contextmanager
def _export_failures_as_ours() -> Iterator[None]:
    """Turn a failed export into a `ConfigError`: torch 2.11 and 2.12 cannot export recurrent layers, 2.13 can.

    Raises:
        ConfigError: this version of torch cannot export the encoder.
    """
    try:
        yield
    except torch.onnx.OnnxExporterError as problem:
        told = str(problem.__cause__ or problem).strip().splitlines()[0]
        raise ConfigError(
            f"torch {torch.__version__} cannot export this encoder to ONNX; a newer one may: {told}"
        ) from None


@contextmanager
def _fresh_gru_dispatch() -> Iterator[None]:
    """Clear the dispatch cache of GRUs, so that the exporter can replace their kernel.

    torch 2.13 registers the loop that it exports in a table of kernels, whose look-ups each operator caches: a process
    that has already exported a GRU, or run one under a dispatch mode, would export one with a fixed number of steps.
    """
    remembered = getattr(torch.ops.aten.gru.input, "_dispatch_cache", {})
    remembered.clear()
    try:
        yield
    finally:
        remembered.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's log messages."""
    import logging

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
