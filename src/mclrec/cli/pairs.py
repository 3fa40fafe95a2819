"""Options made of ``NAME=VALUE`` pairs: nothing that is given twice is dropped silently."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

from mclrec.errors import ConfigError, MclrecWarning, quoted

Value = TypeVar("Value")


def distinct_pairs(option: str, pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """The pairs of an option as a mapping.

    Args:
        option: name of the option, for the message.
        pairs: names with their values.

    Raises:
        ConfigError: a name is given twice.
    """
    found: dict[str, Value] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"{option}: {quoted(name)} is given twice; give it once")
        found[name] = value
    return found


def settings_given(texts: Iterable[str] | None) -> dict[str, Any]:
    """Parse the values of ``--set``. The last value of a key counts, so that a script's settings can be overridden.

    Raises:
        ConfigError: one of them is not ``KEY=VALUE``.
    """
    from mclrec.recipes import parse_setting

    found: dict[str, Any] = {}
    for key, value in map(parse_setting, texts or ()):
        if key in found and found[key] != value:
            warnings.warn(
                f"--set: {key} is given as {quoted(found[key])} and as {quoted(value)}; the last one is used",
                MclrecWarning,
                stacklevel=2,
            )
        found[key] = value
    return found
