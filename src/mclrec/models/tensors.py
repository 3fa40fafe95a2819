"""Tensors as one safetensors file with a checksum, written and read a few rows at a time.

The layout is the standard one (eight bytes with the length of a JSON header, the header, the bytes of the tensors), so
that any safetensors reader can read it. safetensors' own writer needs all tensors in memory, twice.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mclrec.distributed.layout import WHOLE, ParameterLayout
from mclrec.errors import ModelFileError
from mclrec.files import atomic_file, regular_file
from mclrec.models.directory import WEIGHTS_CHECKSUM

__all__ = ["load_tensors", "read_tensors", "save_tensors"]

_SHARED, _CHECKSUM = "mclrec.shared", WEIGHTS_CHECKSUM
_UNKNOWN = "00000000"
"""Placeholder of the checksum until all bytes have been written."""

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LETTERS = {dtype: letters for letters, dtype in _TYPES.items()}
_PIECE = 1 << 24
"""Bytes read at a time."""


def save_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    layout: ParameterLayout = WHOLE,
) -> None:
    """Write tensors of any device as one safetensors file, atomically, with a checksum.

    A tensor with several names is stored once. Metadata keys that begin with ``mclrec.`` are reserved.

    Args:
        path: the file.
        tensors: by name.
        metadata: texts to store with them.
        layout: where the processes hold the tensors. All of them must call this; the main one writes.
    """
    aliases = _aliases(tensors)
    parts = [
        _Part(name, tensor.detach(), layout.shape(name, tensor), layout)
        for name, tensor in sorted(tensors.items())
        if name not in aliases
    ]
    if layout.processes.main:
        with atomic_file(path) as temporary, temporary.open("rb+") as file:
            _write(file, parts, {**(metadata or {}), _SHARED: json.dumps(aliases)})
        return
    for part in parts:
        if not layout.is_whole(part.name):
            for _ in part.chunks():  # sends them to the main process
                pass


def load_tensors(path: Path, layout: ParameterLayout = WHOLE) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file that `save_tensors` wrote: tensors, on the CPU, and metadata.

    Args:
        path: the file.
        layout: where the processes hold the tensors; only what this process holds is kept.

    Raises:
        ModelFileError: the file is missing, damaged or not one of ours.
    """
    tensors, notes, _ = read_tensors(path, layout)
    return tensors, notes


def read_notes(path: Path) -> dict[str, str]:
    """Read the metadata alone, without verifying the checksum: they may be damaged.

    Raises:
        ModelFileError: the file is missing, or not a safetensors file.
    """
    with _opened(path) as file:
        return _header(path, file)[0]


def read_tensors(
    path: Path, layout: ParameterLayout = WHOLE
) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Read tensors and metadata as `load_tensors` does, and the checksum of the file."""
    with _opened(path) as file:
        notes, places = _header(path, file)
        checksum = notes.pop(_CHECKSUM, None)
        if checksum is None:
            raise ModelFileError(f"{path}: was not written by mclrec: it has no checksum")
        tensors, found = _read(file, places, notes, layout)
    if checksum != found:
        raise ModelFileError(f"{path}: damaged: its checksum differs; take it from a backup or train again")
    aliases: dict[str, str] = json.loads(notes.pop(_SHARED))
    return tensors | {name: tensors[owner] for name, owner in aliases.items()}, notes, checksum


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A tensor to be written.

    Attributes:
        name: its name.
        own: the values that this process holds.
        shape: shape of the whole.
        layout: where the processes hold it.
    """

    name: str
    own: Tensor
    shape: tuple[int, ...]
    layout: ParameterLayout

    @property
    def label(self) -> str:
        """Text with which its part of the checksum begins."""
        return f"{self.name} {self.own.dtype} {self.shape}"

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return prod(self.shape) * self.own.element_size()

    def chunks(self) -> Iterator[Tensor]:
        """All values in order, some at a time, on the CPU of the main process."""
        return self.layout.chunks(self.name, self.own, self.shape[0] if self.shape else 1)


