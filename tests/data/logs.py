"""Logs that engines could disagree on: ties, repeats, and ids whose order differs by code point, UTF-16 and locale."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIGNS = [
    "é",
    "z",
    "A",
    "😀",
    "ﬀ",
    "日本",
    "Ω",
    "a",
    "B",
    "10",
    "9",
    "e\u0301",
    "\U0001f9ea",
    "\uffee",
    " x",
    "İ",
]


def hard_table(rows: int, users: int, items: int, seed: int = 0, *, text: bool = True) -> pa.Table:
    """A log in random order: few moments for many rows, users who take items again, both of uneven frequency."""
    rng = np.random.default_rng(seed)
    of_user = (users * rng.random(rows) ** 2).astype(np.int64)
    of_item = (items * rng.random(rows) ** 3).astype(np.int64)
    times = rng.integers(0, max(rows // 50, 2), rows)
    if not text:
        return pa.table({"user": of_user * 7919 - 10**6, "item": of_item * 104729, "time": times})
    names = [
        pa.array([f"{SIGNS[number % len(SIGNS)]}{number}" for number in range(count)])
        for count in (users, items)
    ]
    return pa.table(
        {"user": names[0].take(pa.array(of_user)), "item": names[1].take(pa.array(of_item)), "time": times}
    )


def at_timestamps(table: pa.Table) -> pa.Table:
    """The same with times to the microsecond, around leap days and before 1970."""
    start = int(datetime(1967, 2, 27).timestamp())
    times = table["time"].to_numpy() * 86_399_999_937 + start * 1_000_000
    return table.set_column(2, "time", pa.array(times, pa.timestamp("us")))


def write_parts(folder: Path, table: pa.Table, parts: int) -> Path:
    """The table as a folder of Parquet files, one of them in a folder below."""
    size = -(-len(table) // parts)
    for number in range(parts):
        below = folder / "day=2" if number == parts - 1 else folder
        below.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(number * size, size), below / f"part-{number:05d}.parquet")
    return folder
