"""JSON files: a strict parser with line numbers in its errors, and atomic writes."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from mclrec.errors import DataError, MclrecError, quoted
from mclrec.files import regular_file, system_reason, write_text

__all__ = ["parse_json", "read_json", "write_json"]


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, error: type[MclrecError] = DataError) -> Any:
    """Read a JSON file; ``error`` is raised if it is missing, or refused by `parse_json`."""
    try:
        text = regular_file(path, error).read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path}: cannot be read: {system_reason(problem)}") from None
    except ValueError as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    return parse_json(text, str(path), error)


def parse_json(text: str | bytes, where: str, error: type[MclrecError] = DataError) -> Any:
    """Parse JSON from any source: the one parser for text that somebody else may have written.

    Args:
        text: one JSON value.
        where: name of the file, for the message.
        error: raised for text that is malformed, nested too deeply, has a key twice, or holds NaN, an infinity or a
            number of thousands of digits.
    """
    try:
        return json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_distinct_keys
        )
    except json.JSONDecodeError as problem:
        raise error(f"{where}:{problem.lineno}: not valid JSON: {problem.msg}") from None
    except RecursionError:
        raise error(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as problem:
        reason = str(problem).partition("; use sys")[0]
        raise error(f"{where}: not valid JSON: {reason}") from None


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys are distinct: `json` would keep the last value of each."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {quoted(counts.most_common(1)[0][0])} is duplicated")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a valid JSON number")


def _finite(digits: str) -> float:
    """Parse a float, refusing numbers beyond its range: Python would turn 1e999 into infinity."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too large for a floating-point number")
    return value
