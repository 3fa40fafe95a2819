"""Errors that a user can act on: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "DataError",
    "EvaluationError",
    "MclrecError",
    "MclrecWarning",
    "ModelFileError",
    "TrainingError",
    "unknown_name",
]


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


class EvaluationError(MclrecError):
    """A ranking or metric that is not defined for this catalogue or these targets."""


class MclrecWarning(UserWarning):
    """Something was skipped or replaced, and the result says so."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that does not exist, with the nearest one that does.

    >>> unknown_name("model", "mclerc", ["mclrec", "sasrec"])
    "unknown model 'mclerc'; did you mean 'mclrec'? (known: mclrec, sasrec)"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"
