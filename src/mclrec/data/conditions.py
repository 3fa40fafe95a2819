"""Conditions over the columns of a log (``--where``), parsed into DuckDB's syntax tree.

DuckDB only parses the text and executes none of it. The tree has to be a single expression of the nodes and functions
in `mclrec.data.condition_words`; `mclrec.data.condition_sql` generates the SQL that is executed from the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb

from mclrec.data.columns import untyped
from mclrec.data.condition_words import FUNCTIONS, NODES
from mclrec.errors import CONTROLS, ConfigError, DataError, quoted, unknown_name

__all__ = ["Condition", "Node", "column_word", "condition_roles", "is_condition_role", "parsed"]

Node = dict[str, Any]

_WRAPPER = "mclrec_condition"
"""A function that does not exist, called with the expression: text that closes its bracket shows up in the tree."""

_LONGEST = 10_000
_BLANKS = dict.fromkeys(map(ord, "\t\r\n"), " ")
_NAMES = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "*",
    "PARAMETER": "a parameter",
}
_ALLOWED = "columns, constants, comparisons, AND, OR, NOT, IN, BETWEEN, CASE, casts and plain functions"
_ROLE = "where "


@dataclass(frozen=True, eq=False)
class Condition:
    """A parsed condition.

    Attributes:
        text: the text that was given.
        tree: the syntax tree of the expression.
    """

    text: str
    tree: Node

    def columns(self, names: Sequence[str], place: str) -> dict[str, str]:
        """The columns of a log that the condition uses, by the words that name them in it.

        A word is matched exactly, then without RecBole's type at the end of names, then ignoring case.

        Raises:
            DataError: a word matches no column or several, or no word names a column.
        """
        words = list(dict.fromkeys(column_word(node) for node in _nodes(self.tree) if _is_column(node)))
        if not words:
            raise DataError(
                f"{place}: --where {quoted(self.text)} names no column; a column without a name is written as its "
                'position in double quotes, such as "3" >= 4'
            )
        return {word: _column(word, names, place) for word in words}

    def roles(self, names: Sequence[str], place: str) -> dict[str, str]:
        """The same columns without duplicates, by the names that they have in tables while the condition is tested."""
        columns = dict.fromkeys(self.columns(names, place).values())
        return {f"{_ROLE}{number}": column for number, column in enumerate(columns)}


def condition_roles(where: str | None, names: Sequence[str], place: str) -> dict[str, str]:
    """The columns that a condition needs, as `Condition.roles` returns them; empty without a condition."""
    return {} if where is None else parsed(where).roles(names, place)


def is_condition_role(role: str) -> bool:
    """Whether a column of a table is only needed for the condition."""
    return role.startswith(_ROLE)


@lru_cache(maxsize=8)
def parsed(text: str) -> Condition:
    """Parse a condition.

    Raises:
        ConfigError: it is not a single expression, or contains something that is not allowed.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"where: has more than {_LONGEST} characters")
    if CONTROLS.search(text.translate(_BLANKS)):
        raise ConfigError("where: contains a control character, such as NUL")
    found, usual = _select(text), _select("1")
    expressions = found.pop("select_list", [{}])
    usual.pop("select_list")
    call = expressions[0]
    whole = found == usual and len(expressions) == 1 and call.get("function_name") == _WRAPPER
    if not whole or len(call.get("children", ())) != 1 or call != _call(call["children"][0]):
        raise ConfigError("where: is not a single expression over columns of the log")
    tree = call["children"][0]
    _check_words(tree)
    return Condition(text, tree)


def _check_words(tree: Node) -> None:
    """Refuse nodes, aliases and functions that are not allowed in a condition, naming them."""
    for node in _nodes(tree):
        kind = node.get("class")
        if kind is not None and kind not in NODES:
            raise ConfigError(f"where: {_NAMES.get(kind, kind.lower())} cannot be used, only {_ALLOWED}")
        if kind is not None and node.get("alias"):
            raise ConfigError(f"where: the alias {quoted(node['alias'])} cannot be used")
        if kind == "FUNCTION" and node["function_name"].lower() not in FUNCTIONS:
            raise ConfigError(f"where: the function {quoted(node['function_name'])} cannot be used")


def _call(child: Node) -> Node:
    """The tree of a call of `_WRAPPER` with an expression."""
    return {**_select("1")["select_list"][0], "children": [child]}


def _select(text: str) -> Node:
    """The tree of a query that calls `_WRAPPER` with an expression, without positions in the text."""
    query = f"SELECT {_WRAPPER}({text}\n)"
    try:
        with duckdb.connect(config={"enable_external_access": "false"}) as connection:
            [(found,)] = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
        tree = json.loads(found)
    except (duckdb.Error, ValueError, RecursionError, UnicodeError) as problem:
        raise ConfigError(f"where: cannot be parsed: {str(problem).splitlines()[0]}") from None
    if tree.get("error"):
        raise ConfigError(f"where: {tree.get('error_message', 'is not an expression')}")
    if len(tree["statements"]) != 1:
        raise ConfigError("where: is not a single expression over columns of the log")
    try:
        node: Node = _without_locations(tree["statements"][0]["node"])
    except RecursionError:
        raise ConfigError("where: is nested too deeply") from None
    return node


def _without_locations(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_locations(value) for key, value in tree.items() if key != "query_location"}
    return [_without_locations(value) for value in tree] if isinstance(tree, list) else tree


def _nodes(tree: Any) -> Iterator[Node]:
    left = [tree]
    while left:
        value = left.pop(0)
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _is_column(node: Node) -> bool:
    return node.get("class") == "COLUMN_REF"


def column_word(node: Node) -> str:
    """The word that names a column; the parts of a qualified name are joined with dots."""
    return ".".join(node["column_names"])


def _column(word: str, names: Sequence[str], place: str) -> str:
    for form in (str, untyped, lambda name: untyped(name).casefold()):
        found = [name for name in names if form(name) == form(word)]
        if len(found) > 1:
            raise DataError(f"{place}: --where: {len(found)} columns are called {quoted(word)}")
        if found:
            return found[0]
    raise DataError(
        f"{place}: --where: {unknown_name('column', word, names)}; text is written in single quotes"
    )
