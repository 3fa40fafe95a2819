"""Rules compiled for the items of a model: arrays by dense id, made once for all requests with the same rules."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.errors import ConfigError
from mclrec.inference.item_facts import BoolArray, ItemFacts
from mclrec.inference.queries import Boosts, DenseRules
from mclrec.inference.rules import LARGEST, Boost, Rules, matching

__all__ = ["CompiledRules", "RuleBook"]

_MOST, _ITEMS = 64, 2**22
"""Maximum numbers of compiled rules in the cache, and of items over all of them."""


@dataclass(frozen=True, eq=False, slots=True)
class CompiledRules:
    """Rules compiled for the items of a model.

    Attributes:
        kept: (V + 1,) mask of the items that pass the filter; None if there is no filter.
        allowed: dense ids of these items, sorted.
        left_out: dense ids of the other items.
        dense: rules that engines apply; None if there is nothing but a filter.
        checksum: of the rules and the table; distinguishes unfinished work from that with other rules.
    """

    kept: BoolArray | None
    allowed: IntArray
    left_out: IntArray
    dense: DenseRules | None
    checksum: str = ""

    def narrow(self, excluded: IntArray, allowed: IntArray | None) -> tuple[IntArray, IntArray | None]:
        """Apply the filter to a query's excluded and allowed items.

        The shorter of the two possible lists expresses it, since a long one costs time in each request.
        """
        if self.kept is None:
            return excluded, allowed
        if allowed is not None:
            return excluded, allowed[self.kept[allowed]]
        if len(self.left_out) < len(self.allowed):
            return np.concatenate([excluded, self.left_out]) if len(excluded) else self.left_out, None
        return excluded, self.allowed


class RuleBook:
    """Compiles rules for a table of items, and caches the most recently used; threads may share it.

    Args:
        facts: the table; None for none.
    """

    def __init__(self, facts: ItemFacts | None = None) -> None:
        self.facts = facts
        self._kept: OrderedDict[str, CompiledRules] = OrderedDict()
        self._lock = threading.Lock()

    def compiled(self, filter: Any, boost: Any, diversify: Any) -> CompiledRules | None:  # noqa: A002
        """Compile rules given as Python or JSON values; None if nothing is given.

        Raises:
            ConfigError: they are malformed, name a column or value that does not exist, or there is no table.
        """
        rules = Rules.of(filter, boost, diversify)
        if rules is None:
            return None
        if self.facts is None:
            raise ConfigError(
                "filter, boost and diversify need a table of items: load the model with items=..., or give --items"
            )
        key = repr(rules)  # 1 and True are equal, but differ in their repr
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _compile(rules, self.facts)
        with self._lock:
            kept = self._kept.setdefault(key, made)
            while len(self._kept) > max(2, min(_MOST, _ITEMS // (self.facts.num_items + 1))):
                self._kept.popitem(last=False)
            return kept


def _compile(rules: Rules, facts: ItemFacts) -> CompiledRules:
    """Compile rules into arrays.

    Raises:
        ConfigError: they name a column or value that does not exist.
    """
    rules.check_columns(facts)
    kept = matching(rules.filter, facts, "filter") if rules.filter else None
    none = np.empty(0, dtype=np.int64)
    allowed, left_out = none, none
    if kept is not None:
        allowed, left_out = np.flatnonzero(kept), np.flatnonzero(~kept[1:]) + 1
    groups = tuple((facts.columns[name].groups, most) for name, most in rules.diversify)
    boosts = _boosts(rules.boost, facts) if rules.boost else None
    dense = DenseRules(boosts, groups) if rules.boost or groups else None
    checksum = hashlib.sha256(f"{facts.checksum} {rules!r}".encode(errors="surrogatepass")).hexdigest()
    return CompiledRules(kept, allowed, left_out, dense, checksum)


def _boosts(boosts: Sequence[Boost], facts: ItemFacts) -> Boosts:
    """Combine all boosts of each item: their factors multiplied, their amounts summed.

    Raises:
        ConfigError: they name a column or value that does not exist, or together exceed the limits of one boost.
    """
    factors, added = np.ones(facts.num_items + 1), np.zeros(facts.num_items + 1)
    for boost in boosts:
        mask = matching(boost.where, facts, "boost")
        factors[mask] *= boost.factor
        added[mask] += boost.add
    if not 1 / LARGEST <= factors.min() <= factors.max() <= LARGEST or np.abs(added).max() > LARGEST:
        raise ConfigError(
            "boost: together, those of one item exceed a factor or an amount of 1000000, or are too small"
        )
    return Boosts.of(factors, added)
