"""TOML of recipes: reading, with line numbers in syntax errors, and writing value by value."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mclrec.errors import ConfigError, quoted
from mclrec.files import system_reason

__all__ = [
    "NONE",
    "Table",
    "UnreadableError",
    "lines_of",
    "parse_setting",
    "parse_toml",
    "read_toml",
    "text_of_value",
]

Table = dict[str, Any]

NONE = "none"
"""The word for None in recipes and on the command line, because TOML has no null value."""


def read_toml(file: Path | Traversable) -> Table:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing, unreadable or not TOML; a syntax error has its line.
    """
    try:
        return parse_toml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such recipe file") from None
    except UnreadableError as problem:
        raise ConfigError(f"{file}: not valid TOML: {problem}") from None
    except tomllib.TOMLDecodeError as problem:
        # Before Python 3.14 only the message has the line.
        message, _, place = str(problem).partition(" (at ")
        line = re.search(r"line (\d+)", place)
        where = f"{file}:{line[1]}" if line else f"{file}: last line"
        raise ConfigError(f"{where}: not valid TOML: {message}") from None
    except OSError as problem:
        raise ConfigError(f"{file}: cannot be read: {system_reason(problem)}") from None
    except ValueError as problem:  # not UTF-8, or a zero byte in the path
        raise ConfigError(f"{file}: cannot be read: {problem}") from None


class UnreadableError(Exception):
    """TOML that Python's parser cannot process, with no syntax error."""


def parse_toml(text: str) -> Table:
    """Parse TOML.

    Raises:
        tomllib.TOMLDecodeError: the text is malformed.
        UnreadableError: the text is nested too deeply, or has a number of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise UnreadableError("nested too deeply") from None
    except ValueError as problem:
        raise UnreadableError(str(problem).partition(";")[0]) from None


def lines_of(name: str, config: BaseModel, only: Collection[str] | None = None) -> list[str]:
    """Lines of a TOML table with every setting that has an effect; of these only the keys in ``only``, if given."""
    values = config.model_dump(mode="json", by_alias=True)
    kept = {key: value for key, value in values.items() if only is None or key in only}
    return ["", f"[{name}]", *(f"{key} = {text_of_value(value)}" for key, value in kept.items())]


def text_of_value(value: Any) -> str:
    """Write a number, string or boolean as both JSON and TOML do; None becomes the word none, as in recipes."""
    text = json.dumps(NONE if value is None else value, ensure_ascii=False)
    # DEL is the one control character that JSON leaves as it is and TOML refuses.
    return text.replace("\x7f", "\\u007f")


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse ``key=value``: the value is in TOML's syntax, but a bare word is text, and ``none`` is None.

    >>> parse_setting("beta=0.1"), parse_setting("updates=three"), parse_setting("gamma=none")
    (('beta', 0.1), ('updates', 'three'), ('gamma', None))

    Raises:
        ConfigError: no key, no ``=`` or no value.
    """
    key, _, value = (part.strip() for part in text.partition("="))
    if not key or not value:
        raise ConfigError(f"setting {quoted(text)}: write it as key=value, for example beta=0.1")
    if value == NONE:
        return key, None
    try:
        parsed = parse_toml(f"value = {value}")
    except (tomllib.TOMLDecodeError, UnreadableError):
        return key, value
    return key, parsed["value"] if len(parsed) == 1 else value
