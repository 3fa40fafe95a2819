"""An export as it lies on disk, and what answers by it: onnxruntime and NumPy, no torch.

- ``encoder.onnx``: ``items`` (B, L), left-aligned with zeros after the end, and ``lengths`` (B,) to query vectors;
- ``ranking.onnx``: ``queries`` (B, d), ``k`` (1,) to ``scores`` (B, V) of items 1..V, ``items`` and ``values`` (B, k);
- ``vectors.npy`` (V + 1, d), ``biases.npy`` (V + 1,) where there are any: for allow-lists, and to find items like one;
- ``items.parquet``: outside ids and training counts;
- ``manifest.json``: sizes, the model's card, the weights that were exported, a checksum for each file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import Vocabulary
from mclrec.errors import ModelFileError
from mclrec.files import read_json, sha256_file
from mclrec.models.directory import ITEMS, read_items
from mclrec.serving.engine import Answer, FloatArray, Question
from mclrec.serving.engines import Encoder
from mclrec.serving.ranking import ExactRanker, chosen

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

KIND, EXPORT_FORMAT = "mclrec export", 2
MANIFEST, ENCODER, RANKING = "manifest.json", "encoder.onnx", "ranking.onnx"
VECTORS, BIASES = "vectors.npy", "biases.npy"

_SCORE_BYTES = 64 * 2**20
"""Scores that onnxruntime holds at once: all items for some of the queries."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export whose files are whole.

    Attributes:
        directory: where it is.
        card: of the model, see `mclrec.serving.card`.
        weights: sha256 of the ``model.safetensors`` that was exported.
        max_length: n, the newest items of a history that the encoder takes.
        files: names of its files.
        items: outside ids.
        counts: (V + 1,) training counts.
        exact: the items' vectors, mapped into memory.
        index: what index lies beside them, with its recall; None for none.
    """

    directory: Path
    card: Mapping[str, Any]
    weights: str
    max_length: int
    files: Collection[str]
    items: Vocabulary
    counts: IntArray
    exact: ExactRanker
    index: Mapping[str, Any] | None = None


def is_export(directory: Path) -> bool:
    """Whether a directory is an export itself, not a run."""
    return (directory / MANIFEST).exists()


def read_export(directory: Path) -> Export:
    """Read an export, and compare each file with its checksum.

    Raises:
        ModelFileError: it is missing, damaged, of another format or not ours.
    """
    manifest = _read_manifest(directory / MANIFEST)
    for name, checksum in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise ModelFileError(f"{path}: no such file; export the model again")
        if sha256_file(path) != checksum:
            raise ModelFileError(f"{path}: damaged: its checksum differs; export the model again")
    items, counts = read_items(directory / ITEMS, manifest["num_items"])
    biases = _array(directory / BIASES) if BIASES in manifest["files"] else None
    exact = ExactRanker(_array(directory / VECTORS), biases)
    return Export(
        directory,
        manifest["card"],
        manifest["weights"],
        manifest["max_length"],
        manifest["files"].keys(),
        items,
        counts,
        exact,
        manifest.get("index"),
    )


class OnnxRanker:
    """Exact comparison with all items in onnxruntime, which multiplies batches faster than NumPy.

    Args:
        session: of ``ranking.onnx``.
        exact: for allow-lists.
    """

    def __init__(self, session: InferenceSession, exact: ExactRanker) -> None:
        self._session, self._exact = session, exact
        self._rows = max(1, _SCORE_BYTES // (4 * exact.num_items))

    def rank(self, queries: FloatArray, questions: Sequence[Question]) -> list[Answer]:
        """See `mclrec.serving.engines.Ranker`."""
        answers: dict[int, Answer] = {}
        rows = [row for row, question in enumerate(questions) if question.allowed is None]
        for start in range(0, len(rows), self._rows):
            some = rows[start : start + self._rows]
            # As many more as are barred: so many are left when these are taken out.
            width = max(questions[row].k + len(questions[row].excluded) for row in some)
            k = np.array([min(width, self._exact.num_items)])
            items, values = self._session.run(["items", "values"], {"queries": queries[some], "k": k})
            for row, ids, scores in zip(some, items, values, strict=True):
                answers[row] = chosen(ids, scores, questions[row])
        left = [row for row in range(len(questions)) if row not in answers]
        exact = self._exact.rank(queries[left], [questions[row] for row in left])
        answers.update(zip(left, exact, strict=True))
        return [answers[row] for row in range(len(questions))]


def onnx_encoder(path: Path, threads: int = 1) -> Encoder:
    """The encoder in onnxruntime; threads may share it.

    Args:
        path: of ``encoder.onnx``.
        threads: that one call may use.

    Raises:
        ModelFileError: onnxruntime is not installed, or cannot read the file.
    """
    session = open_session(path, threads)

    def encode(histories: Packed) -> FloatArray:
        items, lengths = padded(histories)
        queries: FloatArray = session.run(["queries"], {"items": items, "lengths": lengths})[0]
        return queries

    return encode


def open_session(path: Path, threads: int = 1) -> InferenceSession:
    """A file in onnxruntime, on the CPU.

    Args:
        path: of the file.
        threads: that one call may use.

    Raises:
        ModelFileError: onnxruntime is not installed, or cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ModelFileError('onnxruntime is not installed: pip install "mclrec[serve]"') from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's own classes have no common base
        raise ModelFileError(f"{path}: onnxruntime cannot read it: {problem}") from None


def padded(histories: Packed) -> tuple[IntArray, IntArray]:
    """Items (B, L) left-aligned with zeros after the end, and lengths (B,)."""
    lengths = histories.lengths
    items = np.zeros((len(histories), int(lengths.max())), dtype=np.int64)
    items[np.arange(items.shape[1]) < lengths[:, None]] = histories.items
    return items, lengths


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path, ModelFileError)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise ModelFileError(f"{path}: not the manifest of an export")
    if manifest.get("format") != EXPORT_FORMAT:
        raise ModelFileError(
            f"{path}: format {manifest.get('format')!r}, but {EXPORT_FORMAT} is read; export the model again"
        )
    kinds = {"files": dict, "card": dict, "weights": str, "max_length": int, "num_items": int}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise ModelFileError(f"{path}: {key} is missing or not of type {kind.__name__}")
    missing = {ENCODER, RANKING, VECTORS, ITEMS} - manifest["files"].keys()
    if missing or any(Path(name).name != name for name in manifest["files"]):
        raise ModelFileError(f"{path}: its list of files is not that of an export; export the model again")
    return manifest


def _array(path: Path) -> FloatArray:
    """Mapped into memory: processes that serve the same export share it."""
    try:
        array: FloatArray = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as problem:
        raise ModelFileError(f"{path}: damaged: {problem}") from None
    return array
