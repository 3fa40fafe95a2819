"""Business rules of a request, on columns of items: filters, boosts of scores, and caps on items of the same kind.

    filter     {"category": ["dairy", "bread"], "available": true, "price": {"max": 10}}
    boost      [{"where": {"brand": "own"}, "factor": 1.5}, {"where": {"price": {"min": 50}}, "add": -0.3}]
    diversify  {"category": 2}

A condition on a column is a value, a list of values of which the item must have one (null matches items without a
value), or an object with ``min``, ``max`` (both inclusive) and ``not`` (a list of values that the item must not have).
All conditions must hold. An item without a value matches no value and no bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mclrec.errors import ConfigError, quoted, unknown_name
from mclrec.inference.item_facts import BoolArray, FactColumn, ItemFacts

__all__ = ["LARGEST", "Boost", "Condition", "Rules", "matching"]

Value = str | int | float | bool | None

_COLUMNS, _BOOSTS, _VALUES = 16, 16, 1000
"""Maximum numbers of columns in a rule, of boosts, and of values in a list."""

_LONGEST = 512  # characters of a value or name

LARGEST = 1e6
"""The largest factor and amount of a boost; the smallest factor is its reciprocal."""

_BOUNDS = ("min", "max", "not")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on an item's value in a column.

    Attributes:
        column: name of the column.
        values: accepted values; None for any. None among them matches items without a value.
        without: refused values.
        low: smallest accepted value; None for no bound.
        high: largest accepted value; None for no bound.
    """

    column: str
    values: tuple[Value, ...] | None = None
    without: tuple[Value, ...] = ()
    low: Value = None
    high: Value = None


@dataclass(frozen=True, slots=True)
class Boost:
    """A change to the scores of items for which all conditions hold: times ``factor``, then plus ``add``."""

    where: tuple[Condition, ...]
    factor: float = 1.0
    add: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Well-formed rules as they were given, not yet checked against the columns and values of a table.

    Attributes:
        filter: conditions on items that may be listed.
        boost: changes to scores.
        diversify: pairs of a column and the maximum number of items listed that share a value of it.
    """

    filter: tuple[Condition, ...] = ()
    boost: tuple[Boost, ...] = ()
    diversify: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, filter: Any = None, boost: Any = None, diversify: Any = None) -> Rules | None:  # noqa: A002
        """Parse rules given as Python or JSON values; None if nothing is given.

        Raises:
            ConfigError: a rule is malformed, or exceeds a limit.
        """
        if filter is None and boost is None and diversify is None:
            return None
        return cls(
            () if filter is None else _conditions("filter", filter),
            () if boost is None else _boosts(boost),
            () if diversify is None else _caps(diversify),
        )

    def check_columns(self, facts: ItemFacts) -> None:
        """Check that the table of items has the columns, with types that rules support.

        Raises:
            ConfigError: a column does not exist (the message suggests the nearest name), or its type is unsupported.
        """
        asked = [("filter", condition.column) for condition in self.filter]
        asked += [("boost", condition.column) for boost in self.boost for condition in boost.where]
        asked += [("diversify", name) for name, _ in self.diversify]
        for place, name in asked:
            if name not in facts.columns:
                raise ConfigError(f"{place}: {unknown_name('column of items', name, facts.columns)}")
            column = facts.columns[name]
            if column.kind == "other":
                raise ConfigError(
                    f"{place}: column {quoted(name)} holds {column.described}, which rules cannot use"
                )


def matching(conditions: Sequence[Condition], facts: ItemFacts, place: str) -> BoolArray:
    """(V + 1,) mask of the items for which all conditions hold.

    Args:
        conditions: on columns that exist.
        facts: the table of items.
        place: name of the rule that has the conditions, for messages.

    Raises:
        ConfigError: a value is not of the column's type, or no item has it.
    """
    mask = np.ones(facts.num_items + 1, dtype=bool)
    for one in conditions:
        column, where = facts.columns[one.column], f"{place}: {one.column}"
        if one.values is not None:
            mask &= _having(column, one.values, where)
        if one.without:
            mask &= ~_having(column, one.without, where)
        if one.low is not None or one.high is not None:
            mask &= _within(column, one, where)
    mask[0] = False
    return mask


def _having(column: FactColumn, values: Iterable[Value], where: str) -> BoolArray:
    """Mask of the items that have one of the values."""
    mask = np.zeros(len(column.there), dtype=bool)
    given = []
    for value in values:
        if value is None:
            mask |= ~column.there
        else:
            given.append(_stored(column, value, where))
    if given:
        mask |= column.there & np.isin(column.values, np.array(given, dtype=column.values.dtype))
    return mask


def _stored(column: FactColumn, value: Value, where: str) -> Any:
    """A value as the column stores it: text as an index into ``words``.

    Raises:
        ConfigError: the value is of another type, or no item has it.
    """
    _check_kind(column, value, where)
    if isinstance(value, str):
        if value not in column.places:
            near = column.nearest(value)
            raise ConfigError(
                f"{where}: no item has {quoted(value)}" + (f"; did you mean {quoted(near)}?" if near else "")
            )
        return column.places[value]
    if column.kind == "number" and not (column.there & (column.values == value)).any():
        have = column.values[column.there]
        near = f"; the nearest is {have[np.argmin(np.abs(have - float(value or 0)))]}" if len(have) else ""
        raise ConfigError(f"{where}: no item has {quoted(value)}{near}")
    return value


def _within(column: FactColumn, condition: Condition, where: str) -> BoolArray:
    """Mask of the items that have a value within the bounds."""
    mask = column.there.copy()
    for bound, lower in ((condition.low, True), (condition.high, False)):
        if bound is None:
            continue
        _check_kind(column, bound, where)
        if column.kind == "flag":
            raise ConfigError(f"{where}: holds true and false, which have no min and max")
        limit: Any = bound
        if isinstance(bound, str):  # by code points, so that ISO dates as text are in order
            words = np.array(column.words, dtype=object)
            limit = int(np.searchsorted(words, bound, side="left" if lower else "right")) - (not lower)
        mask &= (column.values >= limit) if lower else (column.values <= limit)
    return mask


def _check_kind(column: FactColumn, value: Value, where: str) -> None:
    """Check that a value is of the column's type.

    Raises:
        ConfigError: it is not.
    """
    kind = "flag" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    if kind != column.kind:
        holds = {"flag": "true and false", "text": "text", "number": "numbers"}[column.kind]
        raise ConfigError(f"{where}: holds {holds}, not {quoted(value)}")


def _conditions(place: str, given: Any) -> tuple[Condition, ...]:
    """Parse conditions given by column.

    Raises:
        ConfigError: they are malformed.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{place}: should be conditions by column, such as {{'category': ['dairy']}}, not {quoted(given)}"
        )
    _at_most(place, "columns", given, _COLUMNS)
    return tuple(_condition(place, _name(place, name), wanted) for name, wanted in given.items())


