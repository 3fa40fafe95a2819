"""Random and damaged category tables are read as a plain loop reads them, or refused with a one-line error."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack

from mclrec.data.item_categories import ItemCategories, read_categories
from mclrec.data.packed import Packed
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import MclrecError
from mclrec.evaluation.beyond_accuracy import ALPHA, calibration, category_diversity

pytestmark = pytest.mark.attack


def random_rows(rng: np.random.Generator, items: Vocabulary) -> list[tuple[str, str]]:
    """Rows of known and unknown items, with empty cells, blanks and separators in categories."""
    ids = [*map(str, items), "unknown", "9999"]
    kinds = ["War", " War", "", "A,b", 'C"d', "é", "7"]
    return [(str(rng.choice(ids)), str(rng.choice(kinds))) for _ in range(rng.integers(1, 30))]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"item": [row[0] for row in rows], "genre": [row[1] for row in rows]}), path)
        return
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([("item", "genre"), *rows])
    path.write_text(text.getvalue(), encoding="utf-8")


def read_or_refused(path: Path, items: Vocabulary) -> ItemCategories | None:
    try:
        return read_categories(path, items)
    except MclrecError as problem:
        text = str(problem)
        assert text.count("\n") <= 1
        assert len(text) <= 300 + len(str(path))
        return None


def test_tables_of_categories(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        count = int(rng.integers(2, 9))
        items = Vocabulary(range(1, count + 1) if rng.random() < 0.5 else [f"i{n}" for n in range(count)])
        rows = random_rows(rng, items)
        path = tmp_path / f"table{rng.choice(['.csv', '.tsv', '.parquet'])}"
        write(path, rows)
        expected = [
            sorted({kind.strip() for own, kind in rows if own == str(item) and kind.strip()})
            for item in items
        ]
        found = read_or_refused(path, items)
        assert (found is None) == (not any(expected))
        if found is not None:
            assert [[found.names[kind] for kind in own] for own in found.of_items.tolist()[1:]] == expected
        path.write_bytes(damaged(path.read_bytes(), rng))
        hurt = read_or_refused(path, items)
        if hurt is not None:  # whatever was read, the measures stay within their bounds
            lists = np.array([rng.permutation(count)[:2] + 1])
            diversity = category_diversity(lists, hurt.of_items)
            distance = calibration(lists, Packed.of([[1, count]]), hurt.of_items)
            assert np.isnan(diversity) or 0 <= diversity <= 1 + 1e-9
            assert np.isnan(distance) or 0 <= distance <= -np.log(ALPHA) + 1e-9
