"""Base of all configurations: frozen, known keys only, finite numbers of a plausible size.

Settings come from recipes, from the command line, from Python and from files that somebody else may have written. All
of them are validated here before anything is allocated.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = ["LARGEST", "Before", "Configuration", "kinds_of", "option_text"]

LARGEST = 1_000_000
"""Largest allowed value of a numeric setting, unless its own field allows less."""


@dataclass(frozen=True, slots=True)
class Before:
    """Annotation of a setting that was added later: the value that describes runs made before it existed."""

    value: Any


class Configuration(BaseModel):
    """Base of configurations. NumPy numbers are converted to Python numbers; booleans are not accepted as numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @classmethod
    def before(cls) -> dict[str, Any]:
        """Values, by key, of the settings that were added later for runs made before these existed."""
        return {
            info.alias or name: part.value
            for name, info in cls.model_fields.items()
            for part in info.metadata
            if isinstance(part, Before)
        }

    def identity(self) -> dict[str, Any]:
        """The settings by key, without later additions at their old value, so that old runs keep their identity."""
        before, settings = self.before(), self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in settings.items() if key not in before or value != before[key]}

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Convert a NumPy value to Python, and check numbers.

        Raises:
            ValueError: the value is a boolean where a number is expected, or a finite number beyond `LARGEST`.
        """
        if isinstance(value, np.generic):
            value = value.item()
        kinds = kinds_of(cls.model_fields[info.field_name or ""].annotation)
        if not kinds & {int, float}:
            return value
        if isinstance(value, bool):
            raise ValueError("should be a number")
        if isinstance(value, int | float) and abs(value) > LARGEST and value - value == 0:
            raise ValueError(f"should be at most {LARGEST:,}")
        return value


def kinds_of(annotation: Any) -> set[Any]:
    """The types that a field's annotation allows: ``{float, NoneType}`` for ``float | None``."""
    return set(get_args(annotation)) if get_origin(annotation) in (Union, types.UnionType) else {annotation}


def option_text(value: Any) -> str:
    """A setting's value in the form that ``--set`` parses; NumPy values as the Python values that are trained with."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
