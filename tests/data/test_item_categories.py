"""Item categories, read from text and Parquet, several per item; missing and unknown items are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.helpers import assert_file_refused

from mclrec.data.item_categories import read_categories
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError

ITEMS = Vocabulary([7, 50, 181])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_text_with_several_categories_an_item(tmp_path: Path) -> None:
    text = (
        "item,year,genre\n50,1977,Space\n50,1977,War\n50,1977,War\n7,1995, Crime\n9,1990,Drama\n9,1990,War\n"
    )
    found = read_categories(write(tmp_path / "a.csv", text), ITEMS)
    assert found.names == ("Crime", "Space", "War")
    assert found.of_items.tolist() == [[], [0], [1, 2], []]
    assert (found.known, found.unknown) == (2, 1)
    assert found.description == (
        "3 categories for 2 of 3 items, from the column 'genre'; measures by categories leave out the others; "
        "1 item of the table is not in the data"
    )


@pytest.mark.parametrize(
    "values",
    [["a", "b", "b"], [["a"], ["b", ""], ["b", "b"]]],
)
def test_parquet(values: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"item": ["7", "50", "181"], "category": values}), tmp_path / "a.parquet")
    found = read_categories(tmp_path / "a.parquet", ITEMS)
    assert (found.names, found.of_items.tolist()) == (("a", "b"), [[], [0], [1], [1]])
    assert found.description == "2 categories for 3 of 3 items, from the column 'category'"


def test_a_column_that_tells_items_apart_is_asked_about(tmp_path: Path) -> None:
    items = Vocabulary(range(1, 21))
    rows = [f"{number},Item {number},{number % 3}\n" for number in range(1, 21)]
    found = read_categories(write(tmp_path / "a.csv", "".join(["id,label,aisle\n", *rows])), items)
    assert found.description == (
        "20 categories for 20 of 20 items, from the column 'label'; hardly any two items share one: is it the right "
        "column?"
    )
    found = read_categories(write(tmp_path / "b.csv", "".join(["id,label,category\n", *rows])), items)
    assert found.description == "3 categories for 20 of 20 items, from the column 'category'"
    assert read_categories(write(tmp_path / "c.csv", "".join(rows)), items).column is None


def test_numbers_are_categories_and_empty_cells_are_none(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"item": [7, 50, 181], "category": [3.5, None, float("nan")]}), tmp_path / "a.parquet"
    )
    assert read_categories(tmp_path / "a.parquet", ITEMS).names == ("3.5",)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "item,category\nx,War\n", "its first column begins with 'x', the items of the data with 7"),
        ("a.csv", "category,item\nWar,7\n", "has no category for any item of the data"),
        ("a.csv", "item,category\n7,\n", "has no category for any item of the data"),
        ("a.csv", "", "begins with nothing"),
        ("a.csv", "7\n", "row 1: has 1 column; categories need two, the item's id and its category"),
        ("a.xlsx", "7,War\n", "categories are read from .csv, .tsv or .parquet"),
        ("a.parquet", "7,War\n", "categories cannot be read"),
        ("none.csv", None, "No such file"),
    ],
)
def test_what_cannot_be_right_is_refused(name: str, text: str | None, said: str, tmp_path: Path) -> None:
    assert_file_refused(lambda path: read_categories(path, ITEMS), tmp_path / name, text, said)


@pytest.mark.parametrize(
    "columns", [{"item": [7.5], "category": ["a"]}, {"item": [7], "category": [{"a": 1}]}]
)
def test_odd_columns_of_parquet_are_refused(columns: dict[str, list[Any]], tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: "):
        read_categories(tmp_path / "a.parquet", ITEMS)
