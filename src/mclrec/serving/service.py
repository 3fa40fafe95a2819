"""A model directory becomes what answers requests. Nothing here needs torch until a model does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mclrec.data.packed import IntArray
from mclrec.data.sequences import Vocabulary
from mclrec.errors import MclrecWarning, ModelFileError
from mclrec.files import sha256_file
from mclrec.models.directory import TENSORS, read_config
from mclrec.serving.card import model_card, model_version
from mclrec.serving.catalogue import Catalogue
from mclrec.serving.engine import Engine
from mclrec.serving.engines import Ranker, VectorEngine
from mclrec.serving.exported import (
    ENCODER,
    MANIFEST,
    RANKING,
    Export,
    OnnxRanker,
    is_export,
    onnx_encoder,
    open_session,
    read_export,
)
from mclrec.serving.index import INDEX, IndexRanker, check_kind, load_index

__all__ = ["Service", "load_service"]


@dataclass(frozen=True)
class Service:
    """A model that is ready to answer.

    Attributes:
        engine: dense ids in, dense ids out.
        catalogue: dense ids to outside ids and back.
        card: what the model is: name, version, configuration, data, protocol, metrics, sizes, engine.
        version: name and a part of the checksum of the weights.
    """

    engine: Engine
    catalogue: Catalogue
    card: Mapping[str, Any]
    version: str


def load_service(
    directory: Path,
    *,
    engine: Literal["auto", "torch", "onnx"] = "auto",
    index: str | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> Service:
    """Read a model directory, and build what the first request would have to wait for.

    Args:
        directory: of a run, or of an export on its own.
        engine: torch, or onnxruntime, which needs an export of these very weights; ``auto`` takes the latter where
            there is one, and torch, with a `MclrecWarning`, where the export cannot be used.
        index: kind of index over the items; all of them are compared if None.
        device: of torch.
        threads: that one call of onnxruntime may use.

    Raises:
        ModelFileError: the directory is missing, damaged, of another format, or does not hold what is asked for.
    """
    export = _fitting(directory, engine)
    if export is None:
        if index is not None:
            raise ModelFileError(f"{directory}: no index: {_build(directory, index)}")
        return _by_torch(directory, device)
    encoder = onnx_encoder(export.directory / ENCODER, threads)
    ranker: Ranker
    if index is None:
        ranker = OnnxRanker(open_session(export.directory / RANKING, threads), export.exact)
    else:
        ranker = _indexed(export, index, threads)
    answering = VectorEngine(encoder, export.exact, export.counts, export.max_length, ranker)
    return _service(answering, export.items, export.counts, export.card, "onnx")


def _indexed(export: Export, kind: str, threads: int) -> IndexRanker:
    """The index that lies in an export.

    Raises:
        ConfigError: there is no such kind.
        ModelFileError: the export has none, or it is damaged.
    """
    check_kind(kind)
    if export.index is None or INDEX not in export.files:
        raise ModelFileError(f"{export.directory}: no index: {_build('RUN', kind)}")
    return load_index(export.directory / INDEX, export.exact, int(export.index["probes"]), threads)


def _build(run: Path | str, kind: str) -> str:
    return f"build one: mclrec export {run} --format onnx --index {kind}"


def _by_torch(directory: Path, device: str) -> Service:
    from mclrec.models.storage import load_model
    from mclrec.serving.torch_models import torch_engine

    loaded = load_model(directory, device)
    card = model_card(directory, model_version(loaded.name, directory / TENSORS))
    return _service(torch_engine(loaded, device), loaded.items, loaded.counts, card, "torch")


def _service(
    engine: Engine, items: Vocabulary, counts: IntArray, card: Mapping[str, Any], name: str
) -> Service:
    catalogue = Catalogue(items, counts)
    catalogue.prepare()
    return Service(engine, catalogue, {**card, "engine": name}, str(card["version"]))


def _fitting(directory: Path, engine: str) -> Export | None:
    """The export that is to answer; None for torch.

    Raises:
        ModelFileError: onnxruntime is asked for, and has nothing that it can use.
    """
    if is_export(directory):
        if engine == "torch":
            raise ModelFileError(f"{directory}: an export; torch needs the run's own directory")
        return read_export(directory)
    if engine == "torch":
        return None
    read_config(directory)  # says what is wrong with a directory that is no run
    place = directory / "onnx"
    if engine == "auto" and not (place / MANIFEST).exists():
        return None
    try:
        return _current(directory, place)
    except ModelFileError as problem:
        if engine == "onnx":
            raise
        warnings.warn(f"{problem}; torch answers instead", MclrecWarning, stacklevel=3)
        return None


def _current(run: Path, place: Path) -> Export:
    """The export of a run, if it is of the weights that the run has now."""
    renew = f"mclrec export {run} --format onnx"
    if not (place / MANIFEST).exists():
        raise ModelFileError(f"{run}: has no export to ONNX; make one: {renew}")
    export = read_export(place)
    if export.weights != sha256_file(run / TENSORS):
        raise ModelFileError(f"{place}: of other weights than the model has now; renew it: {renew}")
    return export
