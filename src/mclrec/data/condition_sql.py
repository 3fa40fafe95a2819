"""Compile the syntax tree of a condition to SQL, from allowed nodes and functions only, with strict types.

Columns of text files are text, those of Parquet and frames have types, and a condition has to mean the same for both.
DuckDB's implicit casts are therefore avoided: text that is compared with a number is parsed as a number, and a value
that is not a number is refused. Where the intended type is unclear, as in a comparison of two text columns, the
condition has to contain a cast.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from mclrec.data.condition_words import CASTS, FUNCTIONS, LIKES, NUMBERED, OPERATORS, Kind
from mclrec.data.conditions import Condition, Node, column_word
from mclrec.data.text_tables import sql_text
from mclrec.errors import DataError, quoted

__all__ = ["Check", "Test", "Value", "compiled"]

_NUMBERS = ("integer", "number")
_NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(?i:inf|infinity)\s*"
_NOTHING = r"\s*((?i:nan)|NULL|Null|null|NA|N/A|n/a|<NA>|\\N|None)?\s*"
_MANY_DIGITS = r"\s*[+-]?\d+\s*"
_EXACT = 2**53
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)
_TRUTH = r"\s*(?i:true|false)\s*"

_SIGNS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_CALLED = {"position": "instr"}
_SCHEMAS = (None, "", "main", "pg_catalog", "system")  # DuckDB qualifies some of its own functions
_ORDERS = ("<", ">", "<=", ">=")
_WORDS = {"AND", "OR"}


@dataclass(frozen=True, slots=True)
class Value:
    """An expression: its SQL, its type, its name in messages and, if it is a text constant, its value."""

    sql: str
    kind: Kind
    name: str
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A test that no row may satisfy: its SQL, the SQL of the offending value, and a message about that value."""

    bad: str
    value: str
    what: str


@dataclass(slots=True)
class Test:
    """A condition as SQL: rows are kept if it is true; a row for which one of the checks is true is an error."""

    sql: str = ""
    checks: dict[str, Check] = field(default_factory=dict)


def compiled(condition: Condition, columns: Mapping[str, Value], place: str) -> Test:
    """Compile a condition to SQL.

    Args:
        condition: the parsed condition.
        columns: the expression for each word in it that names a column.
        place: the log, for messages.

    Raises:
        DataError: it contains something that is not allowed, or compares values that cannot be compared.
    """
    writer = _Writer(columns, place)
    try:
        writer.test.sql = writer.truth(writer.value(condition.tree))
    except RecursionError:
        raise DataError(f"{place}: --where: is nested too deeply") from None
    return writer.test


