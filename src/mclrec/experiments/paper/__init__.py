"""The values that the paper reports, for comparison."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

__all__ = ["paper_protocol", "table3", "table4"]


@cache
def table3() -> dict[tuple[str, str, str], float]:
    """Values of table 3 by (data, model, metric)."""
    return {
        (row["data"], model, row["metric"]): float(value)
        for row in _rows("table3.csv")
        for model, value in row.items()
        if model not in ("data", "metric")
    }


@cache
def table4() -> dict[tuple[str, str, str], float]:
    """Values of table 4 by (data, letter of the row, metric)."""
    return {
        (row["data"], row["row"], metric): float(row[metric])
        for row in _rows("table4.csv")
        for metric in ("HR@20", "NDCG@20")
    }


def paper_protocol(model: str) -> str:
    """The protocol of a model in the paper's table 3.

    The table mixes both: MCLRec and DuoRec were evaluated by their own code, which keeps seen items (U), the others by
    code that drops them (F).
    """
    return "U" if model in ("mclrec", "duorec") else "F"


def _rows(name: str) -> list[dict[str, str]]:
    text = (files(__name__) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