def _condition(place: str, name: str, wanted: Any) -> Condition:
    where = f"{place}: {name}"
    if isinstance(wanted, Mapping):
        for key in wanted:
            if key not in _BOUNDS:
                raise ConfigError(f"{where}: {unknown_name('key', key, _BOUNDS)}")
        low, high = (_value(where, wanted.get(key)) for key in ("min", "max"))
        without = _values(f"{where}: not", wanted["not"]) if "not" in wanted else ()
        if low is None and high is None and not without:
            raise ConfigError(f"{where}: needs min, max or not")
        return Condition(name, None, without, low, high)
    return Condition(name, _values(where, wanted))


def _values(where: str, given: Any) -> tuple[Value, ...]:
    """Parse a value or a list of values into a tuple."""
    if not isinstance(given, list | tuple | set | frozenset):
        return (_value(where, given),)
    if not given:
        raise ConfigError(f"{where}: has no values; leave it out, or give some")
    _at_most(where, "values", given, _VALUES)
    if isinstance(given, set | frozenset):
        given = sorted(given, key=repr)  # the order of a set differs between processes
    return tuple(_value(where, one) for one in given)


def _value(where: str, given: Any) -> Value:
    """Convert a value to a plain Python one.

    Raises:
        ConfigError: it is not text, a number or a boolean, or it is too long or too large.
    """
    value = _plain(given)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ConfigError(
        f"{where}: should be text, a number, true or false, a list of these, or an object with min, max or not; not "
        f"{quoted(given)}"
    )


def _plain(given: Any) -> Any:
    """A scalar of NumPy as a plain Python one; a single-precision number as the double of its decimal digits."""
    if isinstance(given, np.floating):
        return float(str(given))
    return given.item() if isinstance(given, np.generic) else given


def _boosts(given: Any) -> tuple[Boost, ...]:
    """Parse boosts, in their order.

    Raises:
        ConfigError: they are malformed.
    """
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        raise ConfigError(
            f"boost: should be a list such as [{{'where': {{'brand': 'own'}}, 'factor': 1.5}}], not {quoted(given)}"
        )
    _at_most("boost", "entries", given, _BOOSTS)
    return tuple(_boost(one) for one in given)


def _boost(given: Any) -> Boost:
    if not isinstance(given, Mapping):
        raise ConfigError(f"boost: should be an object with where, and factor or add, not {quoted(given)}")
    for key in given:
        if key not in ("where", "factor", "add"):
            raise ConfigError(f"boost: {unknown_name('key', key, ('where', 'factor', 'add'))}")
    if not given.get("where") or ("factor" not in given and "add" not in given):
        raise ConfigError("boost: needs where, and factor or add")
    factor, add = (_number(key, given.get(key, default)) for key, default in (("factor", 1.0), ("add", 0.0)))
    if not 1 / LARGEST <= factor <= LARGEST:
        raise ConfigError(f"boost: factor = {factor:g}: should be within 0.000001 and 1000000")
    if abs(add) > LARGEST:
        raise ConfigError(f"boost: add = {add:g}: should be within -1000000 and 1000000")
    return Boost(_conditions("boost", given["where"]), factor, add)


def _number(key: str, given: Any) -> float:
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ConfigError(f"boost: {key} = {quoted(given)}: should be a number")
    return float(value)


def _caps(given: Any) -> tuple[tuple[str, int], ...]:
    """Parse the maximum number of items per value, by column.

    Raises:
        ConfigError: it is malformed.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"diversify: should be a number by column, such as {{'category': 2}}, not {quoted(given)}"
        )
    _at_most("diversify", "columns", given, _COLUMNS)
    for name, most in given.items():
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or not 1 <= most < 2**31:
            raise ConfigError(
                f"diversify: {quoted(name)} = {quoted(most)}: should be a number of items, 1 or more"
            )
    return tuple((_name("diversify", name), int(most)) for name, most in given.items())


def _name(place: str, given: Any) -> str:
    if not isinstance(given, str) or len(given) > _LONGEST:
        raise ConfigError(f"{place}: {quoted(given)} is not the name of a column")
    return given


def _at_most(place: str, what: str, given: Any, most: int) -> None:
    if len(given) > most:
        raise ConfigError(f"{place}: has {len(given)} {what}: at most {most}")
