"""Detect the dialect of delimited text: its separator, whether its fields are quoted, and whether it has a header.

All three are detected from lines of the file, not from its name. The separator is the character that splits lines into
equal numbers of fields. Between commas, quotes enclose fields. Between tabs, semicolons and bars, quotes are part of
the text, unless they consistently enclose whole fields: in each column either all fields or those that need it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from mclrec.data.column_values import is_value
from mclrec.data.columns import Columns, has_known_name
from mclrec.data.quoting import MalformedError
from mclrec.data.text_files import TextFile
from mclrec.data.text_records import BLANKS, records, split_plain

__all__ = ["has_header", "quoting", "separator"]

_SIGNS = ("::", "\t", ",", ";", "|")
_LOOKED_AT = 400  # lines
_QUOTED = 1000  # lines with quotes


def separator(lines: Sequence[str]) -> tuple[str, float]:
    """The separator of some lines, blanks if they have no other, and the share of lines of the most common width."""
    best, width, share = BLANKS, 1, 0.0
    for sign in _SIGNS:
        counts = Counter(_bare(line, sign).count(sign) + 1 for line in lines[:_LOOKED_AT])
        usual, times = max(counts.items(), key=lambda found: (found[0] > 1, found[1], found[0]))
        of_lines = times / sum(counts.values())
        if usual > 1 and (of_lines > share or (of_lines == share and usual > width and best != "::")):
            best, width, share = sign, usual, of_lines
    return best, share


def _bare(line: str, sign: str) -> str:
    """A line without its quoted fields, if a separator is left outside them; else the whole line."""
    if '"' not in line:
        return line
    mark = re.escape(sign)
    bare = re.sub(rf'(^|{mark}) *"(?:[^"]|"")*" *(?={mark}|$)', r"\1", line)
    return bare if sign in bare else line


def quoting(file: TextFile, delimiter: str, lines: Sequence[str]) -> str | None:
    """The quote character that encloses fields; None if none does."""
    if not file.quotes or delimiter in (BLANKS, "::"):
        return None
    if delimiter == ",":
        return '"'
    quoted = list(islice(_with_quotes(file), _QUOTED))
    width = Counter(line.count(delimiter) for line in [*lines[1:_LOOKED_AT], *quoted[1:]]).most_common(1)
    usual = width[0][0] + 1 if width else lines[0].count(delimiter) + 1
    first = _bare(lines[0], delimiter).count(delimiter) + 1
    if quoted and first != usual and _quoted_rows(file, delimiter, first) is not None:
        return '"'  # each value of a column holds the delimiter, and its name does not
    as_text = all(line.count(delimiter) + 1 == usual for line in quoted)
    rows = _quoted_rows(file, delimiter, usual)
    if rows is None:
        return None if as_text else _fallback_quote(quoted, delimiter)
    if not as_text:
        return '"'
    return '"' if _consistent(file, delimiter, rows) else None


def _with_quotes(file: TextFile) -> Iterator[str]:
    return (line.removesuffix("\r") for _, line in file.lines() if '"' in line)


def _quoted_rows(file: TextFile, delimiter: str, width: int) -> list[list[str]] | None:
    """The first rows, with quotes taken as enclosing fields; None if that leads to rows of another width."""
    try:
        rows = [fields for _, fields in islice(records(file, delimiter, '"'), _QUOTED)]
    except MalformedError:
        return None
    return rows if all(len(fields) == width for fields in rows) else None


def _fallback_quote(quoted: Sequence[str], delimiter: str) -> str | None:
    """Decide if neither reading fits: quoted, so that errors are about quotes, only if enough fields begin with one."""
    enclosed = sum(field.startswith('"') for line in quoted for field in line.split(delimiter))
    return '"' if enclosed * 2 > len(quoted) else None


def _consistent(file: TextFile, delimiter: str, rows: list[list[str]]) -> bool:
    """Whether, below the first row, quotes enclose all values of a column, or just those that need it."""
    raw = [split_plain(line, delimiter) for line in islice(_lines(file), len(rows))]
    below = list(zip(raw[1:] or raw, rows[1:] or rows, strict=False))
    for place in range(len(rows[0])):
        pairs = [(text[place], row[place]) for text, row in below if len(text) == len(row) and text[place]]
        enclosed = [value for text, value in pairs if text.startswith('"')]
        if any('"' in text and not text.startswith('"') for text, _ in pairs):
            return False
        if len(enclosed) < len(pairs) and not all('"' in value or delimiter in value for value in enclosed):
            return False
    return True


def _lines(file: TextFile) -> Iterator[str]:
    return (line.removesuffix("\r") for _, line in file.lines() if line.strip(" \t\r"))


def has_header(first: Sequence[str], below: Sequence[Sequence[str]], columns: Columns) -> bool:
    """Whether the first row is a header.

    It is if a field is a usual column name. Otherwise no field may be a number or a date; and unless one of them is the
    name of a requested column, no field may occur again below, or contain digits and look like the values below it.
    """
    asked = {getattr(columns, role) for role in ("user", "item", "time", "sequence", "history")} - {None}
    if has_known_name(first):
        return True
    if any(is_value(text) for text in first):
        return False
    if any(name in first for name in asked) or not below:
        return True
    columns_below = list(zip(*(row for row in below if len(row) == len(first)), strict=False))
    return not any(
        text in values or (_shape(text) == _shape(values[0]) and any(map(str.isdigit, text)))
        for text, values in zip(first, columns_below, strict=False)
        if text
    )


def _shape(text: str) -> str:
    """A value with each run of digits replaced by 0."""
    return re.sub(r"\d+", "0", text)
