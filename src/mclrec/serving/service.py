"""A model directory becomes what answers requests. Nothing here needs torch until a model does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mclrec.errors import ModelFileError
from mclrec.files import read_json, sha256_file
from mclrec.models.directory import TENSORS, read_config
from mclrec.serving.catalogue import Catalogue
from mclrec.serving.engine import Engine

__all__ = ["Service", "load_service", "model_card", "model_version"]


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
) -> Service:
    """Read a model directory, and build what the first request would have to wait for.

    Args:
        directory: of a run.
        engine: torch, onnxruntime, or the latter where there is a fitting export.
        index: kind of index over the items; all of them are compared if None.
        device: of torch.

    Raises:
        ModelFileError: the directory is missing, damaged, of another format, or does not hold what is asked for.
    """
    from mclrec.models.storage import load_model
    from mclrec.serving.torch_models import torch_engine

    loaded = load_model(directory, device)
    version = model_version(loaded.name, directory / TENSORS)
    catalogue = Catalogue(loaded.items, loaded.counts)
    catalogue.prepare()
    card = model_card(directory, version, "torch")
    return Service(torch_engine(loaded, device), catalogue, card, version)


def model_version(name: str, tensors: Path) -> str:
    """Name and twelve digits of the checksum of the weights."""
    return f"{name}-{sha256_file(tensors)[:12]}"


def model_card(directory: Path, version: str, engine: str) -> dict[str, Any]:
    """What there is to know of a run's model, as plain JSON.

    Raises:
        ModelFileError: ``config.json`` or ``metrics.json`` is damaged.
    """
    info = read_config(directory)
    metrics = directory / "metrics.json"
    record = read_json(metrics, ModelFileError) if metrics.exists() else {}
    results = record.get("results", {}).get("test", {})
    return {
        "name": info["model"],
        "version": version,
        "engine": engine,
        "items": info["num_items"],
        "config": info["config"],
        "data": info.get("data"),
        "split": info.get("split"),
        "seed": info.get("seed"),
        "versions": info.get("versions"),
        "protocol": {label: result["protocol"]["description"] for label, result in results.items()},
        "metrics": {label: result["metrics"] for label, result in results.items()},
    }
