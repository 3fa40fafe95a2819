"""Validation of Python arguments: whole numbers, choices, paths, lists, mappings; the command line checks its own."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from mclrec.errors import ConfigError, MclrecError, quoted, unknown_name

__all__ = [
    "LARGEST_SEED",
    "check_callable",
    "check_choice",
    "check_flag",
    "is_number",
    "list_of",
    "mapping_of",
    "minutes_of",
    "path_of",
    "settings_of",
    "text_of",
    "whole_number",
]

LARGEST_SEED = 2**32 - 1
"""The largest seed that every library accepts."""


def whole_number(
    name: str,
    value: Any,
    least: int,
    most: int | None = None,
    error: type[MclrecError] = ConfigError,
) -> int:
    """Return a whole number within a range; NumPy integers are accepted, booleans are not.

    Args:
        name: name of the argument, for the message.
        value: the given value.
        least: smallest allowed value.
        most: largest allowed value; unlimited if None.
        error: type of the error that is raised.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or type(value).__name__ in ("bool", "bool_"):
        raise error(f"{name} = {quoted(value)}: should be a whole number")
    if number < least or (most is not None and number > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise error(f"{name} = {quoted(number)}: should be {limits}")
    return number


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ConfigError: the value is not one of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(unknown_name(name, value, choices))


def check_flag(name: str, value: Any) -> bool:
    """Return a boolean; those of NumPy are accepted, numbers are not.

    Raises:
        ConfigError: the value is neither true nor false.
    """
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} = {quoted(value)}: should be true or false")
    return bool(value)


def check_callable(name: str, value: Any) -> None:
    """Refuse a value that cannot be called.

    Raises:
        ConfigError: the value is not callable.
    """
    if not callable(value):
        raise ConfigError(f"{name} = {quoted(value)}: should be a function")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of Python or NumPy; booleans are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def minutes_of(value: Any) -> float | None:
    """Return a time limit in minutes; None for no limit.

    Raises:
        ConfigError: the value is not a number of minutes.
    """
    if value is None:
        return None
    if not is_number(value) or not value >= 0:
        raise ConfigError(f"minutes = {quoted(value)}: should be a number of minutes")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"minutes = {quoted(value)}: should be a number of minutes") from None


def text_of(name: str, value: Any) -> str:
    """Return a string.

    Raises:
        ConfigError: the value is not a string.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{name} = {quoted(value)}: should be a string")
    return value


def path_of(name: str, value: Any) -> Path:
    """Return a path given as a string or a path.

    Raises:
        ConfigError: the value is neither, is empty, or contains a null byte.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ConfigError(f"{name} = {quoted(value)}: should be a path")
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ConfigError(f"{name} = {quoted(text)}: no file or folder can have that name; give a path")
    return Path(text)


def mapping_of(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values as a dictionary.

    Raises:
        ConfigError: the value is not a mapping, or a key is not a string.
    """
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise ConfigError(f"{name} = {quoted(value)}: should be a mapping of names to values")
    return dict(value)


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a model and its training, each given as a separate argument.

    Raises:
        ConfigError: one argument is a mapping of several settings.
    """
    for name, value in given.items():
        if isinstance(value, Mapping):
            few = ", ".join(f"{key}={quoted(value[key])}" for key in list(value)[:2]) or "epochs=3"
            raise ConfigError(
                f"{name}: each setting is a separate argument: give {few}, or **{name} for a dictionary"
            )
    return given


def list_of(
    things: str, name: str, value: Any, error: type[MclrecError] = ConfigError, *, ordered: bool = False
) -> tuple[Any, ...]:
    """Return the values of any iterable as a tuple.

    Strings, which would yield letters, and mappings, which would yield their keys alone, are refused.

    Args:
        things: what the list should hold, for the message.
        name: name of the argument, for the message.
        value: the given value.
        error: type of the error that is raised.
        ordered: whether the order matters; sets are then refused, as their order differs between processes.
    """
    if ordered and isinstance(value, set | frozenset):
        raise error(f"{name} = {quoted(value)}: should be a list of {things}; a set has no order")
    if not isinstance(value, str | bytes | Mapping):
        with suppress(TypeError):  # not iterable, or a zero-dimensional array
            return tuple(value)
    raise error(f"{name} = {quoted(value)}: should be a list of {things}")
