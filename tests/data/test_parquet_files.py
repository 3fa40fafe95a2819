"""Parquet with a checksum: what was written is read back, or the file is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mclrec.data.parquet_files import read_parquet, write_parquet
from mclrec.errors import DataError

TABLE = pa.table({"id": ["a", "mclrec.sha256", "b"], "count": [1, 2, 3]}, metadata={b"about": b"items"})


def test_gives_back_what_it_got_to_any_reader(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_parquet(path, TABLE)
    for found in (read_parquet(path, DataError, "cure"), pq.read_table(path)):
        assert found.equals(TABLE)
        assert found.schema.metadata[b"about"] == b"items"


def test_any_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_parquet(path, TABLE)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in range(len(content)):
        changed = content[place] ^ (1 << int(rng.integers(8)))
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
        with pytest.raises(
            DataError, match=r"table\.parquet: damaged, or not written by mclrec: .*; make it again"
        ):
            read_parquet(path, DataError, "make it again")
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="damaged, or not written by mclrec"):
            read_parquet(path, DataError, "make it again")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_parquet(tmp_path / "none.parquet", DataError, "cure")
    with pytest.raises(DataError, match="is a folder, but should be a regular file"):
        read_parquet(tmp_path, DataError, "cure")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"not written by mclrec: it has no checksum; cure"):
        read_parquet(tmp_path / "other.parquet", DataError, "cure")
