"""Errors that a user can act on: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "LOST_STATUS",
    "ConfigError",
    "DataError",
    "EvaluationError",
    "LostProcessError",
    "MclrecError",
    "MclrecWarning",
    "ModelFileError",
    "OutputError",
    "TrainingError",
    "invalid_value",
    "unknown_name",
]


LOST_STATUS = 3
"""Exit status of a process that ends because another one of the same run has."""


class MclrecError(Exception):
    """Base of every error that is the input's fault; the command line prints it without a traceback."""


class DataError(MclrecError):
    """A file, column, row or data set that cannot be used."""


class ConfigError(MclrecError):
    """A model, recipe, key or value that does not exist or does not fit."""


class ModelFileError(MclrecError):
    """A model directory that is missing, damaged or of another version."""


class TrainingError(MclrecError):
    """Training that cannot go on: a non-finite loss, a checkpoint that does not fit."""


class LostProcessError(TrainingError):
    """Another process of the same run has ended or does not answer."""


class EvaluationError(MclrecError):
    """A ranking or metric that is not defined for this catalogue or these targets."""


class OutputError(MclrecError):
    """A place that cannot be written: not a regular file or folder, or on a full disk."""


class MclrecWarning(UserWarning):
    """Something was skipped or replaced, and the result says so."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that does not exist, with the nearest one that does.

    >>> unknown_name("model", "mclerc", ["mclrec", "sasrec"])
    "unknown model 'mclerc'; did you mean 'mclrec'? (known: mclrec, sasrec)"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"


def invalid_value(problem: ValidationError) -> str:
    """First complaint of pydantic in one line: the key, its value, what is allowed, and how many more."""
    complaints = problem.errors(include_url=False, include_context=False)
    first = complaints[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"unknown key {key!r}"
    elif first["type"] == "missing":
        message = f"{key} is missing"
    elif key:
        message = f"{key} = {first['input']!r}: {message}"
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return " ".join(message.split()) + more
