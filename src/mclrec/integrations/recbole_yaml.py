"""Safe reading of RecBole's YAML files: plain values only, floats as in RecBole, no duplicate keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError, quoted
from mclrec.extras import require
from mclrec.files import system_reason

__all__ = ["read_yaml"]

_LARGEST = 1 << 20
"""Maximum size of a file in bytes; RecBole's own have a few thousand."""

_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
"""Floats that RecBole recognises: those of YAML 1.1, and ``1e-3``, which YAML treats as text."""


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read the keys and values of a YAML file; an empty file has none.

    Raises:
        ConfigError: the file is missing, is not YAML or not a mapping, contains Python objects or a duplicate key; or
            PyYAML is not installed.
    """
    require("a configuration of RecBole")
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:
        reason = system_reason(problem) if isinstance(problem, OSError) else problem
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    if len(content) > _LARGEST:
        raise ConfigError(f"{path}: has more than {_LARGEST} bytes; is it a configuration?")
    try:
        found = _loader(content.decode("utf-8-sig"), str(path)).get_single_data()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise ConfigError(f"{path}{line}: not valid YAML: {problem.problem}") from None
    except yaml.YAMLError as problem:
        raise ConfigError(f"{path}: not valid YAML: {problem}") from None
    except (RecursionError, ValueError) as problem:  # a value such as the date 2026-99-99
        raise ConfigError(f"{path}: not valid YAML: {problem}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: should be a table of keys and values, not {quoted(found)}")
    return found


def _loader(text: str, name: str) -> Any:
    """PyYAML's safe loader with RecBole's floats, which refuses duplicate keys."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # it has no types
        """Constructs plain values only."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """Construct a mapping, refusing duplicate keys."""
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for place, key in enumerate(keys):
                if key in keys[:place]:
                    mark = node.value[place][0].start_mark
                    raise yaml.constructor.ConstructorError(None, None, f"{quoted(key)} is duplicated", mark)
            table: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return table

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789.")
    )
    loader = Loader(text)
    loader.name = name
    return loader
