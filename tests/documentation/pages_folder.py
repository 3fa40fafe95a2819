"""The folder in which the pages' code runs: a small real log, split files, lists and runs, named as on the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tests.cli.conftest import run_main

import mclrec

__all__ = ["prelude", "prepare"]

BUNDLED = Path(mclrec.__file__).parent / "data" / "bundled" / "complete-journey.parquet"
HOUSEHOLDS, ITEMS, LONGEST = 90, 60, 16
ITEM_NAMES = ["11", "42", "7", "A17", "B2", "C3", "C4", "sku-17", "sku-4"]
"""Item names on the pages; the most popular product types are renamed to these."""
RECBOLE_ITEMS = [50, 181, 172, *range(1000, 1000 + ITEMS - 3)]
"""Ids of the same items in a file that stands in for MovieLens, where ids are integers."""
DAY = 86_400
LAST = pd.Timestamp("2026-07-31").value // 10**9
RUNS = {"mine": "sasrec", "shop": "sasrec", "markov": "markov"} | {
    f"{model}-{seed}": name
    for seed in (1, 2)
    for model, name in {"sasrec": "sasrec", "gru": "gru4rec"}.items()
}
"""Runs that the pages mention, and their models."""


def purchases() -> pd.DataFrame:
    """The first households and most popular product types of the bundled log, with the columns named on the pages."""
    rows = pd.read_parquet(BUNDLED).rename(columns={"household_id": "user", "product_type": "item"})
    rows = rows[rows["user"].isin(np.sort(rows["user"].unique())[:HOUSEHOLDS])]
    popular = rows["item"].value_counts(sort=True).sort_index().sort_values(ascending=False, kind="stable")
    kept = popular.index[:ITEMS]
    rows = rows[rows["item"].isin(kept)].copy()
    rows["item"] = rows["item"].replace(dict(zip(kept, ITEM_NAMES, strict=False)))
    rows["time"] = rows["time"].astype("int64") + (LAST - int(rows["time"].max()))
    rows = rows.sort_values(["user", "time", "item"]).groupby("user").tail(LONGEST)
    rows["user"] = "u" + rows["user"].astype(str)
    return pd.DataFrame(
        {
            "user": rows["user"],
            "item": rows["item"],
            "time": rows["time"],
            "sku": rows["item"],
            "customer": rows["user"],
            "country": np.where(rows["user"].str[-1].isin(list("02468")), "DE", "AT"),
            "shop": np.where(rows["user"].str[-2].isin(list("02468")), "north", "south"),
            "event": "purchase",
            "day": pd.to_datetime(rows["time"], unit="s").dt.strftime("%Y-%m-%d"),
            "note": "none",
            "rating": 5,
        }
    )


def prepare(folder: Path) -> None:
    """Fill the folder with all files and runs."""
    rows = purchases()
    earlier = rows[rows["time"] < LAST - 20 * DAY]
    for name, table in {"log": earlier, "events": rows, "newer": rows, "today": rows}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    _put_recbole(folder / "ml-100k.inter", rows)
    (folder / "log").mkdir()
    earlier[["user", "item", "time"]].to_parquet(folder / "log" / "part-1.parquet", index=False)
    _put_parts(folder, rows[["user", "item", "time"]])
    _put_lists(folder, rows)
    for name, model in RUNS.items():
        small = [] if model == "markov" else ["--set", "epochs=1", "--set", "hidden_size=8"]
        seed = name[-1] if name[-1].isdigit() else "1"
        words = ["train", folder / "log.csv", "--model", model, *small, "--seed", seed, "-q"]
        assert run_main(*words, "--out", folder / "runs" / name) == 0
    (folder / "live").symlink_to(Path("runs") / "mine")


def _put_recbole(path: Path, rows: pd.DataFrame) -> None:
    """Write a RecBole file with integer ids that contains the items of the README's history."""
    item = rows["item"].map(dict(zip(rows["item"].value_counts().index, RECBOLE_ITEMS, strict=True)))
    renamed = {
        "user_id:token": rows["user"].str[1:],
        "item_id:token": item,
        "rating:float": 5,
        "timestamp:float": rows["time"],
    }
    pd.DataFrame(renamed).to_csv(path, sep="\t", index=False)


def _put_parts(folder: Path, rows: pd.DataFrame) -> None:
    """Write a ready-made split: each user's last row, the one before it, and the rest."""
    place = rows.groupby("user").cumcount(ascending=False)
    for name, part in {"test": rows[place == 0], "valid": rows[place == 1], "train": rows[place > 1]}.items():
        part.to_csv(folder / f"{name}.csv", index=False)


def _put_lists(folder: Path, rows: pd.DataFrame) -> None:
    """Write another system's lists, items in stock and sold out, categories and titles."""
    items = sorted(rows["item"].unique())
    users = sorted(rows["user"].unique())
    lists = [(user, item, rank) for user in users for rank, item in enumerate(items[:10], start=1)]
    pd.DataFrame(lists, columns=["user", "item", "rank"]).to_csv(folder / "lists.csv", index=False)
    pd.DataFrame({"item": items, "category": [item[0] for item in items]}).to_csv(
        folder / "items.csv", index=False
    )
    rules = {"id": items, "category": "dairy", "available": True, "price": 5.0, "brand": "own"}
    pd.DataFrame(rules).to_parquet(folder / "items.parquet", index=False)
    titles = pd.DataFrame({"id": RECBOLE_ITEMS, "title": [f"Film {item}" for item in RECBOLE_ITEMS]})
    titles.to_csv(folder / "titles.csv", index=False)
    (folder / "sold-out.txt").write_text("C3\n", encoding="utf-8")
    (folder / "in-stock.txt").write_text(
        "".join(f"{item}\n" for item in items if item != "C3"), encoding="utf-8"
    )


def prelude(folder: Path) -> dict[str, Any]:
    """Names that Python blocks use and their pages only mention."""
    in_stock = (folder / "in-stock.txt").read_text(encoding="utf-8").split("\n")[:-1]
    theirs = np.random.default_rng(0).random((3, 50))
    frames = {f"{part}_frame": pd.read_csv(folder / f"{part}.csv") for part in ("train", "valid", "test")}
    return frames | {
        "__name__": "pages",
        "mclrec": mclrec,
        "histories": [["A17"], ["B2", "C3"]],
        "users": ["u1", "u2"],
        "stream": [("u1", ["A17"]), ("u2", ["B2"])],
        "in_stock": lambda user: in_stock,
        "theirs": theirs,
        "ours": theirs + 0.1,
    }
