"""Parse lists that are written as text, in the form of Python, NumPy, JSON or PostgreSQL, or by hand."""

from __future__ import annotations

import ast
import re

__all__ = ["NO_LIST", "PLAIN", "SIGNS", "ListTextError", "list_elements", "sign_of"]

SIGNS = (",", ";", "|")

PLAIN = r"[^\[\](){}'\"]*"
"""Text without brackets and quotes, whose elements are separated only by `SIGNS` or blanks."""

NO_LIST = "is not a list of ids, which are integers or strings"

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_ARRAY = re.compile(r"(?:np\.|numpy\.)?array\((\[.*\])(?:, *dtype=[^)]*)?\)", re.DOTALL)
_SCALAR = re.compile(r"(?:np|numpy)\.\w+\((.*)\)", re.DOTALL)
_QUOTED = (
    r"\s*(?:(?:np|numpy)\.\w+\()?"
    r"(?:\"((?:[^\"\\]|\\.|\"\")*)\"|'((?:[^'\\]|\\.|'')*)')"
    r"\)?\s*"
)
_ESCAPED = re.compile(r"\\(.)|\"\"|''", re.DOTALL)


class ListTextError(Exception):
    """An invalid list; the message completes a sentence that begins with the list."""


def sign_of(held: list[bool]) -> str | None:
    """The separator of elements: the first of `SIGNS` that occurs, None for blanks."""
    return next((sign for sign, there in zip(SIGNS, held, strict=True) if there), None)


def list_elements(text: str, sign: str | None) -> list[str]:
    """The elements of a list, without quotes and brackets around them; empty ones are left out.

    Args:
        text: the list.
        sign: the separator of elements; None for blanks.

    Raises:
        ListTextError: it was cut with ``...`` when it was written, or its elements are lists or objects.
    """
    text = text.strip()
    if (array := _ARRAY.fullmatch(text)) is not None:
        text = array[1]
    if text.startswith(("[", "(")) and (evaluated := _evaluated(text)) is not None:
        return [value for value in evaluated if value]
    if text and text[0] in _BRACKETS and _closes_last(text):
        text = text[1:-1]
    end = re.escape(sign) if sign else r"\s"
    element = re.compile(rf"{_QUOTED}(?:(?<=\s)|{end}|$)|([^{end}]*)(?:{end}|$)", re.DOTALL)
    found, place = [], 0
    while place < len(text):
        match = element.match(text, place)
        if match is None or match.end() == place:
            place += 1
            continue
        place = match.end()
        enclosed = match[1] if match[1] is not None else match[2]
        if enclosed is not None:
            found.append(_ESCAPED.sub(lambda sign: sign[1] or sign[0][0], enclosed))
        else:
            found.append(_bare(match[3]))
    return [value for value in found if value]


def _evaluated(text: str) -> list[str] | None:
    """Parse a Python list or tuple, whose quoted elements may contain any character; None if it is not one."""
    if "'" not in text and '"' not in text:
        return None  # numbers and bare words: digits stay as they are written
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(found, list | tuple) or not all(isinstance(value, str | int) for value in found):
        return None
    return [str(value) for value in found]


def _bare(text: str) -> str:
    """The text of an element that is not quoted as a whole."""
    text = text.strip()
    if text in ("...", "…"):
        raise ListTextError("was cut off with '...' when it was written; write the whole list")
    if (scalar := _SCALAR.fullmatch(text)) is not None:
        text = scalar[1]
    if text.startswith(("[", "{")):
        raise ListTextError(NO_LIST)
    return text.strip(" \t\n'\"")


def _closes_last(text: str) -> bool:
    """Whether the bracket that a text begins with is closed by its last character."""
    begin, end, depth = text[0], _BRACKETS[text[0]], 0
    for place, sign in enumerate(text):
        depth += (sign == begin) - (sign == end)
        if not depth:
            return place == len(text) - 1
    return False
