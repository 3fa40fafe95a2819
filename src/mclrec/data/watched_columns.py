"""Watched columns: columns without a role whose values may show that some rows are not ordinary interactions.

They hold amounts (a return is a row with a quantity of -1), kinds of events (views as well as purchases) or ratings,
and are recognised by their usual names. Their values are counted while a log is read; `mclrec.data.watched_text` puts
the result into words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import is_text, plain
from mclrec.data.columns import untyped
from mclrec.data.intake import Watched, WatchedKind, shortened
from mclrec.data.text_tables import sql_name, sql_text
from mclrec.data.typed_text import WORDS_FOR_NOTHING

__all__ = [
    "Watching",
    "is_watched_role",
    "watched_columns",
    "watched_in_all",
    "watched_in_frame",
    "watched_in_table",
    "watched_roles",
]

_AMOUNTS = (
    re.compile("(quantity|qty|amount|units).*|.*(quantity|qty|amount|units)"),
    re.compile(
        "count|cnt|plays|playcount|playtime|msplayed|playduration|watchtime|dwelltime|hours|hoursplayed"
    ),
    re.compile("salesvalue|totalvalue|ordervalue|sales|total|spend|paid|cost|unitcost|.*(price|revenue)"),
)
"""Names of amounts, the most significant first."""

_EVENTS = re.compile(
    "(event|action|interaction|behaviou?r|feedback|activity)(type|name|kind)?|type|operation|transactiontype|"
    "(is)?(click(ed)?|like[ds]?|dislike[ds]?|skip(ped)?|buy|bought|purchased|converted)"
)
_UNDONE = re.compile("(order|payment)?status|(is)?(returned|refunded|cancell?ed|return|refund|deleted)")
_RATINGS = re.compile(
    "(star|user|movie|book|item)?ratings?|stars|score|reviewscore|overall|grade|ratingvalue"
)

_MOST_AMOUNTS, _MOST_EVENTS = 3, 2  # watched columns per log
_MOST: Mapping[WatchedKind, int] = {"events": 12, "ratings": 50}
"""Maximum number of distinct values of a column of events or ratings."""

_PREFIX = "watched "
_NUMBER = r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?"


# -------------------------------------------------------------------------------- selection


def watched_columns(
    names: Sequence[str],
    taken: Iterable[str],
    values: Callable[[str], Sequence[object]] | None = None,
) -> dict[str, WatchedKind]:
    """The columns of a log to watch, each with the kind of values that its name suggests.

    Args:
        names: names of all columns.
        taken: columns that have a role or occur in the condition; they are not watched.
        values: returns sample values of a column; None if they are not known.
    """
    passed = set(taken)
    folded = Counter(name.casefold() for name in names)
    free = [name for name in names if name not in passed and folded[name.casefold()] == 1]
    compact = {name: re.sub(r"[\W_]", "", untyped(name)).lower() for name in free}

    def called(*forms: re.Pattern[str]) -> list[str]:
        return [name for form in forms for name in free if form.fullmatch(compact[name])]

    amounts, events, ratings = called(*_AMOUNTS), called(_EVENTS, _UNDONE), called(_RATINGS)
    found: dict[str, WatchedKind] = dict.fromkeys(list(dict.fromkeys(amounts))[:_MOST_AMOUNTS], "amounts")
    found |= dict.fromkeys(events[:_MOST_EVENTS], "events")
    found |= dict.fromkeys(ratings[:1], "ratings")
    if values is None:
        return found
    return {name: kind for name, kind in found.items() if _fits_kind(kind, values(name))}


def _fits_kind(kind: WatchedKind, values: Sequence[object]) -> bool:
    """Whether sample values of a column are compatible with a kind."""
    if any(isinstance(value, list | dict) for value in values):
        return False
    return kind not in _MOST or len({str(value) for value in values}) <= _MOST[kind]


def watched_roles(columns: Iterable[str]) -> dict[str, str]:
    """Watched columns by the names that they have in tables while they are counted."""
    return {f"{_PREFIX}{column}": column for column in columns}


def is_watched_role(role: str) -> bool:
    """Whether a column of a table is one that is only watched."""
    return role.startswith(_PREFIX)


# -------------------------------------------------------------------------------- counting


class Watching:
    """Counts of the values in watched columns of Arrow arrays, one batch of rows at a time.

    Args:
        columns: the watched columns and their kinds, from `watched_columns`.
    """

    def __init__(self, columns: Mapping[str, WatchedKind]) -> None:
        self._columns = dict(columns)
        self._rows = 0
        self._values = {name: Counter[str]() for name, kind in columns.items() if kind in _MOST}
        self._signs = {name: Counter[str]() for name, kind in columns.items() if kind not in _MOST}

    def add(self, arrays: Sequence[pa.Array]) -> None:
        """Count the values of a batch of rows; ``arrays`` are all watched columns, in order."""
        self._rows += len(arrays[0]) if arrays else 0
        for (name, kind), array in zip(self._columns.items(), arrays, strict=True):
            values = plain(array)
            if kind not in _MOST:
                numbers = _numbers(values)
                self._signs[name]["below"] += pc.sum(pc.less(numbers, 0)).as_py() or 0
                self._signs[name]["zero"] += pc.sum(pc.equal(numbers, 0)).as_py() or 0
            elif len(self._values[name]) <= _MOST[kind] + len(WORDS_FOR_NOTHING):
                for pair in pc.value_counts(values):
                    if (value := pair["values"]).is_valid:
                        self._values[name][_written(value.as_py())] += pair["counts"].as_py()

    def found(self) -> tuple[Watched, ...]:
        """The counts of all columns whose values fit their kind."""
        both = [
            _amounts_record(name, self._rows, self._signs[name]["below"], self._signs[name]["zero"])
            if kind not in _MOST
            else _values_record(name, kind, self._rows, self._values[name])
            for name, kind in self._columns.items()
        ]
        return tuple(watched for watched in both if watched is not None)


def _numbers(values: pa.Array) -> pa.Array:
    """The values of a column as float64; null for booleans and for text that does not look like a number."""
    if pa.types.is_boolean(values.type):
        return pa.nulls(len(values), pa.float64())
    if not is_text(values.type):
        return values.cast(pa.float64(), safe=False)  # rounding keeps the sign
    texts = pc.replace_substring(pc.utf8_trim_whitespace(values.cast(pa.large_string())), ",", ".")
    return pc.if_else(pc.match_substring_regex(texts, f"^(?:{_NUMBER})$"), texts, None).cast(pa.float64())


def _written(value: object) -> str:
    """A value as text, the same for all engines: ``true`` or ``false``, and numbers without a zero fraction."""
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return f"{float(text):.15g}" if re.fullmatch(r"[+-]?\d{1,15}(\.\d*)?", text) else text


def _amounts_record(name: str, rows: int, below: int, zero: int) -> Watched | None:
    return Watched(kind="amounts", name=shortened(name), rows=rows, below=below, zero=zero)


def _values_record(name: str, kind: WatchedKind, rows: int, counts: Mapping[str, int]) -> Watched | None:
    """The record of a column of events or ratings; None if it has no values or too many, or ratings are not numbers."""
    kept = Counter[str]()
    for value, count in counts.items():
        if value not in ("", *WORDS_FOR_NOTHING):
            kept[value.replace(",", ".") if kind == "ratings" else value] += count
    if not 0 < len(kept) <= _MOST[kind]:
        return None
    if kind == "ratings" and not all(re.fullmatch(_NUMBER, value) for value in kept):
        return None
    values = tuple((shortened(value), count) for value, count in _most_frequent_first(kept))
    return Watched(kind=kind, name=shortened(name), rows=rows, values=values)


def watched_in_table(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, WatchedKind]
) -> tuple[Watched, ...]:
    """Counts of the watched columns of the text table ``log``."""
    if not columns:
        return ()
    [(rows,)] = connection.execute("SELECT count(*) FROM log").fetchall()
    both = [
        _signs_in_table(connection, name, rows)
        if kind not in _MOST
        else _values_record(name, kind, rows, _values_in_table(connection, name, kind))
        for name, kind in columns.items()
    ]
    return tuple(watched for watched in both if watched is not None)


def _signs_in_table(connection: duckdb.DuckDBPyConnection, name: str, rows: int) -> Watched | None:
    column = sql_name(f"{_PREFIX}{name}")
    value = f"replace(trim({column}), ',', '.')"
    number = f"CASE WHEN regexp_full_match({value}, {sql_text(_NUMBER)}) THEN try_cast({value} AS DOUBLE) END"
    # Group by value first: there are few distinct values, and parsing numbers takes longest.
    query = (
        "SELECT sum(n) FILTER (number < 0), sum(n) FILTER (number = 0) FROM "  # noqa: S608 - names are quoted
        f"(SELECT {number} AS number, n FROM (SELECT {column}, count(*) AS n FROM log GROUP BY {column}))"
    )
    [(below, zero)] = connection.execute(query).fetchall()
    return _amounts_record(name, rows, int(below or 0), int(zero or 0))


def _values_in_table(
    connection: duckdb.DuckDBPyConnection, name: str, kind: WatchedKind
) -> Mapping[str, int]:
    column, most = sql_name(f"{_PREFIX}{name}"), _MOST[kind] + len(WORDS_FOR_NOTHING) + 2
    query = f"SELECT {column}, count(*) FROM log WHERE {column} IS NOT NULL GROUP BY {column} LIMIT {most}"  # noqa: S608 - quoted
    counts = Counter[str]()
    for value, count in connection.execute(query).fetchall():
        counts[_written(value)] += count
    return counts


def watched_in_frame(frame: nw.LazyFrame[Any], columns: Mapping[str, WatchedKind]) -> tuple[Watched, ...]:
    """Counts of the watched columns of a lazy frame, computed by its own engine.

    Args:
        frame: the rows; each watched column is named by its number.
        columns: the watched columns, in the order of these numbers.
    """
    both: list[Watched | None] = []
    for number, (name, kind) in enumerate(columns.items()):
        column = str(number)
        counted = frame.group_by(column).agg(nw.len().alias("rows")).collect("pyarrow").to_native()
        values, sizes = counted[column].combine_chunks(), counted["rows"].combine_chunks()
        rows = pc.sum(sizes).as_py() or 0
        if kind in _MOST:
            counts = Counter[str]()
            for value, count in zip(values.to_pylist(), sizes.to_pylist(), strict=True):
                if value is not None:
                    counts[_written(value)] += count
            both.append(_values_record(name, kind, rows, counts))
        else:
            numbers = _numbers(plain(values))
            below, zero = (pc.sum(sizes.filter(sign(numbers, 0))).as_py() for sign in (pc.less, pc.equal))
            both.append(_amounts_record(name, rows, below or 0, zero or 0))
    return tuple(watched for watched in both if watched is not None)


def watched_in_all(parts: Sequence[Sequence[Watched]]) -> tuple[Watched, ...]:
    """Counts of the watched columns of several files of one log, added up by column."""
    by_name: dict[tuple[WatchedKind, str], list[Watched]] = {}
    for part in parts:
        for watched in part:
            by_name.setdefault((watched.kind, watched.name), []).append(watched)
    return tuple(_added_up(found) for found in by_name.values())


def _added_up(parts: Sequence[Watched]) -> Watched:
    counts = Counter[str]()
    for part in parts:
        counts.update(dict(part.values))
    rows, below, zero = (sum(getattr(part, name) for part in parts) for name in ("rows", "below", "zero"))
    return parts[0].model_copy(
        update={"rows": rows, "below": below, "zero": zero, "values": tuple(_most_frequent_first(counts))}
    )


def _most_frequent_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
