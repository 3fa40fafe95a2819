"""Rows of delimited text, parsed in Python: fields, with the number of the line at which each row begins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mclrec.data.quoting import MalformedError, split_quoted
from mclrec.data.text_files import LONGEST_LINE, TextFile

__all__ = ["BLANKS", "records", "split_plain"]

BLANKS = " "
"""Delimiter that stands for one or more blanks and tabs."""

_BLANKS = re.compile("[ \t]+")
_MOST_ATTEMPTS = 1000  # to find the end of a quoted field
_UNCLOSED = "opens a quote that is not closed; --quote none reads quotes as text"


def split_plain(line: str, delimiter: str) -> list[str]:
    """The fields of a line without quotes, stripped of surrounding blanks."""
    if delimiter == BLANKS:
        return _BLANKS.split(line.strip(" \t"))
    if " " in line or "\t" in line:
        return [field.strip(" \t") for field in line.split(delimiter)]
    return line.split(delimiter)


def records(file: TextFile, delimiter: str, quote: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, with the number of the first line of each; blank lines are skipped.

    Raises:
        MalformedError: a row is malformed; ``args`` are the number of its line and what is wrong.
    """
    blank = " " if delimiter == "\t" else " \t"
    lines = file.lines()
    for number, text in lines:
        line = text.removesuffix("\r")
        if not line.strip(blank):
            continue
        if quote is None or quote not in line:
            yield number, split_plain(line, delimiter)
            continue
        try:
            fields = _quoted(file, text, lines, delimiter, quote)
        except MalformedError as problem:
            raise MalformedError(number, problem.args[-1]) from None
        yield number, fields


def _quoted(
    file: TextFile, text: str, lines: Iterator[tuple[int, str]], delimiter: str, quote: str
) -> list[str]:
    """The fields of a row that begins with ``text`` and continues on the next lines while a quote is open."""
    parts, size, end = [text], len(text), "\r" if file.ending == "\r" else "\n"
    for _ in range(_MOST_ATTEMPTS):
        whole = end.join(parts).removesuffix("\r")
        fields = split_quoted(whole, delimiter, quote=quote, strip=True)
        if fields is not None:
            return fields
        for _, line in lines:
            parts.append(line)
            size += len(line)
            if size > LONGEST_LINE:
                raise MalformedError(_UNCLOSED)
            if line.count(quote) % 2:
                break
        else:
            break
    raise MalformedError(_UNCLOSED)