def _aliases(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are the same as an earlier one, mapped to the earlier name."""
    first: dict[tuple[object, ...], str] = {}
    owners = {
        name: first.setdefault(_memory(tensor), name) for name, tensor in tensors.items() if tensor.numel()
    }
    return {name: owner for name, owner in owners.items() if owner != name}


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """Key that is equal for two names of the same tensor."""
    return (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())


def _write(file: IO[bytes], parts: list[_Part], notes: Mapping[str, str]) -> None:
    """Write the header, the tensors, and then the checksum, which is known last."""
    header: dict[str, Any] = {"__metadata__": {**notes, _CHECKSUM: _UNKNOWN}}
    place = 0
    places = {}
    for part in sorted(parts, key=lambda part: -part.own.element_size()):  # so that all are aligned
        places[part.name] = place
        letters, end = _LETTERS[part.own.dtype], place + part.size
        header[part.name] = {"dtype": letters, "shape": list(part.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    value = _checksum_of(notes)
    for part in parts:
        file.seek(8 + len(text) + places[part.name])
        value = zlib.crc32(part.label.encode(), value)
        for chunk in part.chunks():
            data = _bytes(chunk)
            value = zlib.crc32(data, value)
            file.write(data)
    file.seek(8 + text.index(f'"{_CHECKSUM}":"{_UNKNOWN}"'.encode()) + len(_CHECKSUM) + 4)
    file.write(f"{value:08x}".encode())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of a tensor begin in a file."""

    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def row(self) -> int:
        """Bytes of a row; of the whole tensor if it has no dimension."""
        return prod(self.shape[1:]) * self.dtype.itemsize


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; errors of reading it within the block become `ModelFileError`."""
    try:
        with regular_file(path, ModelFileError).open("rb") as file:
            yield file
    except (SafetensorError, OSError) as problem:
        raise ModelFileError(f"{path}: damaged, or not a safetensors file: {problem}") from None


def _header(path: Path, file: IO[bytes]) -> tuple[dict[str, str], dict[str, _Place]]:
    """Read the metadata, and where the tensors are; safetensors checks the header."""
    with safe_open(path, framework="pt"):
        pass
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    notes = header.pop("__metadata__", {})
    if strange := {entry["dtype"] for entry in header.values()} - _TYPES.keys():
        raise ModelFileError(f"{path}: was not written by mclrec: it holds numbers of type {min(strange)}")
    return notes, {
        name: _Place(8 + length + entry["data_offsets"][0], _TYPES[entry["dtype"]], tuple(entry["shape"]))
        for name, entry in header.items()
    }


def _read(
    file: IO[bytes],
    places: Mapping[str, _Place],
    notes: Mapping[str, str],
    layout: ParameterLayout,
) -> tuple[dict[str, Tensor], str]:
    """Read the tensors and the checksum of all bytes; rows of other processes are read for the checksum alone."""
    tensors, value = {}, _checksum_of(notes)
    for name, place in sorted(places.items()):
        before, after, shape = 0, 0, place.shape  # rows of other processes; what this one holds
        if shape:
            held = layout.rows(name, shape[0])
            before, after, shape = held.start, shape[0] - held.stop, (held.stop - held.start, *shape[1:])
        tensors[name] = own = torch.empty(shape, dtype=place.dtype)
        value = zlib.crc32(f"{name} {place.dtype} {place.shape}".encode(), value)
        file.seek(place.start)
        value = _skip(file, before * place.row, value)
        value = _fill(file, _bytes(own), value)
        value = _skip(file, after * place.row, value)
    return tensors, f"{value:08x}"


def _fill(file: IO[bytes], memory: memoryview, value: int) -> int:
    """Fill memory from the file and return the checksum so far."""
    if file.readinto(memory) != len(memory):  # type: ignore[attr-defined] # files have it
        raise OSError("it ends too early")
    return zlib.crc32(memory, value)


def _skip(file: IO[bytes], count: int, value: int) -> int:
    """Read ``count`` bytes for their checksum alone."""
    while count > 0:
        piece = file.read(min(count, _PIECE))
        if not piece:
            raise OSError("it ends too early")
        value, count = zlib.crc32(piece, value), count - len(piece)
    return value


def _bytes(tensor: Tensor) -> memoryview:
    """View of the memory of a contiguous tensor on the CPU."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _checksum_of(notes: Mapping[str, str]) -> int:
    """CRC-32 of the metadata, which names, types, shapes and bytes continue; safetensors itself checks only lengths."""
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())