class _Writer:
    def __init__(self, columns: Mapping[str, Value], place: str) -> None:
        self._columns, self._place = columns, place
        self.test = Test()
        self._of: dict[str, Callable[[Node], Value]] = {
            "COLUMN_REF": lambda node: self._columns[column_word(node)],
            "CONSTANT": self._constant,
            "COMPARISON": lambda node: self._comparison(node["type"], node["left"], node["right"]),
            "BETWEEN": self._between,
            "CONJUNCTION": self._conjunction,
            "OPERATOR": self._operator,
            "CASE": self._case,
            "CAST": self._cast,
            "FUNCTION": self._function,
        }

    def value(self, node: Node) -> Value:
        """Compile a node to SQL.

        Raises:
            DataError: the node is of a class that is not allowed.
        """
        write = self._of.get(node["class"])
        if write is None:
            raise self._refused(f"{node['class'].lower()} is not allowed")
        return write(node)

    def truth(self, value: Value) -> str:
        """SQL of a value that has to be a boolean.

        Raises:
            DataError: it has another type.
        """
        if value.kind == "text" and value.constant is None:
            self._check(value, _TRUTH, "is neither true nor false")
            return f"TRY_CAST({value.sql} AS BOOLEAN)"
        if value.kind not in ("boolean", "null"):
            raise self._refused(f"{value.name} is {_A[value.kind]}, not a condition")
        return value.sql

    def _refused(self, what: str) -> DataError:
        return DataError(f"{self._place}: --where: {what}")

    # ---------------------------------------------------------------------------- types

    def _check(self, value: Value, form: str, what: str) -> None:
        """Require that the text of every row has a form, unless it stands for a missing value."""
        forms = f"regexp_full_match({value.sql}, {sql_text(f'{form}|{_NOTHING}')})"
        self._add_check(f"NOT {forms}", value, what)

    def _add_check(self, bad: str, value: Value, what: str) -> None:
        self.test.checks[bad] = Check(f"coalesce({bad}, false)", value.sql, f"{value.name} {{0}} {what}")

    def _number(self, value: Value) -> str:
        if value.kind in (*_NUMBERS, "null"):
            return value.sql
        if value.kind != "text":
            raise self._refused(f"{value.name} is {_A[value.kind]}, where a number is needed")
        if value.constant is not None:
            raise self._refused(
                f"{value.name} is text, where a number is needed; write numbers without quotes"
            )
        self._check(value, _NUMBER, "is not a number; try_cast(... AS DOUBLE) reads such values as NULL")
        large = f"abs(TRY_CAST({value.sql} AS DOUBLE)) >= {_EXACT}"
        self._add_check(
            f"(regexp_full_match({value.sql}, {sql_text(_MANY_DIGITS)}) AND {large})",
            value,
            "has more digits than can be compared as a number; compare it as text in single quotes",
        )
        return f"CASE WHEN regexp_full_match({value.sql}, {sql_text(_NUMBER)}) THEN TRY_CAST({value.sql} AS DOUBLE) END"

    def _time(self, value: Value) -> str:
        if value.kind in ("time", "null"):
            return value.sql
        if value.kind != "text":
            raise self._refused(f"{value.name} is {_A[value.kind]}, where a time is needed")
        # DuckDB would read 31/12/23 as a day of the year 31.
        read = f"CASE WHEN regexp_matches({value.sql}, '^\\s*\\d{{4}}') THEN TRY_CAST({value.sql} AS TIMESTAMP) END"
        nothing = f"regexp_full_match({value.sql}, {sql_text(_NOTHING)})"
        self._add_check(
            f"({value.sql} IS NOT NULL AND NOT {nothing} AND {read} IS NULL)", value, "is not an ISO date"
        )
        return read

    def _text(self, value: Value) -> str:
        if value.kind == "integer":
            return f"CAST({value.sql} AS VARCHAR)"
        if value.kind not in ("text", "null"):
            raise self._refused(
                f"{value.name} is {_A[value.kind]}, where text is needed; cast(... AS VARCHAR) makes it text"
            )
        return value.sql

    def _sql_as(self, kind: Kind, value: Value) -> str:
        if kind in _NUMBERS:
            return self._number(value)
        return {"text": self._text, "time": self._time, "boolean": self.truth}[kind](value)

    def _same(self, values: Sequence[Value]) -> tuple[Kind, list[str]]:
        """The common type of the values, and the SQL of each value in that type."""
        kinds: set[Kind] = {value.kind for value in values if value.kind != "null"}
        order: tuple[Kind, ...] = ("time", "boolean", "number", "integer", "text")
        if kinds == {"integer", "text"}:
            kinds = {"number"}
        kind: Kind = next((kind for kind in order if kind in kinds), "null")
        return kind, [
            value.sql if value.kind in ("null", kind) else self._sql_as(kind, value) for value in values
        ]

    # ---------------------------------------------------------------------------- nodes

    def _constant(self, node: Node) -> Value:
        found = node["value"]
        kind, value = found["type"]["id"], found.get("value")
        if found["is_null"]:
            return Value("NULL", "null", "NULL")
        if kind == "VARCHAR":
            return Value(sql_text(value or ""), "text", quoted(value or ""), value or "")
        if kind == "BOOLEAN":
            return Value(str(bool(value)).upper(), "boolean", str(value))
        if isinstance(value, dict):
            value = (value["upper"] << 64) + value["lower"]
        if kind == "DECIMAL":
            text = format(Decimal(value).scaleb(-found["type"]["type_info"]["scale"]), "f")
            exact = len(str(abs(value))) <= sys.float_info.dig
            return Value(f"({text})" if exact else _double(text), "number", text)
        if kind == "DOUBLE" and isinstance(value, float | int) and math.isfinite(value):
            return Value(_double(repr(float(value))), "number", repr(value))
        if kind in CASTS and CASTS[kind] == "integer":
            return Value(f"({int(value)})", "integer", str(value))
        raise self._refused(f"a constant of type {kind} is not allowed")

    def _comparison(self, kind: str, left: Node, right: Node) -> Value:
        if kind not in _SIGNS:
            raise self._refused(f"{kind.lower()} is not allowed")
        return self._compared(_SIGNS[kind], self.value(left), self.value(right))

    def _compared(self, sign: str, left: Value, right: Value) -> Value:
        one, other = self._alike(sign, left, right)
        return Value(f"({one} {sign} {other})", "boolean", f"{left.name} {sign} {right.name}")

    def _alike(self, sign: str, left: Value, right: Value) -> tuple[str, str]:
        """SQL of two values, each in the type in which they are compared."""
        for value in (left, right):
            if value.constant == "":
                raise self._refused("an empty field is NULL; write IS NULL instead of ''")
        kinds = {left.kind, right.kind}
        if "null" in kinds:
            return left.sql, right.sql
        if kinds == {"text"}:
            return self._texts(sign, left, right)
        if kinds == {"text", "integer"} and sign not in _ORDERS and (left.constant or right.constant):
            return f"CAST({left.sql} AS VARCHAR)", f"CAST({right.sql} AS VARCHAR)"
        for kind in ("time", "boolean", "number"):
            if kind in kinds or (kind == "number" and "integer" in kinds):
                return self._sql_as(kind, left), self._sql_as(kind, right)
        raise self._refused(f"{left.name} and {right.name} cannot be compared")

    def _texts(self, sign: str, left: Value, right: Value) -> tuple[str, str]:
        """SQL of two texts: compared for equality as they are, for order according to what a constant looks like."""
        if sign not in _ORDERS or None not in (left.constant, right.constant):
            return left.sql, right.sql
        constant = left.constant or right.constant
        if constant is None:
            raise self._refused(
                f"{left.name} and {right.name} are text; say what to compare them as, such as "
                f"cast({left.name} AS DOUBLE) {sign} cast({right.name} AS DOUBLE)"
            )
        if _DATE.fullmatch(constant):
            return self._time(left), self._time(right)
        if re.fullmatch(_NUMBER, constant):
            raise self._refused(
                f"'{constant}' is text, but compared with {sign}; write numbers without quotes"
            )
        return left.sql, right.sql

    def _between(self, node: Node) -> Value:
        value = self.value(node["input"])
        lower = self._compared(">=", value, self.value(node["lower"]))
        upper = self._compared("<=", value, self.value(node["upper"]))
        return Value(f"({lower.sql} AND {upper.sql})", "boolean", f"{value.name} between")

    def _conjunction(self, node: Node) -> Value:
        word = node["type"].removeprefix("CONJUNCTION_")
        if word not in _WORDS:
            raise self._refused(f"{word.lower()} is not allowed")
        parts = [self.truth(self.value(child)) for child in node["children"]]
        return Value(f"({f' {word} '.join(parts)})", "boolean", f"a condition with {word}")

    def _operator(self, node: Node) -> Value:
        kind = node["type"]
        values = [self.value(child) for child in node["children"]]
        first = values[0]
        if kind == "OPERATOR_NOT":
            return Value(f"(NOT {self.truth(first)})", "boolean", f"NOT {first.name}")
        if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            return Value(f"({first.sql} {kind[9:].replace('_', ' ')})", "boolean", f"{first.name} is null")
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
            negated = "NOT " if kind == "COMPARE_NOT_IN" else ""
            return Value(f"({negated}{self._in(first, values[1:])})", "boolean", f"{first.name} in")
        if kind == "OPERATOR_COALESCE":
            shared, parts = self._same(values)
            return Value(f"coalesce({', '.join(parts)})", shared, "coalesce")
        raise self._refused(f"{kind.lower()} is not allowed")

    def _in(self, value: Value, others: Sequence[Value]) -> str:
        lists: dict[str, list[str]] = {}
        for other in others:
            one, another = self._alike("=", value, other)
            lists.setdefault(one, []).append(another)
        return "(" + " OR ".join(f"{one} IN ({', '.join(some)})" for one, some in lists.items()) + ")"

    def _case(self, node: Node) -> Value:
        tests = [self.truth(self.value(check["when_expr"])) for check in node["case_checks"]]
        values = [self.value(check["then_expr"]) for check in node["case_checks"]]
        last = self.value(node["else_expr"])
        shared, parts = self._same([*values, last])
        cases = " ".join(f"WHEN {test} THEN {part}" for test, part in zip(tests, parts[:-1], strict=True))
        return Value(f"(CASE {cases} ELSE {parts[-1]} END)", shared, "case")

    def _cast(self, node: Node) -> Value:
        child, kind = self.value(node["child"]), node["cast_type"]["id"]
        if kind not in CASTS:
            raise self._refused(f"a cast to {kind} is not allowed")
        if kind == "DECIMAL":
            info = node["cast_type"]["type_info"] or {"width": 18, "scale": 3}
            kind = f"DECIMAL({int(info['width'])}, {int(info['scale'])})"
        word = "TRY_CAST" if node["try_cast"] else "CAST"
        sql = f"{word}({child.sql} AS {kind})"
        found = CASTS[node["cast_type"]["id"]]
        if found == "time":
            sql = f"CAST({sql} AS TIMESTAMP)"
        return Value(sql, found, f"cast({child.name})")

    def _function(self, node: Node) -> Value:
        name = node["function_name"].lower()
        plain = not (node.get("filter") or node.get("distinct") or node["order_bys"]["orders"])
        if node.get("schema") not in _SCHEMAS or node.get("catalog") not in _SCHEMAS or not plain:
            raise self._refused(f"{name}(...) with anything but plain arguments is not allowed")
        values = [self.value(child) for child in node["children"]]
        if name == "nullif" and len(values) == 2:
            one, other = self._alike("=", *values)
            return Value(
                f"(CASE WHEN {one} = {other} THEN NULL ELSE {values[0].sql} END)", values[0].kind, "nullif"
            )
        if name not in FUNCTIONS:
            raise self._refused(f"the function {quoted(name)} is not allowed")
        takes, gives = FUNCTIONS[name]
        arguments = [self._argument(name, takes, number, value) for number, value in enumerate(values)]
        return Value(_called(name, arguments), gives, f"{name}({', '.join(value.name for value in values)})")

    def _argument(self, name: str, takes: Kind, number: int, value: Value) -> str:
        if name in ("date_part", "datepart", "date_trunc", "datetrunc") and not number:
            return self._text(value)
        if name in NUMBERED and number >= NUMBERED[name]:
            return f"CAST({self._number(value)} AS INTEGER)"
        if name in ("epoch_ms", "make_timestamp"):
            return f"CAST({self._number(value)} AS BIGINT)"
        return self._sql_as(takes, value)


_A: dict[Kind, str] = {
    "text": "text",
    "integer": "a number",
    "number": "a number",
    "time": "a time",
    "boolean": "true or false",
    "null": "NULL",
}


def _called(name: str, arguments: Sequence[str]) -> str:
    """SQL of a function call."""
    if name in LIKES and len(arguments) == 2:
        return f"({arguments[0]} {LIKES[name]} {arguments[1]})"
    if name in OPERATORS:
        return f"({name} {arguments[0]})" if len(arguments) == 1 else f"({f' {name} '.join(arguments)})"
    sql = f"{_CALLED.get(name, name)}({', '.join(arguments)})"
    gives = FUNCTIONS[name][1]
    return f"CAST({sql} AS TIMESTAMP)" if gives == "time" else sql


def _double(text: str) -> str:
    """SQL of a number as exactly that double.

    Without quotes DuckDB reads a decimal, and converts one with many digits with an error in the last bit.
    """
    return f"CAST('{text}' AS DOUBLE)"
