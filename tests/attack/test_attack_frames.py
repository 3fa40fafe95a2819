"""Random frames of pandas, Polars, PyArrow and DuckDB: the same rows give the same sequences, or all are refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.attack.inputs import Attack
from tests.attack.logs_made import read_or_refused

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare

pytestmark = pytest.mark.attack

_NAMES = [
    "user",
    "item",
    "time",
    "a.b",
    'q"x',
    "*",
    "^.*$",
    "User",
    "ITEM",
    "é",
    "user_id:token",
    "x" * 300,
    "c\n",
]
_ZONES = ["UTC", "Asia/Tokyo", "America/New_York", "Etc/GMT+5"]


def test_frames(attack: Attack) -> None:
    for rng in attack.inputs():
        table, columns = _table(rng)
        found = {kind: _outcome(make(table), columns) for kind, make in _KINDS.items()}
        first = found["pyarrow"]
        for kind, other in found.items():
            assert other == first or (isinstance(other, str) and isinstance(first, str)), (kind, table, found)


def test_pandas_of_all_sorts(attack: Attack) -> None:
    for rng in attack.inputs():
        count = int(rng.integers(0, 12))
        frame = pd.DataFrame({number: _objects(rng, count) for number in range(3)}, dtype=object)
        for number in range(3):
            if rng.random() < 0.5:
                with suppress(UnicodeEncodeError):
                    frame[number] = frame[number].infer_objects()
        names: list[Any] = [
            [0, 1, 2],
            ["user", "item", "time"],
            ["user", "item", "item"],
            [None, 1.5, ("a", 2)],
        ]
        frame.columns = pd.Index(names[rng.integers(len(names))], dtype=object)
        asked = Columns("0", "1", "2") if rng.random() < 0.3 else None
        found = _outcome(frame, asked)
        assert isinstance(found, str) or len(found[0]) > 0


def _outcome(frame: Any, columns: Columns | None) -> Any:
    data = read_or_refused(prepare, frame, min_count=1, columns=columns)
    if isinstance(data, str):
        return data
    return data.fingerprint, data.times_checksum, list(data.item_ids), list(data.user_ids)


_KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "pyarrow": lambda table: table,
    "polars": pl.from_arrow,
    "lazy polars": lambda table: pl.DataFrame(pl.from_arrow(table)).lazy(),
    "pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "duckdb": duckdb.from_arrow,
}


def _table(rng: np.random.Generator) -> tuple[pa.Table, Columns]:
    count = int(rng.choice([0, 1, 2, 30]))
    names = [_NAMES[place] for place in rng.permutation(len(_NAMES))]
    # DuckDB itself renames columns whose names differ only in case.
    names = list({name.lower(): name for name in names}.values())[: rng.integers(3, 7)]
    arrays = [_ids(rng, count), _ids(rng, count), _times(rng, count)]
    arrays += [_times(rng, count) for _ in names[3:]]
    sequence = names[3] if len(names) > 3 and rng.random() < 0.5 else None
    return pa.table(arrays, names=names), Columns(names[0], names[1], names[2], sequence)


def _nulls(rng: np.random.Generator, values: list[Any]) -> list[Any]:
    return [None if rng.random() < 0.1 else value for value in values] if rng.random() < 0.1 else values


def _ids(rng: np.random.Generator, count: int) -> pa.Array:
    numbers = [int(number) for number in rng.integers(0, 6, count)]
    kind = rng.integers(0, 8)
    if kind == 0:
        return pa.array(
            _nulls(rng, numbers), [pa.int8(), pa.uint16(), pa.int32(), pa.uint64()][rng.integers(4)]
        )
    if kind == 1:
        return pa.array([2**63 - 3 + number for number in numbers], pa.uint64())
    if kind == 2:
        return pa.array(_nulls(rng, [float(number) for number in numbers]))
    if kind == 3:
        return pa.array([number + float(rng.choice([0, 0.5, 2.0**53])) for number in numbers])
    if kind == 4:
        return pa.array([Decimal(number) for number in numbers], pa.decimal128(20, int(rng.choice([0, 2]))))
    texts = _nulls(rng, [f"{'é日😀a'[number % 4]}{number}" for number in numbers])
    if kind == 5:
        return pa.array(texts, pa.string()).dictionary_encode()
    if kind == 6:
        return pa.array([number % 2 == 0 for number in numbers])
    return pa.array(texts, [pa.string(), pa.large_string()][rng.integers(2)])


def _times(rng: np.random.Generator, count: int) -> pa.Array:
    numbers = [int(number) for number in rng.integers(-5, 50, count)]
    kind = rng.integers(0, 9)
    if kind == 0:
        return pa.array(_nulls(rng, numbers), [pa.int8(), pa.int32(), pa.int64()][rng.integers(3)])
    if kind == 1:
        return pa.array([number / 4 for number in numbers], [pa.float32(), pa.float64()][rng.integers(2)])
    if kind == 2:
        return pa.array([2**63 - 60 + number for number in numbers], pa.uint64())
    if kind == 3:
        unit = str(rng.choice(["ms", "us", "ns"]))
        zone = str(rng.choice(_ZONES)) if rng.random() < 0.5 else None
        return pa.array([number * 999_999_937 for number in numbers], pa.timestamp(unit, zone))
    if kind == 4:
        return pa.array(numbers, pa.int32()).cast(pa.date32())
    if kind == 5:
        return pa.array([Decimal(number) / 8 for number in numbers], pa.decimal128(20, 3))
    if kind == 6:
        start = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=int(rng.integers(-11, 12)))))
        return pa.array([(start + timedelta(seconds=number)).isoformat() for number in numbers], pa.string())
    if kind == 7:
        return pa.array([str(number) for number in numbers], pa.string())
    return pa.array(
        [float(rng.choice([1.0, 1e30, np.inf, np.nan, -0.0, 0.0])) for _ in numbers], pa.float64()
    )


def _objects(rng: np.random.Generator, count: int) -> list[Any]:
    kinds: list[Any] = [
        1, "1", "a", 1.0, 5.7, None, float("nan"), float("inf"), True, b"x", 2**53 + 1, 2**70, -1, "", Decimal("1.5"),
        datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), pd.NaT, pd.NA, pd.Timestamp("2020"), [1], {"a": 1},
        (1,), object(), np.int64(3), np.float32(2), np.datetime64("2020-01-01"), "\ud800", pd.Timedelta(1), 1j,
    ]  # fmt: skip
    chosen = [kinds[place] for place in rng.integers(0, len(kinds), rng.integers(1, 3))]
    return [chosen[rng.integers(len(chosen))] for _ in range(count)]
