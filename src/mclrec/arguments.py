"""Checks of arguments from Python: whole numbers, choices, paths, lists, mappings; the command line checks its own."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError, MclrecError, quoted, unknown_name

__all__ = [
    "LARGEST_SEED",
    "check_callable",
    "check_choice",
    "check_flag",
    "list_of",
    "mapping_of",
    "minutes_of",
    "path_of",
    "settings_of",
    "text_of",
    "whole_number",
]

LARGEST_SEED = 2**32 - 1
"""The largest seed that every library takes."""


def whole_number(
    name: str,
    value: Any,
    least: int,
    most: int | None = None,
    error: type[MclrecError] = ConfigError,
) -> int:
    """A whole number in a range; NumPy's are taken, true and false are none.

    Args:
        name: of the argument, for the message.
        value: what was given.
        least: the least that is allowed.
        most: the most that is allowed; any number if None.
        error: what is raised.
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
    """Refuse a value that is not one of some texts.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(unknown_name(name, value, choices))


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither true nor false.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} = {quoted(value)}: should be true or false")


def check_callable(name: str, value: Any) -> None:
    """Refuse a value that cannot be called.

    Raises:
        ConfigError: it cannot.
    """
    if not callable(value):
        raise ConfigError(f"{name} = {quoted(value)}: should be a function")


def minutes_of(value: Any) -> float | None:
    """A limit on time; None for no limit.

    Raises:
        ConfigError: it is no number of minutes.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigError(f"minutes = {quoted(value)}: should be a number of minutes")
    return float(value)


def text_of(name: str, value: Any) -> str:
    """A text.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{name} = {quoted(value)}: should be a text")
    return value


def path_of(name: str, value: Any) -> Path:
    """A path from text or a path.

    Raises:
        ConfigError: it is neither, empty, or has a zero byte.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ConfigError(f"{name} = {quoted(value)}: should be a path")
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ConfigError(f"{name} = {quoted(text)}: no file or folder can be called that; give a path")
    return Path(text)


def mapping_of(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values as a dictionary.

    Raises:
        ConfigError: it is none, or a key is no text.
    """
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise ConfigError(f"{name} = {quoted(value)}: should be a mapping of names to values")
    return dict(value)


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a model and its training, each of which is an argument of its own.

    Raises:
        ConfigError: one argument holds several of them.
    """
    for name, value in given.items():
        if isinstance(value, Mapping):
            few = ", ".join(f"{key}={quoted(value[key])}" for key in list(value)[:2]) or "epochs=3"
            raise ConfigError(
                f"{name}: each setting is an argument of its own: give {few}, or **{name} of a dictionary"
            )
    return given


def list_of(
    things: str, name: str, value: Any, error: type[MclrecError] = ConfigError, *, ordered: bool = False
) -> tuple[Any, ...]:
    """The values in a list of any kind.

    A text would be taken for a list of letters, and a mapping for its keys alone.

    Args:
        things: what the list should hold, for the message.
        name: of the argument, for the message.
        value: what was given.
        error: what is raised.
        ordered: whether the order means something, of which a set has another one in each process.
    """
    if ordered and isinstance(value, set | frozenset):
        raise error(f"{name} = {quoted(value)}: should be a list of {things}; a set has no order")
    if not isinstance(value, str | bytes | Mapping):
        with suppress(TypeError):  # no list, or an array without a dimension
            return tuple(value)
    raise error(f"{name} = {quoted(value)}: should be a list of {things}")
