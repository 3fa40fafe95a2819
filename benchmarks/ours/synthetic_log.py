"""Draw an interaction log and write it as csv. Request: ``path``, ``rows``, ``seed``.

As in real logs, the popularity of items follows Zipf's law and the activity of users is log-normal; a user has 20 rows
on average, an item 100. Rows are in random order, and ids are unrelated to popularity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from benchmarks.child import Document, Request, answer

__all__ = ["measure", "write_log"]

_CHUNK = 1 << 21  # rows drawn at a time
_ROWS_A_USER, _ROWS_AN_ITEM = 20, 100
_FIRST_SECOND, _SECONDS = 1_200_000_000, 500_000_000


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    return write_log(Path(request["path"]), request["rows"], seed=request["seed"])


def write_log(path: Path, rows: int, *, seed: int) -> Document:
    """Write ``rows`` rows of user_id, item_id and timestamp; ids have ten characters, like Amazon's."""
    rng = np.random.default_rng(seed)
    users, items = max(rows // _ROWS_A_USER, 10), max(rows // _ROWS_AN_ITEM, 10)
    activity = _cumulative(rng.lognormal(0.0, 1.0, users))
    popularity = _cumulative(1.0 / rng.permutation(np.arange(1, items + 1)))
    user_names, item_names = _names("A", users), _names("B", items)
    schema = pa.schema({"user_id": user_names.type, "item_id": item_names.type, "timestamp": pa.int64()})
    with pa.csv.CSVWriter(path, schema) as file:
        for start in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - start)
            columns = [
                user_names.take(pa.array(np.searchsorted(activity, rng.random(count)))),
                item_names.take(pa.array(np.searchsorted(popularity, rng.random(count)))),
                pa.array(_FIRST_SECOND + rng.integers(0, _SECONDS, count)),
            ]
            file.write_batch(pa.record_batch(columns, schema=schema))
    return {"rows": rows, "users": users, "items": items, "file_bytes": path.stat().st_size}


def _cumulative(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Upper bound of each index's interval of [0, 1); the last is exactly 1."""
    ends = np.cumsum(weights / weights.sum())
    ends[-1] = 1.0
    return ends


def _names(letter: str, count: int) -> pa.Array:
    """Ids such as ``B00001A2B3``."""
    return pa.array([f"{letter}{number:09X}" for number in range(count)])


if __name__ == "__main__":
    answer(measure)
