"""RePlay's HitRate, NDCG and MRR on lists that another system wrote.

Request: ``lists`` (csv files of user_id, item_id and rank, by protocol), ``targets`` (csv file of user and item),
``cuts``.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from replay.metrics import MRR, NDCG, HitRate

from benchmarks.child import Document, Request, answer, versions

__all__ = ["measure"]

_NAMES = {"HR": HitRate, "NDCG": NDCG, "MRR": MRR}
_COLUMNS = {"query_column": "user", "item_column": "item", "rating_column": "rating"}


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    targets = pd.read_csv(request["targets"], dtype={"item": str})[["user", "item"]]
    found: dict[str, dict[str, float]] = {}
    for label, path in request["lists"].items():
        lists = pd.read_csv(path, dtype={"item_id": str})
        # RePlay orders by rating: the negated rank serves as rating, so that tied scores stay in RecTools' order.
        rows = pd.DataFrame(
            {"user": lists["user_id"], "item": lists["item_id"], "rating": -lists["rank"].astype(float)}
        )
        found[label] = {}
        for name, kind in _NAMES.items():
            values: dict[str, Any] = kind(request["cuts"], **_COLUMNS)(rows, targets)
            found[label] |= {
                f"{name}@{k}": float(value) for k, value in zip(request["cuts"], values.values(), strict=True)
            }
    return {"metrics": found, "versions": versions(["replay-rec", "numpy", "pandas"])}


if __name__ == "__main__":
    answer(measure)
