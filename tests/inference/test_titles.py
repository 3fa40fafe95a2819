"""Item titles: read from text and Parquet, refused if they are inconsistent, and shown by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.helpers import SMALL, assert_file_refused, tiny_data

import mclrec
from mclrec.cli import main
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import MclrecWarning
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.model import Model
from mclrec.inference.titles import read_titles

NUMBERS = Vocabulary([7, 50, 181])
TITLES = ("", "Sieben", "Star Wars, Teil 4", "Die Rückkehr")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'item,title\n181,Die Rückkehr\n50,"Star Wars, Teil 4"\n7,Sieben\n999,Anderes\n'),
        (
            "a.csv",
            '\ufeffid,year,Title\n7,1995, Sieben\n50,1977,"Star Wars, Teil 4"\n181,1983,Die Rückkehr\n',
        ),
        ("a.csv", '7,Sieben\n50,"Star Wars, Teil 4"\n\n181,Die Rückkehr'),  # no header
        ("a.csv", 'key,called\n7,Sieben\n7,Sieben\n7,\n50,"Star Wars, Teil 4"\n181,Die Rückkehr'),
        ("a.TSV", "item\ttitle\r\n7\tSieben\r\n50\tStar Wars, Teil 4\r\n181\tDie Rückkehr\r\n"),
    ],
)
def test_text(name: str, text: str, tmp_path: Path) -> None:
    assert read_titles(write(tmp_path / name, text), NUMBERS) == TITLES


@pytest.mark.parametrize("ids", [[7, 50, 181, 999], ["7", "50", "181", "999"]])
def test_parquet(ids: list[OutsideId], tmp_path: Path) -> None:
    table = pa.table({"item": ids, "year": [1, 2, 3, 4], "name": [*TITLES[1:], None]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_titles(tmp_path / "a.parquet", NUMBERS) == TITLES


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "item,title\n7,Sieben\n7,Acht\n", "item '7' has two titles, 'Sieben' and 'Acht'"),
        ("a.csv", "item,title\nx,Sieben\n", "its first column begins with 'x', the model's items with 7"),
        ("a.csv", "", "begins with nothing"),
        ("a.csv", "7\tSieben\n", "row 1: has 1 column"),
        ("a.xlsx", "7,Sieben\n", "read from .csv, .tsv or .parquet"),
        ("a.parquet", "7,Sieben\n", "titles cannot be read"),
        ("none.csv", None, "No such file"),
    ],
)
def test_what_cannot_be_right_is_refused(name: str, text: str | None, said: str, tmp_path: Path) -> None:
    assert_file_refused(lambda path: read_titles(path, NUMBERS), tmp_path / name, text, said)


def test_items_without_a_title_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "item,title\n50,Star Wars\n")
    with pytest.warns(MclrecWarning, match="2 of 3 items have no title"):
        assert read_titles(path, NUMBERS) == ("", "", "Star Wars", "")


def test_search_finds_titles_and_ids() -> None:
    catalogue = Catalogue(NUMBERS, np.array([0, 1, 2, 3]), TITLES)
    for text, item in (("rückkehr", 3), ("star wa", 2), ("181", 3), ("7", 1)):
        assert catalogue.search(text, 1).items.tolist() == [item]
    assert catalogue.titles_of([2, 3]) == {"50": TITLES[2], "181": TITLES[3]}
    assert Catalogue(NUMBERS, np.array([0, 1, 2, 3])).titles_of([2, 3]) == {}


def test_a_whole_title_or_id_is_before_popular_ones_that_contain_it() -> None:
    catalogue = Catalogue(NUMBERS, np.array([0, 1, 2, 3]), ("", "Part 1", "Part 10", "Part 181"))
    assert catalogue.search("part 1", 1).items.tolist() == [1]
    assert catalogue.search(str(NUMBERS[3]), 1).items.tolist() == [3]


def test_recommend_shows_titles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny_data()
    run = mclrec.train(data, "sasrec", out=tmp_path / "run", epochs=1, progress=False, **SMALL)
    lines = [f"{item},Title of {item}" for item in data.item_ids]
    titles = write(tmp_path / "titles.csv", "\n".join(["item,title", *lines]))

    def say(*more: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["recommend", str(run.directory), "--history", "item 003", "--k", "2", *more])
        assert ended.value.code == 0
        return capsys.readouterr().out

    plain, named = json.loads(say("--json")), json.loads(say("--json", "--titles", str(titles)))
    assert [one["title"] for one in named] == [f"Title of {one['item']}" for one in plain]
    assert [{"item": one["item"], "score": one["score"]} for one in named] == plain
    assert f"Title of {plain[0]['item']}" in say("--titles", str(titles))
    model = Model.load(run.directory, titles=titles)
    assert model.title("item 003") == "Title of item 003"
    assert model.title("no item") is None
    assert Model.load(run.directory).title("item 003") is None
