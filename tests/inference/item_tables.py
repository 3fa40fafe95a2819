"""An item table with columns of every kind, random rules over it, and a plain reference implementation of rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.vocabulary import OutsideId

CATEGORIES = ["dairy", "bread", "fruit", "007", "été", None]
TABLE_SEED = 4

Pairs = Sequence[tuple[OutsideId, float]]


def rows_of(items: Sequence[OutsideId]) -> list[dict[str, Any]]:
    """Rows for most items, in random order, and one for an item unknown to the model."""
    rng = np.random.default_rng(TABLE_SEED)
    rows = [
        {
            "sku": item,
            "title": f"Title of {item}" if rng.random() < 0.8 else None,
            "category": CATEGORIES[rng.integers(len(CATEGORIES))],
            "price": round(float(rng.uniform(0, 20)), 2) if rng.random() < 0.9 else None,
            "stock": int(rng.integers(0, 4)),
            "available": [True, False, None][rng.choice(3, p=[0.6, 0.3, 0.1])],
            "since": f"2026-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}",
        }
        for item in items
        if rng.random() < 0.95
    ]
    rows.append({**rows[0], "sku": "an item of another shop", "category": "elsewhere"})
    rng.shuffle(rows)
    return rows


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write the rows as Parquet, CSV or TSV, according to the suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    separator = "," if path.suffix == ".csv" else "\t"
    lines = [separator.join(rows[0])]
    lines += [separator.join("" if value is None else str(value) for value in row.values()) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def draw_conditions(rng: np.random.Generator) -> dict[str, Any]:
    """Draw conditions on one to three columns."""

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in rng.choice(len(values), int(rng.integers(1, 4)), replace=False)]

    kinds: dict[str, Any] = {
        "category": [
            some(CATEGORIES),
            "bread",
            None,
            {"not": some(CATEGORIES)},
            {"min": "b", "max": "dairz"},
        ],
        "price": [{"max": 10}, {"min": 5.5, "max": 15}, {"min": 19}, {"not": [None], "max": 12}],
        "stock": [0, [1, 2.0], {"min": 1}, {"not": [3], "min": 0, "max": 2.5}],
        "available": [True, False, [True, None], {"not": [False]}, {"not": False}],
        "since": [{"min": "2026-06-01"}, {"max": "2026-06-30", "min": "2026-02"}],
    }
    names = rng.choice(list(kinds), int(rng.integers(1, 4)), replace=False).tolist()
    return {name: kinds[name][rng.integers(len(kinds[name]))] for name in names}


def draw_rules(rng: np.random.Generator) -> dict[str, Any]:
    """Draw any of the three kinds of rules, or none."""
    rules: dict[str, Any] = {}
    if rng.random() < 0.6:
        rules["filter"] = draw_conditions(rng)
    if rng.random() < 0.6:
        changes = ({"factor": 3}, {"factor": 0.25}, {"add": 0.7}, {"add": -1}, {"factor": 2, "add": 0.1})
        rules["boost"] = [
            {"where": draw_conditions(rng), **changes[rng.integers(len(changes))]}
            for _ in range(rng.integers(1, 4))
        ]
    if rng.random() < 0.6:
        names = rng.choice(["category", "stock", "available"], int(rng.integers(1, 3)), replace=False)
        rules["diversify"] = {str(name): int(rng.integers(1, 5)) for name in names}
    return rules


def holds(row: dict[str, Any], conditions: dict[str, Any]) -> bool:
    """Whether an item's row meets the conditions."""
    for name, wanted in conditions.items():
        value = row.get(name)
        if isinstance(wanted, dict):
            without = wanted.get("not", [])
            if value in (without if isinstance(without, list) else [without]):
                return False
            if ("min" in wanted or "max" in wanted) and (
                value is None
                or ("min" in wanted and value < wanted["min"])
                or ("max" in wanted and value > wanted["max"])
            ):
                return False
        elif value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def plainly(
    ranked: Pairs,
    rows: dict[OutsideId, dict[str, Any]],
    rules: dict[str, Any],
    k: int,
    logits: bool,
    order: Any,
) -> Pairs:
    """Apply rules, one item at a time, to the ranking of all candidates without rules.

    Args:
        ranked: all candidates with their scores.
        rows: rows of the item table, by item.
        rules: the rules as in a query.
        k: length of the list.
        logits: whether scores are logits, rather than counts and weights.
        order: position of an item in the vocabulary, which breaks ties.
    """
    boosted = []
    for item, score in ranked:
        row = rows.get(item, {})
        if not holds(row, rules.get("filter", {})):
            continue
        factor, add = 1.0, 0.0
        for boost in rules.get("boost", []):
            if holds(row, boost["where"]):
                factor *= boost.get("factor", 1.0)
                add += boost.get("add", 0.0)
        if logits:
            score += math.log(factor)
        else:
            score = score * factor if score >= 0 else score / factor
        boosted.append((item, score + add))
    boosted.sort(key=lambda pair: (-pair[1], order(pair[0])))
    found: list[tuple[OutsideId, float]] = []
    held: Counter[tuple[str, Any]] = Counter()
    for item, score in boosted:
        row = rows.get(item, {})
        keys = [(name, row[name]) for name in rules.get("diversify", {}) if row.get(name) is not None]
        if len(found) < k and all(held[key] < rules["diversify"][key[0]] for key in keys):
            held.update(keys)
            found.append((item, score))
    return found
