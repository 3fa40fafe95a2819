"""The model directory: a trained model as files that load without the training data and run no code.

- ``model.safetensors``: every parameter and buffer, each stored once;
- ``items.parquet``: outside id and training count of each item, in the order of dense ids;
- ``users.parquet``: outside ids of the users, and whether training has seen them; only for models with user vectors;
- ``config.json``: format, model, configuration, sizes, and further information. Written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pydantic import ValidationError

from mclrec.arguments import check_choice
from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import Vocabulary
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.errors import ConfigError, MclrecError, ModelFileError, invalid_value
from mclrec.json_files import write_json
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.directory import (
    CONFIG,
    FORMAT,
    ITEMS,
    TENSORS,
    USERS,
    read_config,
    read_items,
    read_users,
    weights_checksum,
    write_ids,
    write_users,
)
from mclrec.models.sizes import check_memory
from mclrec.models.tensors import read_tensors, save_tensors
from mclrec.sealed_json import sealed

__all__ = ["CONFIG", "FORMAT", "LoadedModel", "load_model", "resolve_device", "save_model"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that was read from its directory.

    Attributes:
        name: name of the model in the registry.
        model: the model, in evaluation mode.
        items: outside ids of its V items.
        counts: (V + 1,) interactions of each dense item id in training; place 0 is zero.
        users: outside ids of its users, for models that have user vectors.
        info: all of ``config.json``.
        checksum: checksum of the weights.
    """

    name: str
    model: Recommender
    items: Vocabulary
    counts: IntArray
    users: Vocabulary | None
    info: dict[str, Any]
    checksum: str


def save_model(
    directory: Path,
    *,
    name: str,
    model: Recommender,
    items: Vocabulary,
    counts: IntArray,
    users: Vocabulary | None = None,
    extra: Mapping[str, Any] | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> None:
    """Write a model directory, each file atomically; other files in it stay.

    Args:
        directory: the folder; it is created if it does not exist.
        name: name of the model in the registry.
        model: the model, on any device.
        items: outside ids of its V items.
        counts: (V + 1,) interactions of each dense item id in training.
        users: outside ids of the users; kept only if the model needs them.
        extra: further entries of ``config.json``: data, protocol, seed, versions.
        processes: all of them must call this; the main one writes.

    Raises:
        ValueError: the vocabularies do not have the model's size, or ``extra`` holds a key of the format.
    """
    kept_users = users if model.needs_users else None
    sizes = (len(items), len(counts), len(kept_users or ()))
    if sizes != (model.num_items, model.num_items + 1, model.num_users):
        raise ValueError(f"items, counts and users have the sizes {sizes}, which are not the model's")
    info = {
        "format": FORMAT,
        "model": name,
        "config": model.config.model_dump(mode="json", by_alias=True),
        "num_items": model.num_items,
        "num_users": model.num_users,
    }
    if taken := info.keys() & (extra or {}).keys():
        raise ValueError(f"keys reserved by the format: {sorted(taken)}")
    state = model.state_dict()
    save_tensors(directory / TENSORS, state, layout=model.layout(processes))
    if not processes.main:
        return
    write_ids(directory / ITEMS, items, count=pa.array(counts[1:], pa.int64()))
    if kept_users is not None:
        write_users(directory / USERS, kept_users, model.trained_users())
    weights = weights_checksum(directory / TENSORS)
    write_json(directory / CONFIG, sealed({**info, **(extra or {}), "weights": weights}))


def load_model(directory: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read a model directory.

    Raises:
        ModelFileError: a file is missing, damaged, of another format or does not fit the others;
            the model is not registered.
    """
    info = read_config(directory)
    items, counts = read_items(directory / ITEMS, info["num_items"])
    model = _build(directory / CONFIG, info)
    users = None
    if model.needs_users:
        users, _ = read_users(directory / USERS, info["num_users"])
    tensors, _, checksum = read_tensors(directory / TENSORS)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as problem:
        # The first line says that there were errors; each further line is one error.
        complaint = str(problem).splitlines()[-1].strip()
        raise ModelFileError(f"{directory / TENSORS}: does not fit {CONFIG}: {complaint}") from None
    return LoadedModel(info["model"], model.to(device).eval(), items, counts, users, info, checksum)


def resolve_device(name: str) -> torch.device:
    """Resolve the name of a device; ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: no such device, or none on this machine.
    """
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: this machine has no GPU that torch can use; use --device cpu")
    return torch.device(name)


def _build(path: Path, info: Mapping[str, Any]) -> Recommender:
    """Build the model that a configuration describes, before its weights are loaded."""
    try:
        model_type = registry.model_class(info["model"])
        config = model_type.config_type.of_stored(info["config"])
        check_memory(model_type, config, info["num_items"], info["num_users"])
        return model_type(config, info["num_items"], info["num_users"])
    except ValidationError as problem:
        raise ModelFileError(f"{path}: {invalid_value(problem)}") from None
    except (MclrecError, RuntimeError, ValueError) as problem:
        raise ModelFileError(f"{path}: {problem}") from None
