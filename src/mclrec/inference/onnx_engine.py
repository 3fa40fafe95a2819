"""Files of an ONNX export, and the parts of an engine that use them with onnxruntime and NumPy, without torch.

- ``encoder.onnx``: ``items`` (B, L), left-aligned with zeros after the end, ``lengths`` (B,), and for models with user
  vectors ``users`` (B,), to query vectors;
- ``ranking.onnx``: ``queries`` (B, d), ``k`` (1,) to ``scores`` (B, V) of items 1..V, ``items`` and ``values`` (B, k);
- ``vectors.npy`` (V + 1, d) and, if the model has biases, ``biases.npy`` (V + 1,): for allow-lists and similar items;
- if the model has them, additions to scores due to the history: ``repeats.npy`` (n,), to an item of the history by its
  distance from the end; ``whole.npy`` (3,), to an item of the history by its frequency and recency there;
  ``near.npy`` (V + 1, K), ``similarities.npy`` (V + 1, K) and ``by_distance.npy`` (n,), to items near those of the
  history;
- ``items.parquet``: outside ids and training counts; ``users.parquet``: outside ids of users that have vectors;
- ``manifest.json``: sizes, the model's card, the checksum of the exported weights, a checksum for each file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mclrec.data.packed import IntArray, Packed
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ModelFileError
from mclrec.extras import require
from mclrec.files import sha256_file
from mclrec.inference.arrays import mapped
from mclrec.inference.engine import Encoder
from mclrec.inference.exact_ranker import ExactRanker
from mclrec.inference.history_gains import FURTHER_FORMATS, HistoryGains
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.top_k import FloatArray, best_first
from mclrec.json_files import read_json
from mclrec.models.directory import ITEMS, USERS, read_items, read_users, strangers_of
from mclrec.sealed_json import unsealed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = [
    "BIASES",
    "ENCODER",
    "EXPORT_FORMAT",
    "KIND",
    "MANIFEST",
    "RANKING",
    "VECTORS",
    "Export",
    "OnnxRanker",
    "is_export",
    "onnx_encoder",
    "open_session",
    "padded",
    "read_export",
]

KIND, EXPORT_FORMAT = "mclrec export", 3
"""The format of an export without additions due to the history; for the others, see `HistoryGains.format`."""

MANIFEST, ENCODER, RANKING = "manifest.json", "encoder.onnx", "ranking.onnx"
VECTORS, BIASES = "vectors.npy", "biases.npy"

_SCORE_BYTES = 64 * 2**20
"""Bytes of scores that onnxruntime holds at once: all items for a block of queries."""

_PADDED = 128
"""Histories that are padded to one length and encoded at once."""

_LONGEST_LIST = 2048
"""Maximum length of a list from onnxruntime; longer lists are faster in NumPy."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export whose files match their checksums.

    Attributes:
        directory: directory of the export.
        card: of the model, as returned by `mclrec.inference.runtime.model_card`.
        weights: SHA-256 of the ``model.safetensors`` that was exported.
        max_length: n, how many of the newest items of a history the encoder takes.
        files: names of its files.
        items: outside ids.
        counts: (V + 1,) training counts.
        exact: exact ranker over the memory-mapped item vectors.
        users: outside ids of the users that have vectors; None for models without users.
        strangers: dense ids of those users that training has not seen.
        index: description of the index in the export, with its recall; None for none.
    """

    directory: Path
    card: Mapping[str, Any]
    weights: str
    max_length: int
    files: Collection[str]
    items: Vocabulary
    counts: IntArray
    exact: ExactRanker
    users: Vocabulary | None = None
    strangers: frozenset[int] = frozenset()
    index: Mapping[str, Any] | None = None


def is_export(directory: Path) -> bool:
    """Whether a directory is itself an export, and not a run."""
    return (directory / MANIFEST).exists()


def read_export(directory: Path) -> Export:
    """Read an export, and verify the checksum of each file.

    Raises:
        ModelFileError: the export is missing, damaged, of another format or not written by mclrec.
    """
    manifest = _read_manifest(directory / MANIFEST)
    for name, checksum in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise ModelFileError(f"{path}: no such file; export the model again")
        if sha256_file(path) != checksum:
            raise ModelFileError(f"{path}: damaged: its checksum differs; export the model again")
    items, counts = read_items(directory / ITEMS, manifest["num_items"])
    biases = mapped(directory / BIASES) if BIASES in manifest["files"] else None
    gains = HistoryGains.read(directory, manifest["files"])
    exact = ExactRanker(mapped(directory / VECTORS), biases, gains)
    users, strangers = None, frozenset[int]()
    if USERS in manifest["files"]:
        users, trained = read_users(directory / USERS, manifest["num_users"])
        strangers = strangers_of(trained)
    return Export(
        directory,
        manifest["card"],
        manifest["weights"],
        manifest["max_length"],
        manifest["files"].keys(),
        items,
        counts,
        exact,
        users,
        strangers,
        manifest.get("index"),
    )


class OnnxRanker:
    """Exact comparison with all items in onnxruntime, which multiplies batches faster than NumPy.

    Args:
        session: of ``ranking.onnx``.
        exact: answers queries with allow-lists, rules or additions due to the history, and those that leave out so many
            items that listing as many more would cost more.
    """

    def __init__(self, session: InferenceSession, exact: ExactRanker) -> None:
        self._session, self._exact = session, exact
        self._rows = max(1, _SCORE_BYTES // (4 * exact.num_items))

    def rank(self, vectors: FloatArray, queries: Sequence[DenseQuery]) -> list[Ranked]:
        """List more items than requested, then remove those to leave out; implements `Ranker.rank`."""
        lists: dict[int, Ranked] = {}
        # Longer by the number of items to leave out, so that at least k remain without them.
        widths = [
            query.k + len(query.history) * (not query.include_seen) + len(query.excluded) for query in queries
        ]
        rows = [
            row
            for row, query in enumerate(queries)
            if widths[row] <= _LONGEST_LIST and not self._exact.alone(query)
        ]
        for start in range(0, len(rows), self._rows):
            some = rows[start : start + self._rows]
            width = min(max(widths[row] for row in some), self._exact.num_items)
            items, values = self._session.run(
                ["items", "values"], {"queries": vectors[some], "k": np.array([width])}
            )
            for row, ids, scores in zip(some, items, values, strict=True):
                found = Ranked(*best_first(ids, scores, queries[row].left_out, queries[row].k))
                if len(found.items) == queries[row].k or width == self._exact.num_items:
                    lists[row] = found
        left = [row for row in range(len(queries)) if row not in lists]
        exact = self._exact.rank(vectors[left], [queries[row] for row in left])
        lists.update(zip(left, exact, strict=True))
        return [lists[row] for row in range(len(queries))]


def onnx_encoder(path: Path, threads: int = 1) -> Encoder:
    """Load an exported encoder into onnxruntime; threads may share it.

    Args:
        path: of ``encoder.onnx``.
        threads: number that one call may use; 0 for as many as there are cores.

    Raises:
        ConfigError: onnxruntime is not installed.
        ModelFileError: onnxruntime cannot read the file.
    """
    session = open_session(path, threads)
    takes_users = "users" in {given.name for given in session.get_inputs()}

    def part(histories: Packed, users: IntArray) -> FloatArray:
        items, lengths = padded(histories)
        given = {"items": items, "lengths": lengths} | ({"users": users} if takes_users else {})
        queries: FloatArray = session.run(["queries"], given)[0]
        return queries

    def encode(histories: Packed, users: IntArray) -> FloatArray:
        if len(histories) <= _PADDED:
            return part(histories, users)
        order = np.argsort(histories.lengths, kind="stable")  # sorted by length: little padding
        rows = [order[start : start + _PADDED] for start in range(0, len(order), _PADDED)]
        queries = np.concatenate([part(histories.take(some), users[some]) for some in rows])
        sorted_back = np.empty_like(queries)
        sorted_back[order] = queries
        return sorted_back

    return encode


def open_session(path: Path, threads: int = 1) -> InferenceSession:
    """Open an ONNX file in onnxruntime, on the CPU.

    Args:
        path: of the file.
        threads: number that one call may use; 0 for as many as there are cores.

    Raises:
        ConfigError: onnxruntime is not installed.
        ModelFileError: onnxruntime cannot read the file.
    """
    require("the engine onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's own classes have no common base
        raise ModelFileError(f"{path}: onnxruntime cannot read it: {problem}") from None


def padded(histories: Packed) -> tuple[IntArray, IntArray]:
    """Pad histories: items (B, L), left-aligned with zeros after the end, and lengths (B,)."""
    lengths = histories.lengths
    items = np.zeros((len(histories), int(lengths.max())), dtype=np.int64)
    items[np.arange(items.shape[1]) < lengths[:, None]] = histories.items
    return items, lengths


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path, ModelFileError)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise ModelFileError(f"{path}: not the manifest of an export")
    if manifest.get("format") not in (EXPORT_FORMAT, *FURTHER_FORMATS):
        raise ModelFileError(
            f"{path}: format {manifest.get('format')!r}, but this version of mclrec reads "
            f"{EXPORT_FORMAT} to {max(FURTHER_FORMATS)}; export the model again"
        )
    manifest = unsealed(manifest, str(path), ModelFileError)
    kinds = {
        "files": dict,
        "card": dict,
        "weights": str,
        "max_length": int,
        "num_items": int,
        "num_users": int,
    }
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise ModelFileError(f"{path}: {key} is missing or not of type {kind.__name__}")
    missing = {ENCODER, RANKING, VECTORS, ITEMS} - manifest["files"].keys()
    if missing or any(Path(name).name != name for name in manifest["files"]):
        raise ModelFileError(f"{path}: its list of files is not that of an export; export the model again")
    return manifest
