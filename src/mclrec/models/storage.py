"""The model directory: a trained model as files that load without the training data and run no code.

- ``model.safetensors``: every parameter and buffer, each stored once;
- ``items.parquet``: outside id and training count of each item, in the order of dense ids;
- ``users.parquet``: outside ids of the users, only for models that have user vectors;
- ``config.json``: format, model, configuration, sizes, and what else is worth knowing. Written last.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mclrec.data.packed import IntArray
from mclrec.data.sequences import Vocabulary
from mclrec.errors import MclrecError, ModelFileError, invalid_value
from mclrec.files import atomic_file, write_json
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
    write_ids,
)

__all__ = ["CONFIG", "FORMAT", "LoadedModel", "load_model", "load_tensors", "save_model", "save_tensors"]

_SHARED, _CHECKSUM = "mclrec.shared", "mclrec.crc32"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as it was saved.

    Attributes:
        name: of the model in the registry.
        model: in evaluation mode.
        items: outside ids of its V items.
        counts: (V + 1,) interactions of each dense item id in training; place 0 is zero.
        users: outside ids of its users, for models that have user vectors.
        info: all of ``config.json``.
        checksum: of its weights.
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
) -> None:
    """Write a model directory, each file atomically; other files in it stay.

    Args:
        directory: made where it does not exist.
        name: of the model in the registry.
        model: on any device.
        items: outside ids of its V items.
        counts: (V + 1,) interactions of each dense item id in training.
        users: outside ids of the users; kept only if the model needs them.
        extra: further entries of ``config.json``: data, protocol, seed, versions.

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
        raise ValueError(f"keys of the format itself: {sorted(taken)}")
    save_tensors(directory / TENSORS, model.state_dict())
    write_ids(directory / ITEMS, items, count=pa.array(counts[1:], pa.int64()))
    if kept_users is not None:
        write_ids(directory / USERS, kept_users)
    write_json(directory / CONFIG, info | dict(extra or {}))


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
        users = read_users(directory / USERS, info["num_users"])
    tensors, _, checksum = _read_tensors(directory / TENSORS)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as problem:
        # The first line says that there were errors, each further one is an error.
        complaint = str(problem).splitlines()[-1].strip()
        raise ModelFileError(f"{directory / TENSORS}: does not fit {CONFIG}: {complaint}") from None
    return LoadedModel(info["model"], model.to(device).eval(), items, counts, users, info, checksum)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors of any device as one safetensors file, atomically, with a checksum.

    Names of one and the same tensor are stored once. Metadata keys that begin with ``mclrec.`` are reserved.
    """
    first: dict[tuple[object, ...], str] = {}
    shared: dict[str, str] = {}
    for name, tensor in tensors.items():
        owner = first.setdefault(_memory(tensor), name)
        if owner != name:
            shared[name] = owner
    # Copies, because safetensors refuses views of larger tensors.
    stored = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in tensors.items()
        if name not in shared
    }
    notes = {**(metadata or {}), _SHARED: json.dumps(shared)}
    with atomic_file(path) as temporary:
        save_file(stored, temporary, {**notes, _CHECKSUM: _checksum(stored, notes)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and metadata of a file that `save_tensors` wrote.

    Raises:
        ModelFileError: the file is missing, damaged or not one of ours.
    """
    tensors, notes, _ = _read_tensors(path)
    return tensors, notes


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """See `load_tensors`; and the checksum."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as problem:
        raise ModelFileError(f"{path}: damaged, or not a safetensors file: {problem}") from None
    checksum = notes.pop(_CHECKSUM, None)
    if checksum is None:
        raise ModelFileError(f"{path}: was not written by mclrec: it has no checksum")
    if checksum != _checksum(tensors, notes):
        raise ModelFileError(f"{path}: damaged: its checksum differs; take it from a backup or train again")
    shared: dict[str, str] = json.loads(notes.pop(_SHARED))
    return tensors | {name: tensors[owner] for name, owner in shared.items()}, notes, checksum


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """Equal for two names of one tensor."""
    return (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())


def _checksum(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    """CRC-32 over metadata, names, types, shapes and bytes: safetensors itself checks only lengths."""
    value = zlib.crc32(json.dumps(notes, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _build(path: Path, info: Mapping[str, Any]) -> Recommender:
    """The model that a configuration describes, before its weights are loaded."""
    try:
        model_type = registry.model_class(info["model"])
        config = model_type.config_type.model_validate(info["config"])
        return model_type(config, info["num_items"], info["num_users"])
    except ValidationError as problem:
        raise ModelFileError(f"{path}: {invalid_value(problem)}") from None
    except (MclrecError, RuntimeError, ValueError) as problem:
        raise ModelFileError(f"{path}: {problem}") from None
