"""Export of a run's model as vectors in NumPy and Parquet files, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.parquet_files import write_parquet
from mclrec.data.vocabulary import Vocabulary
from mclrec.files import atomic_directory, atomic_file, check_writable
from mclrec.inference.bulk import users_of
from mclrec.inference.export_folder import check_free, checksums, locked, vector_model
from mclrec.inference.history_gains import NearGains
from mclrec.inference.onnx_engine import VECTORS
from mclrec.inference.top_k import FloatArray
from mclrec.inference.torch_engine import history_gains, item_vectors
from mclrec.json_files import write_json
from mclrec.models.base import VectorRecommender
from mclrec.models.directory import ITEMS, VECTORS_FOLDER, VECTORS_RECORD, write_ids
from mclrec.models.storage import LoadedModel
from mclrec.progress import advancing
from mclrec.sealed_json import sealed

if TYPE_CHECKING:
    from mclrec.data.origin import Reading

__all__ = ["NEAR", "export_vectors"]

NEAR = "near.parquet"
"""File of the item similarities by which co-occurrence adds to scores, for a model that has it."""

_USERS = 8192  # users encoded at once


def export_vectors(
    run: Path, out: Path | None = None, *, users: str | Path | None = None, reading: Reading | None = None
) -> Path:
    """Write ``items.parquet`` (id, vector, bias, count), ``vectors.npy`` (V, d) and optionally users' query vectors.

    ``vectors.json`` identifies the weights by `mclrec.models.directory.weights_checksum`, and has a SHA-256 of each
    file and what the model adds to the scores that follow from the vectors: ``repeats`` and ``by_distance``, both
    indexed by distance from the end of the history. The latter multiply the similarities of ``near.parquet``. Each item
    of the history also gains a + b ln(count) + c ln(n / m), with a, b and c from ``whole``, where the item occurs
    ``count`` times among the n items of the history, most recently in the m-th place from its end.

    Args:
        run: directory of a trained model.
        out: output directory; ``RUN/vectors`` if None. An earlier export there is replaced.
        users: a log; the query vectors of its users are written to ``users.parquet`` (id, vector).
        reading: how the log is read.

    Returns:
        The directory.

    Raises:
        ModelFileError: the run cannot be read.
        ConfigError: the model has no vectors, or ``out`` holds something else.
        DataError: the log cannot be read.
    """
    directory = out or run / VECTORS_FOLDER
    check_writable(directory, "whole folder")
    check_free(directory, VECTORS)
    loaded, model = vector_model(run)
    vectors, biases = item_vectors(model)
    with locked(run, directory), atomic_directory(directory) as folder:
        check_free(directory, VECTORS)
        np.save(folder / VECTORS, vectors[1:], allow_pickle=False)
        further = {} if biases is None else {"bias": pa.array(biases[1:])}
        counts = pa.array(loaded.counts[1:], pa.int64())
        write_ids(folder / ITEMS, loaded.items, vector=_lists(vectors[1:]), count=counts, **further)
        if users is not None:
            _write_users(folder / "users.parquet", loaded, model, users, reading)
        record: dict[str, Any] = {"kind": "mclrec vectors", "weights": loaded.checksum}
        gains = history_gains(model)
        if gains.repeats is not None:
            record["repeats"] = gains.repeats.tolist()  # added by programs that list items of the history
        if gains.whole is not None:
            record["whole"] = gains.whole.tolist()
        if gains.near is not None:
            record["by_distance"] = gains.near.by_distance.tolist()
            _write_near(folder / NEAR, loaded.items, gains.near)
        record["files"] = checksums(folder)
        write_json(folder / VECTORS_RECORD, sealed(record))
    return directory


def _write_near(path: Path, items: Vocabulary, gains: NearGains) -> None:
    """Write a row for each pair of an item and an item near it, with their similarity."""
    near, similarities = gains.near.items[1:], gains.near.similarities[1:]
    rows, columns = np.nonzero(similarities)
    ids = items.to_arrow()
    table = {
        "id": ids.take(pa.array(rows)),
        "near": ids.take(pa.array(near[rows, columns] - 1)),
        "similarity": pa.array(similarities[rows, columns]),
    }
    write_parquet(path, pa.table(table))


def _lists(vectors: FloatArray) -> pa.Array:
    """Rows of an array as Arrow lists of fixed size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


@torch.inference_mode()
def _write_users(
    path: Path, loaded: LoadedModel, model: VectorRecommender, log: str | Path, reading: Reading | None
) -> None:
    """Write the query vectors of a log's users that have a known item, in batches."""
    data = users_of(log, None, reading)
    dense = np.concatenate([[0], loaded.items.dense_all(data.item_ids)])
    known = loaded.users or Vocabulary([])
    width = model.items().weight.shape[1]
    schema = pa.schema({"id": data.user_ids.to_arrow().type, "vector": pa.list_(pa.float32(), width)})
    with (
        advancing("users", data.num_users) as advance,
        atomic_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for start in range(0, data.num_users, _USERS):
            rows = np.arange(start, min(start + _USERS, data.num_users))
            histories = [dense[data.sequence(row)] for row in rows.tolist()]
            kept = [place for place, history in enumerate(histories) if history.any()]
            packed = Packed.of([histories[place][histories[place] > 0][-model.reads :] for place in kept])
            names = data.user_ids.take(rows[kept])
            if kept:
                queries = model.query_vectors(Histories.of(packed, known.dense_all(names)))
                writer.write_table(pa.table([names.to_arrow(), _lists(queries.numpy())], schema=schema))
            advance(len(rows))
