"""Sources of a log's validation and test set as option values: paths, or frames compared by identity."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

__all__ = ["FramePart", "PartSource", "source_of"]


@dataclass(frozen=True, slots=True, eq=False)
class FramePart:
    """A frame given as a part of a log; compared by identity, never by its values."""

    frame: Any

    def __str__(self) -> str:
        """The kind of frame, such as "polars frame"."""
        return f"{type(self.frame).__module__.partition('.')[0]} frame"


def source_of(part: Any) -> Any:
    """The frame of a `FramePart`; a path unchanged."""
    return part.frame if isinstance(part, FramePart) else part


def _part(given: Any) -> str | FramePart:
    if isinstance(given, FramePart):
        return given
    if isinstance(given, str | Path):
        text = os.fspath(given)
        if not text:
            raise ValueError("is empty: name a file")
        return text
    return FramePart(given)


PartSource = Annotated[Any, BeforeValidator(_part), PlainSerializer(str)]
"""A path as text, or a `FramePart`; paths and frames are converted to one of these."""
