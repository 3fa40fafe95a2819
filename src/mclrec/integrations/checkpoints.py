"""Checkpoints of RecBole and libraries built on it (``.pth``), read without running what is pickled in them.

Torch reads them with ``weights_only=True``: it creates tensors and plain values, and imports nothing. RecBole saves its
configuration object beside the weights; classes of its package that the file names are replaced by inert stand-ins,
which only keep their arguments. A file that names anything else is refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mclrec.errors import ModelFileError, quoted
from mclrec.files import regular_file
from mclrec.integrations.older_protocol import in_protocol_2

__all__ = ["Checkpoint", "read_checkpoint"]

_HARMLESS = ("recbole.", "yaml.", "numpy.", "enum.")
"""Packages whose classes and functions are replaced by stand-ins."""

_CALLED = {"builtins.getattr", "__builtin__.getattr", "builtins.set", "builtins.frozenset"}
"""Functions with which Python pickles enumeration members and sets; their stand-ins call nothing."""

_CURE = 'in the program that wrote it: torch.save(model.state_dict(), "weights.pth")'


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Contents of a checkpoint.

    Attributes:
        tensors: the model's state, by RecBole's names.
        settings: settings that the user gave RecBole; empty if the file has no configuration.
        values: all settings of the configuration, with RecBole's defaults.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class _StandIn:
    """Stands for an object whose class is not imported: keeps its state and does nothing."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelFileError: the file is missing, damaged, would run code, or holds no model state.
    """
    regular_file(path, ModelFileError)
    found = _load(path)
    state = found.get("state_dict", found) if isinstance(found, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(one, Tensor) for one in state.values())
    ):
        raise ModelFileError(
            f"{path}: has no model state, that is, a table of names and tensors; save one {_CURE}"
        )
    tensors = {str(name): tensor.detach().float().cpu() for name, tensor in state.items()}
    config = found.get("config")
    kept = getattr(config, "state", None)
    kept = kept if isinstance(kept, Mapping) else {}
    settings, values = (kept.get(name) for name in ("external_config_dict", "final_config_dict"))
    return Checkpoint(
        tensors,
        settings if isinstance(settings, Mapping) else {},
        values if isinstance(values, Mapping) else {},
    )


def _load(path: Path) -> Any:
    content, names = _names(path)
    foreign = [name for name in names if not name.startswith(_HARMLESS) and name not in _CALLED]
    if foreign:
        raise ModelFileError(
            f"{path}: reading it would run {quoted(foreign[0])}, which no weights need; it was not read. Save "
            f"only the weights {_CURE}"
        )
    stand_ins = [(type(name, (_StandIn,), {}), name) for name in names]
    try:
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type] # pairs are documented
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises errors of any kind on a damaged file
        raise _damaged(path, problem) from None


def _names(path: Path) -> tuple[io.BytesIO | Path, list[str]]:
    """A checkpoint in the pickle protocol that torch reads, and the classes and functions in it unknown to torch.

    Raises:
        ModelFileError: the file is not a checkpoint of torch 1.6 or later.
    """
    if not _is_archive(path):
        raise ModelFileError(
            f"{path}: not in the format of torch 1.6 and later, the only one that can be read without running code; "
            f"save it again {_CURE}"
        )
    try:
        content = in_protocol_2(path)
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(content))
        if isinstance(content, io.BytesIO):
            content.seek(0)
    except Exception as problem:  # as above
        raise _damaged(path, problem) from None
    return content, names


def _is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, even a damaged one, whose error is raised when it is read."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def _damaged(path: Path, problem: Exception) -> ModelFileError:
    """The error for a file that torch cannot read, with the first sentence of the reason."""
    lines = str(problem).splitlines() or [type(problem).__name__]
    return ModelFileError(f"{path}: damaged, or not a torch checkpoint: {lines[0].partition('. ')[0][:120]}")
