"""Errors that a user can act on: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "CONTROLS",
    "LOST_STATUS",
    "ConfigError",
    "DataError",
    "EvaluationError",
    "InUseError",
    "LostProcessError",
    "MclrecError",
    "MclrecWarning",
    "ModelFileError",
    "OutputError",
    "ResourceError",
    "TrainingError",
    "bounded",
    "invalid_value",
    "quoted",
    "unknown_name",
    "visible",
]

_LONGEST_MESSAGE = 300
_LONGEST_PATH = 4096
_LONGEST_VALUE = 60
_LONGEST_LIST = 160
CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
"""Control characters, characters that change the direction of text, and bytes that are not UTF-8 (surrogates)."""


LOST_STATUS = 3
"""Exit status of a process that ends because another process of the same run has ended."""


def visible(text: str) -> str:
    r"""Text in which control characters and bytes that are not UTF-8 are escaped, so that a terminal shows them.

    >>> print(visible("\x1b[31mred"))
    \x1b[31mred
    """
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def quoted(value: object) -> str:
    """A value for a message: its `repr`, cut in the middle if it is long.

    >>> print(quoted("i1"), quoted("9" * 500))
    'i1' '999999999999999999999999999...9999999999999999999999999999'
    """
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = _LONGEST_VALUE
    try:
        text = visible(short.repr(value))
    except ValueError:  # Python refuses to convert integers of thousands of digits
        return "a number with thousands of digits"
    return text if len(text) <= 2 * _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...{text[-20:]}"


def bounded(message: str) -> str:
    """A message of bounded length: control characters escaped, at most two lines and 300 characters after a path.

    A message that is too long loses its middle: the beginning says what is wrong, the end what to do.
    """
    first, *others = (visible(line) for line in message.splitlines() or [""])
    text = "\n".join([first, " ".join(others)] if others else [first])
    place, colon, rest = text.partition(": ")
    if "/" not in place or "\n" in place or len(place) > _LONGEST_PATH:
        place, colon, rest = "", "", text
    if len(rest) > _LONGEST_MESSAGE:
        rest = f"{rest[: _LONGEST_MESSAGE - 125]} ... {rest[-120:]}"
    return place + colon + rest


class MclrecError(Exception):
    """Base of all errors that the user can act on; the command line prints them without a traceback."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*(bounded(part) if isinstance(part, str) else part for part in parts))


class DataError(MclrecError):
    """A file, column, row or data set that cannot be used."""


class ConfigError(MclrecError):
    """A model, recipe, key or value that does not exist or does not fit."""


class ModelFileError(MclrecError):
    """A model directory that is missing, damaged or has another format version."""


class TrainingError(MclrecError):
    """Training that cannot continue: a non-finite loss, a checkpoint that does not fit."""


class LostProcessError(TrainingError):
    """Another process of the same run has ended or does not answer."""


class EvaluationError(MclrecError):
    """A ranking or metric that is not defined for this catalogue or these targets."""


class OutputError(MclrecError):
    """A path that cannot be written: not a regular file or folder, or on a full disk."""


class InUseError(OutputError):
    """A path that another process is writing to."""


class ResourceError(MclrecError):
    """Resources of the machine that ran out: memory, open files."""


class MclrecWarning(UserWarning):
    """Something was skipped or replaced, and the result says so."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Message for a name that does not exist, with the nearest one that does.

    >>> unknown_name("model", "mclerc", ["mclrec", "sasrec"])
    "unknown model 'mclerc'; did you mean 'mclrec'? (known: mclrec, sasrec)"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {quoted(name)}{hint} (known: {_listed(names) or 'none'})"


def _listed(names: list[str]) -> str:
    """Comma-separated names, as many as fit into a message."""
    text = ", ".join(names)
    if len(text) <= _LONGEST_LIST:
        return text
    return f"{text[:_LONGEST_LIST].rpartition(', ')[0]}, ... {len(names)} in all"


def invalid_value(problem: ValidationError, *, options: bool = False) -> str:
    """The first error of a pydantic validation in one line: key, value, what is allowed, and how many more.

    Args:
        problem: the validation errors.
        options: whether keys are options of the command line, and are written as such.
    """
    complaints = problem.errors(include_url=False, include_context=False)
    first = complaints[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    key = visible(".".join(str(part) for part in first["loc"])[:_LONGEST_VALUE])
    if first["type"] == "extra_forbidden":
        message = f"unknown key {key!r}"
    elif first["type"] == "missing":
        message = f"{key} is missing"
    elif key:
        key = f"--{key.replace('_', '-')}" if options else key
        message = f"{key} = {quoted(first['input'])}: {message}"
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return " ".join(message.split()) + more
