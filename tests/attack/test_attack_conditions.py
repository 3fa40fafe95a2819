"""Random `where` conditions are refused in a line or select the same rows of text and typed data, and write nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.attack.inputs import Attack
from tests.attack.logs_made import read_or_refused

from mclrec.data.loading import prepare
from mclrec.data.origin import Reading
from mclrec.errors import ConfigError

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")]

_TEXTS = ["view", "purchase", "", "NA", "4", "007", "4.50", "2024-01-02", "it's", "nan", "1e3", "é", "-0"]
_CONSTANTS = ["3", "4.5", "-1", "1e2", "0", "NULL", "TRUE", "9007199254740993", "'view'", "'4'", "''"]
_CONSTANTS += ["'2024-01-01'", "DATE '2024-01-01'", "'it''s'", "'%e%'", "$$x$$"]
_COLUMNS = ["item", "rating", "event", '"user"', "time", '"a.b"', "a.b", "EVENT", "nothing", "log", "rowid"]
_SIGNS = [
    "=",
    "<>",
    "<",
    ">=",
    "IS DISTINCT FROM",
    "LIKE",
    "NOT ILIKE",
    "+",
    "*",
    "||",
    "AND",
    "OR",
    "~",
    "%",
]
_CALLS = ["lower({})", "length({})", "abs({})", "year({})", "round({}, 1)", "CAST({} AS INTEGER)", "NOT {}"]
_CALLS += ["TRY_CAST({} AS DOUBLE)", "({}) IS NULL", "CASE WHEN {} THEN 1 END", "coalesce({}, 0)", "-({})"]
_CALLS += ["{} IN (1, 'view')", "{} BETWEEN 1 AND 5", "contains({}, 'e')", "date_trunc('month', {})"]
_OUTSIDE = [
    "read_text('{0}')",
    "(SELECT content FROM read_text('{0}'))",
    "getenv('HOME')",
    "random()",
    "sum(item)",
]
_OUTSIDE += ["(FROM log LIMIT 1)", "nextval('x')", "current_setting('memory_limit')", "*", "COLUMNS(*)", "$1"]
_ENDS = [
    "",
    "",
    "",
    ")",
    "(",
    ";",
    "; COPY log TO '{1}'",
    ") --",
    "/*",
    "--",
    "'",
    '"',
    ") OR (TRUE",
    "\0",
    "\n)",
]
_ENDS += [
    ") UNION SELECT (1",
    ") FROM read_csv('{0}') WHERE (TRUE",
    ", 1",
    " ORDER BY 1",
    " := 1",
    "\ud800",
    "\\",
]
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Za-z]+")


def test_conditions(attack: Attack, tmp_path: Path) -> None:
    secret, output = tmp_path / "secret.csv", tmp_path / "copied.csv"
    secret.write_text("view\n")
    for rng in attack.inputs():
        frame = _frame(rng)
        typed = frame.with_columns(pl.col("day").str.to_date())
        frame.write_csv(tmp_path / "log.csv")
        typed.write_parquet(tmp_path / "log.parquet")
        wild = rng.random() < 0.3
        sensible = not wild and rng.random() < 0.8
        where = _sensible(rng, "truth", 3) if sensible else _expression(rng, 3, wild)
        if wild:
            where += str(rng.choice(_ENDS))
        where = where.replace("{0}", str(secret)).replace("{1}", str(output))
        sources: list[Any] = [tmp_path / "log.csv", tmp_path / "log.parquet", typed, typed.lazy()]
        found = [_outcome(source, where) for source in sources]
        assert not output.exists()
        assert len({str(outcome) for outcome in found[1:] if not isinstance(outcome, str)}) <= 1, where
        assert len({isinstance(outcome, str) for outcome in found[1:]}) == 1, (where, found)
        if (
            (sensible or _is_strict(where))
            and not isinstance(found[0], str)
            and not isinstance(found[1], str)
        ):
            assert found[0] == found[1], (where, frame)


def _is_strict(where: str) -> bool:
    """Whether a condition has no explicit cast: the result of a cast depends on the type of its operand."""
    return "CAST" not in where.upper() and "||" not in where and "length" not in where


def _frame(rng: np.random.Generator) -> pl.DataFrame:
    rows = int(rng.integers(1, 20))
    choose: Callable[[list[Any]], list[Any]] = lambda values: [  # noqa: E731
        values[place] for place in rng.integers(len(values), size=rows)
    ]
    return pl.DataFrame(
        {
            "user": choose([1, 2, 3]),
            "item": choose([1, 4, 7, 20]),
            "time": list(range(rows)),
            "rating": pl.Series(choose([1.0, 3.5, 4.0, None]), dtype=pl.Float64),
            "event": pl.Series(choose(_TEXTS[: int(rng.integers(1, len(_TEXTS)))]), dtype=pl.String),
            "a.b": choose([0, 1]),
            "note": pl.Series(choose(["view", "a,b", "NA", "it's", None]), dtype=pl.String),
            "day": pl.Series(choose(["2024-01-01", "2024-01-02", "2023-12-31", None]), dtype=pl.String),
        }
    )


def _expression(rng: np.random.Generator, depth: int, wild: bool) -> str:
    """Random expression, which rarely makes sense."""
    if depth == 0 or rng.random() < 0.2:
        some = _OUTSIDE if wild and rng.random() < 0.2 else _COLUMNS if rng.random() < 0.6 else _CONSTANTS
        return str(rng.choice(some))
    if rng.random() < 0.3:
        return str(rng.choice(_CALLS)).replace("{}", _expression(rng, depth - 1, wild))
    left, right = _expression(rng, depth - 1, wild), _expression(rng, depth - 1, wild)
    return f"({left} {rng.choice(_SIGNS)} {right})"


_GRAMMAR = {
    "truth": [
        *(
            "number < number",
            "number >= number",
            "number = number",
            "number <> NUMBER",
            "number IN (NUMBER, NUMBER)",
        ),
        *(
            "number BETWEEN NUMBER AND number",
            "text = TEXT",
            "text <> TEXT",
            "text IN (TEXT, TEXT)",
            "text LIKE PATTERN",
        ),
        *(
            "text NOT ILIKE PATTERN",
            "contains(text, TEXT)",
            "starts_with(text, TEXT)",
            "regexp_matches(text, TEXT)",
        ),
        *("(truth AND truth)", "(truth OR truth)", "NOT (truth)", "text IS NULL", "number IS NOT NULL"),
        *(
            "CASE WHEN truth THEN truth ELSE truth END",
            "number IS DISTINCT FROM number",
            "item = '20'",
            "text > TEXT",
        ),
        *("day < '2024-01-03'", "day >= DATE '2024-01-02'", "year(day::DATE) = 2024", "event = note"),
        *("item NOT IN ('4', '7')", "coalesce(rating, number) > number", "nullif(text, TEXT) IS NULL"),
    ],
    "number": [
        *("rating", "rating", "item", "time", '"a.b"', "NUMBER", "(number + number)", "(number * number)"),
        *(
            "abs(number)",
            "length(text)",
            "-(number)",
            "round(number, 1)",
            "coalesce(number, 0)",
            "(number / 2)",
        ),
        *("CASE WHEN truth THEN number END", "TRY_CAST(text AS DOUBLE)", "month(day::DATE)", "floor(number)"),
    ],
    "text": [
        "event",
        "event",
        "note",
        "lower(text)",
        "upper(text)",
        "trim(text)",
        "(text || text)",
        "substring(text, 2)",
    ],
    "NUMBER": ["0", "1", "3", "3.5", "4", "-1", "1e1", "20", "NULL"],
    "TEXT": ["'view'", "'purchase'", "'007'", "'it''s'", "'4'", "'NA'", "'é'", "'e'"],
    "PATTERN": ["'%e%'", "'_i%'", "'4%'", "'%'"],
}
"""Grammar of conditions that make sense."""


def _sensible(rng: np.random.Generator, kind: str, depth: int) -> str:
    forms = _GRAMMAR[kind]
    plain = [form for form in forms if not {"truth", "number", "text"} & set(_WORD.findall(form))]
    form = str(rng.choice(plain if depth <= 0 and plain else forms))
    return _WORD.sub(
        lambda word: _sensible(rng, word[0], depth - 1) if word[0] in _GRAMMAR else word[0], form
    )


def _outcome(source: Any, where: str) -> Any:
    message = ""
    try:
        reading = Reading.of(where=where, min_count=1)
    except ConfigError as problem:
        message = str(problem)
    assert message.count("\n") <= 1
    assert len(message) <= 340
    if message:
        return message
    data = read_or_refused(prepare, source, reading=reading)
    if isinstance(data, str):
        return data
    assert data.intake is not None
    return data.fingerprint, data.times_checksum, [step.left.rows for step in data.intake.steps]
