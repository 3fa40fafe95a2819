"""Logs on which engines could disagree: ties, repeats, ids that sort differently by code point, UTF-16 and locale."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
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


_MASK = (1 << 64) - 1


def mixed(value: int) -> int:
    """The output function of splitmix64, from its definition."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def hash_of(user: object, item: object, time: int) -> int:
    """The hash that breaks ties."""
    of_user, of_item = (
        int.from_bytes(blake2b(str(value).encode(), digest_size=8).digest(), "little")
        for value in (user, item)
    )
    return mixed(mixed(of_user ^ mixed(time & _MASK)) ^ of_item)


def hard_table(rows: int, users: int, items: int, seed: int = 0, *, text: bool = True) -> pa.Table:
    """A log in random order with many tied times, repeated items, and users and items of uneven frequency."""
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
    """The same log with microsecond timestamps about a day apart from February 1968 (before 1970, with a leap day)."""
    start = int(datetime(1968, 2, 27, tzinfo=UTC).timestamp())
    times = table["time"].to_numpy() * 86_399_999_937 + start * 1_000_000
    return table.set_column(2, "time", pa.array(times, pa.timestamp("us")))


def write_parts(folder: Path, table: pa.Table, parts: int) -> Path:
    """Write the table as a folder of Parquet files, the last of them in a subfolder."""
    size = -(-len(table) // parts)
    for number in range(parts):
        below = folder / "day=2" if number == parts - 1 else folder
        below.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(number * size, size), below / f"part-{number:05d}.parquet")
    return folder
