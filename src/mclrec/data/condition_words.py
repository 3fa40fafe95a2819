"""What a condition may contain: nodes of DuckDB's syntax tree, types that it may cast to, and functions.

Anything else is refused: subqueries, and functions that read files or the environment, draw random numbers, return the
current time, or need more than one row.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["CASTS", "FUNCTIONS", "LIKES", "NODES", "NUMBERED", "OPERATORS", "Kind"]

Kind = Literal["text", "integer", "number", "time", "boolean", "null"]
"""Types of values, each a group of DuckDB types that behave alike."""

NODES = {
    *(
        "COLUMN_REF",
        "CONSTANT",
        "COMPARISON",
        "BETWEEN",
        "CONJUNCTION",
        "OPERATOR",
        "CASE",
        "CAST",
        "FUNCTION",
    ),
}
"""Allowed classes of nodes."""

CASTS: dict[str, Kind] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "integer"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "integer"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "number"),
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"), "time"),
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
}
"""Types that a value may be cast to, and the kind of each."""

_TEXT_TO_TEXT = (
    "lower upper lcase ucase trim ltrim rtrim replace regexp_extract concat || "
    "substring substr left right split_part"
)
_TEXT_TO_TRUTH = (
    "~~ !~~ ~~* !~~* ~~~ like_escape not_like_escape ilike_escape not_ilike_escape contains starts_with ends_with "
    "prefix suffix regexp_matches regexp_full_match"
)
_NUMBER_TO_NUMBER = (
    "+ - * / // % ** ^ abs round floor ceil ceiling sqrt ln log log10 exp pow power mod sign greatest least"
)
_TIME_TO_NUMBER = "year quarter month week day hour minute second dayofweek isodow dayofyear epoch"
OPERATORS = {"+", "-", "*", "/", "//", "%", "**", "^", "||"}
"""Functions that are written as operators."""

LIKES = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE", "~~~": "GLOB"}
"""SQL operators by their names in the syntax tree."""

NUMBERED = {
    "substring": 1,
    "substr": 1,
    "left": 1,
    "right": 1,
    "split_part": 2,
    "regexp_extract": 2,
    "round": 1,
}
"""Functions whose arguments are whole numbers from a position on, counted from 0."""

FUNCTIONS: dict[str, tuple[Kind, Kind]] = {
    **dict.fromkeys(_TEXT_TO_TEXT.split(), ("text", "text")),
    **dict.fromkeys(_TEXT_TO_TRUTH.split(), ("text", "boolean")),
    **dict.fromkeys(["length", "len", "strlen", "instr", "strpos", "position"], ("text", "integer")),
    **dict.fromkeys(_NUMBER_TO_NUMBER.split(), ("number", "number")),
    **dict.fromkeys(_TIME_TO_NUMBER.split(), ("time", "number")),
    **dict.fromkeys(("to_timestamp", "epoch_ms", "make_timestamp"), ("number", "time")),
    **dict.fromkeys(("strptime", "try_strptime"), ("text", "time")),
    "nullif": ("text", "text"),
    "date_part": ("time", "number"),
    "datepart": ("time", "number"),
    "date_trunc": ("time", "time"),
    "datetrunc": ("time", "time"),
}
"""Allowed functions: the type of their arguments and that of their result."""
