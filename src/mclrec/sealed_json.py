"""JSON objects with a checksum of their content, and validation of what was read against a type."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from mclrec.errors import DataError, MclrecError, invalid_value
from mclrec.files import check_writable
from mclrec.json_files import read_json

__all__ = ["check_folder", "is_of_kind", "read_sealed", "sealed", "unsealed", "validated"]

_CHECKSUM, _DIGITS = "checksum", 16

Stored = TypeVar("Stored")


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of its content as the last key."""
    return {**value, _CHECKSUM: _checksum(value)}


def unsealed(found: Any, where: str, error: type[MclrecError] = DataError) -> dict[str, Any]:
    """Check the checksum that `sealed` added to a JSON object, and return the object without it.

    Args:
        found: the parsed JSON value.
        where: name of the file, for the message.
        error: raised if the value is not an object, or differs from what was written.
    """
    if not isinstance(found, dict):
        raise error(f"{where}: holds {type(found).__name__} where a table of keys is expected")
    value = {key: found[key] for key in found if key != _CHECKSUM}
    if found.get(_CHECKSUM) != _checksum(value):
        raise error(
            f"{where}: damaged or edited: its checksum differs; take it from a backup or make it again"
        )
    return value


def read_sealed(path: Path, error: type[MclrecError] = DataError) -> dict[str, Any]:
    """Read a JSON file of one object with a checksum from `sealed`."""
    return unsealed(read_json(path, error), str(path), error)


def validated(kind: type[Stored], found: Any, where: str, error: type[MclrecError] = DataError) -> Stored:
    """Validate what was read as a type that pydantic supports; ``error`` names the key that does not fit."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as problem:
        raise error(f"{where}: {invalid_value(problem)}") from None


def _checksum(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def is_of_kind(path: Path, kind: str) -> bool:
    """Whether a file is JSON whose ``kind`` is the given one, which identifies our own folders."""
    try:
        found = read_json(path)
    except DataError:
        return False
    return isinstance(found, dict) and found.get("kind") == kind


def check_folder(directory: Path, file: str, kind: str, holds: str) -> None:
    """Check, before the work begins, that a folder is new, empty or of the same kind, and can be written.

    Args:
        directory: the folder.
        file: name of the file in it that states its kind.
        kind: the kind that an existing folder must have.
        holds: what such a folder holds, and what to do with any other, for the message.

    Raises:
        DataError: the folder exists and holds something else.
        OutputError: it is a file or a link, or its parent cannot be written.
    """
    check_writable(directory, "whole folder")
    if directory.exists() and not is_of_kind(directory / file, kind) and any(directory.iterdir()):
        raise DataError(f"{directory}: exists and does not hold {holds}")
