"""Optional dependencies (extras) of features, which are checked before any work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from mclrec.errors import ConfigError

__all__ = ["EXTRAS", "Extra", "missing", "require"]


@dataclass(frozen=True, slots=True)
class Extra:
    """Packages that a feature needs.

    Attributes:
        name: name of the extra in ``pip install "mclrec[NAME]"``.
        packages: name of each package for pip, keyed by the module that is imported.
    """

    name: str
    packages: Mapping[str, str]


EXTRAS: Mapping[str, Extra] = {
    "a report": Extra("report", {"jinja2": "jinja2", "matplotlib": "matplotlib"}),
    "a search": Extra("tune", {"optuna": "optuna"}),
    "an index": Extra("index", {"faiss": "faiss"}),
    "t-SNE": Extra("cluster", {"sklearn": "scikit-learn"}),
    "iclrec": Extra("cluster", {"sklearn": "scikit-learn"}),
    "tracking": Extra("track", {"tensorboard": "tensorboard"}),
    "a configuration of RecBole": Extra("recbole", {"yaml": "pyyaml"}),
    "tracking by MLflow": Extra("mlflow", {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy"}),
    "tracking by Weights & Biases": Extra("wandb", {"wandb": "wandb"}),
    "the Hugging Face Hub": Extra("hub", {"huggingface_hub": "huggingface_hub"}),
    "traces": Extra(
        "otel",
        {
            "opentelemetry.sdk": "opentelemetry-sdk",
            "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
        },
    ),
    "the engine spark": Extra("spark", {"pyspark": "pyspark"}),
    "the engine onnx": Extra("serve", {"onnxruntime": "onnxruntime"}),
    "an export to ONNX": Extra(
        "serve", {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"}
    ),
    "the service": Extra(
        "serve",
        {
            "fastapi": "fastapi",
            "httptools": "httptools",
            "prometheus_client": "prometheus-client",
            "uvicorn": "uvicorn",
        },
    ),
}
"""Extras of features that need more than the package's own dependencies, keyed by the feature's name in messages."""


def missing(feature: str) -> str | None:
    """A message with the packages that a feature needs and how to install them; None if all are installed."""
    extra = EXTRAS[feature]
    if all(map(_is_installed, extra.packages)):
        return None
    return f'{feature} needs {" and ".join(extra.packages.values())}: pip install "mclrec[{extra.name}]"'


def _is_installed(module: str) -> bool:
    """Whether a module exists; for a dotted name, with its parent packages."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require(feature: str) -> None:
    """Check that a feature's packages are installed.

    Raises:
        ConfigError: one is missing.
    """
    if problem := missing(feature):
        raise ConfigError(problem)
