"""What there is to know of a model, as plain JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mclrec.errors import ModelFileError
from mclrec.files import read_json, sha256_file
from mclrec.models.directory import read_config

__all__ = ["model_card", "model_version"]


def model_version(name: str, tensors: Path) -> str:
    """Name of the model and twelve digits of the checksum of its weights."""
    return f"{name}-{sha256_file(tensors)[:12]}"


def model_card(directory: Path, version: str) -> dict[str, Any]:
    """Name, version, configuration, data, protocols, metrics and sizes of a run's model.

    Raises:
        ModelFileError: ``config.json`` or ``metrics.json`` is damaged.
    """
    info, path = read_config(directory), directory / "metrics.json"
    record = read_json(path, ModelFileError) if path.exists() else {}
    try:
        results = record.get("results", {}).get("test", {})
        protocol = {label: result["protocol"]["description"] for label, result in results.items()}
        metrics = {label: result["metrics"] for label, result in results.items()}
    except (AttributeError, KeyError, TypeError):
        raise ModelFileError(f"{path}: not written by mclrec") from None
    return {
        "name": info["model"],
        "version": version,
        "items": info["num_items"],
        "config": info["config"],
        **{key: info.get(key) for key in ("data", "split", "seed", "versions")},
        "protocol": protocol,
        "metrics": metrics,
    }
