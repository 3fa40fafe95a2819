"""Random rules and item tables are refused with one kind of error, or the allowed items obey the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.inference.item_tables import draw_rules, holds, rows_of, write_table

from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError
from mclrec.inference.compiled_rules import RuleBook
from mclrec.inference.item_facts import read_item_facts

pytestmark = pytest.mark.attack

ITEMS = [f"item {number:03d}" for number in range(1, 41)]
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        2**70,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x" * 600,
        "\ud800",
        [],
        {},
        [[]],
        {"min": {}},
    ),
    *(
        [None] * 2000,
        {"not": []},
        {"not": None},
        {"max": "z"},
        "bread",
        ["bread", 7],
        {"where": {}},
        1e308,
        "\x1b[31m",
    ),
)


def test_damaged_tables(attack: Attack, tmp_path: Path) -> None:
    rows, vocabulary = rows_of(ITEMS), Vocabulary(ITEMS)
    for rng in attack.inputs():
        ending = (".parquet", ".csv", ".tsv")[rng.integers(3)]
        path = write_table(tmp_path / f"items{ending}", rows)
        path.write_bytes(damaged(path.read_bytes(), rng))
        try:
            facts = read_item_facts(path, vocabulary)
        except DataError as problem:
            _short(problem, path)
            continue
        _ask(facts, draw_rules(rng))


def test_rules_of_any_form(attack: Attack, tmp_path: Path) -> None:
    path = write_table(tmp_path / "items.parquet", rows_of(ITEMS))
    facts = read_item_facts(path, Vocabulary(ITEMS))
    for rng in attack.inputs():
        rules: Any = draw_rules(rng)
        for _ in range(rng.integers(0, 3)):
            rules = _changed(rules, rng)
        _ask(facts, rules if isinstance(rules, dict) else {"filter": rules})


def test_filters_keep_to_what_they_say(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        rows = rows_of(ITEMS)
        for row in rows:
            for name in ("category", "price", "stock", "available"):
                if rng.random() < 0.1:
                    row[name] = None
        facts = read_item_facts(write_table(tmp_path / "items.parquet", rows), Vocabulary(ITEMS))
        by_item = {row["sku"]: row for row in rows}
        rules = draw_rules(rng)
        compiled = _ask(facts, rules)
        if compiled is not None and rules.get("filter"):
            wanted = [item for item in ITEMS if holds(by_item.get(item, {}), rules["filter"])]
            assert [ITEMS[place - 1] for place in compiled.allowed.tolist()] == wanted


def _ask(facts: Any, rules: dict[str, Any]) -> Any:
    try:
        return RuleBook(facts).compiled(rules.get("filter"), rules.get("boost"), rules.get("diversify"))
    except ConfigError as problem:
        _short(problem, None)
        return None


def _short(problem: Exception, path: Path | None) -> None:
    text = str(problem).replace(str(path), "")
    assert len(text) <= 300, text
    assert text.count("\n") <= 1
    assert "\x1b" not in text


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """A copy of a value with one part, at any depth, replaced by an odd value."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = list(value)[rng.integers(len(value))]
        changed = {**value, name: _changed(value[name], rng)}
        if rng.random() < 0.2:
            changed[str(ODD[rng.integers(len(ODD))])[:700]] = changed.pop(name)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.integers(len(value))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    odd = ODD[rng.integers(len(ODD))]
    return json.loads(json.dumps(odd)) if rng.random() < 0.5 else odd
