"""Item tables in each format, conditions, and error messages for invalid rules."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.inference.item_tables import draw_conditions, holds, rows_of, write_table
from tests.serving.rest.conftest import save_directory

from mclrec.cli import main
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError, MclrecWarning
from mclrec.inference.compiled_rules import RuleBook
from mclrec.inference.item_facts import ItemFacts, read_item_facts
from mclrec.inference.queries import Boosts
from mclrec.inference.rules import Rules, matching

ITEMS = [f"item {number:03d}" for number in range(1, 121)]
ROWS = rows_of(ITEMS)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ItemFacts:
    path = write_table(tmp_path_factory.mktemp("table") / "items.parquet", ROWS)
    with pytest.warns(MclrecWarning, match=r"items.parquet: \d of 120 items have no row"):
        return read_item_facts(path, Vocabulary(ITEMS))


@pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_text_is_read_as_parquet_is(ending: str, facts: ItemFacts, tmp_path: Path) -> None:
    found = read_item_facts(write_table(tmp_path / f"items{ending}", ROWS), Vocabulary(ITEMS))
    assert found.titles == facts.titles
    assert found.columns.keys() == facts.columns.keys()
    for name, column in facts.columns.items():
        other = found.columns[name]
        assert (other.kind, other.words) == (column.kind, column.words)
        assert other.there.tolist() == column.there.tolist()
        assert other.values[other.there].tolist() == column.values[column.there].tolist()
    assert facts.columns["category"].words == ("007", "bread", "dairy", "fruit", "été")
    assert [facts.columns[name].kind for name in ("price", "stock", "available", "since")] == [
        "number",
        "number",
        "flag",
        "text",
    ]


@pytest.mark.parametrize("seed", range(60))
def test_conditions_hold_as_written_plainly(seed: int, facts: ItemFacts) -> None:
    conditions = draw_conditions(np.random.default_rng(seed))
    rules = Rules.of(conditions)
    assert rules is not None
    mask = matching(rules.filter, facts, "filter")
    rows = {row["sku"]: row for row in ROWS}
    assert mask[1:].tolist() == [holds(rows.get(item, {}), conditions) for item in ITEMS]
    assert not mask[0]


def test_parquet_of_all_types(tmp_path: Path) -> None:
    ids = pa.array([3, 1, 2])
    day = dt.date(2026, 5, 1)
    columns = {
        "id": ids,
        "large": pa.array([2**60 + 1, 2**60, None]),
        "unsigned": pa.array([2**63, 1, 2], pa.uint64()),
        "money": pa.array(["1.50", "2.25", None]).cast(pa.decimal128(9, 2)),
        "kind": pa.array(["a", "b", None]).dictionary_encode(),
        "day": pa.array([day, None, day.replace(month=6)]),
        "tags": pa.array([["x"], [], None]),
        "nothing": pa.nulls(3),
        "nan": pa.array([float("nan"), 1.0, None]),
        "single": pa.array([10.1, 9.99, None], pa.float32()),
        "half": pa.array(np.array([10.1, 0.3, 7], np.float16)),
        "wait": pa.array([100, 5, None], pa.duration("s")),
    }
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    book = RuleBook(read_item_facts(tmp_path / "items.parquet", Vocabulary([1, 2, 3, 4][:3])))

    def passing(**conditions: Any) -> list[int]:
        compiled = book.compiled(conditions, None, None)
        assert compiled is not None
        found: list[int] = compiled.allowed.tolist()
        return found

    assert passing(large=2**60) == [1]  # a double could not distinguish them
    assert passing(large={"min": 2**60 + 1}) == [3]
    assert passing(unsigned={"min": 1e18}) == [3]
    assert passing(money={"max": 1.5}) == [3]
    for ten in (10.1, np.float32(10.1)):  # a double of 10.1 is not one of the single-precision number
        assert passing(single=ten) == passing(single={"min": ten}) == [3]
        assert passing(single={"max": ten}) == [1, 3]
    assert passing(half={"max": 10.1}) == [1, 2, 3]
    assert passing(half=0.3) == [1]
    with pytest.raises(ConfigError, match=r"column 'wait' holds duration\[s\], which rules cannot use"):
        passing(wait={"max": "50"})  # as text, 100 would be less
    assert passing(kind=["b", None]) == [1, 2]
    assert passing(day={"min": "2026-05-02"}) == [2]
    assert passing(nothing=None) == [1, 2, 3]
    assert passing(nan=None) == [2, 3]
    with pytest.raises(ConfigError, match=r"column 'tags' holds list<.*>, which rules cannot use"):
        passing(tags="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("", "has no column besides the item ids"),
        ("sku\na", "has no column besides the item ids"),
        ("sku,a,a\nitem 001,1,2", "has two columns called 'a'"),
        ("sku,a\nitem 001,1\nitem 001,2", "item 'item 001' has two rows"),
        ("sku,a\nitem 001,1,2", "row 2: has 3 values, but the first row has 2 names"),
        ("sku,a\nx,1", "has no row for an item of the model; its first column begins with 'x'"),
        ("sku,a\n", "its first column begins with nothing"),
    ],
)
def test_tables_that_are_none(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_item_facts(path, Vocabulary(ITEMS))
    assert said in str(refused.value)
    (tmp_path / "items.txt").write_text("x")
    with pytest.raises(DataError, match=r"read from .csv, .tsv or .parquet"):
        read_item_facts(tmp_path / "items.txt", Vocabulary(ITEMS))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"filter": {"categry": "bread"}},
            "filter: unknown column of items 'categry'; did you mean 'category'?",
        ),
        ({"filter": {"category": ["bred"]}}, "filter: category: no item has 'bred'; did you mean 'bread'?"),
        ({"filter": {"category": 7}}, "filter: category: holds text, not 7"),
        ({"filter": {"price": "cheap"}}, "filter: price: holds numbers, not 'cheap'"),
        ({"filter": {"price": True}}, "filter: price: holds numbers, not True"),
        ({"filter": {"stock": 9}}, "filter: stock: no item has 9; the nearest is 3"),
        ({"filter": {"available": "true"}}, "filter: available: holds true and false, not 'true'"),
        ({"filter": {"available": {"min": True}}}, "have no min and max"),
        ({"filter": {"price": {"maximum": 1}}}, "filter: price: unknown key 'maximum'; did you mean 'max'?"),
        ({"filter": {"price": {}}}, "filter: price: needs min, max or not"),
        ({"filter": {"price": []}}, "filter: price: has no values"),
        ({"filter": {"price": {"max": 9, "not": []}}}, "filter: price: not: has no values; leave it out"),
        ({"filter": {"price": float("nan")}}, "filter: price: should be text, a number"),
        ({"filter": {"price": [[1]]}}, "filter: price: should be text, a number"),
        ({"filter": ["bread"]}, "filter: should be conditions by column"),
        ({"filter": {7: 1}}, "filter: 7 is not the name of a column"),
        ({"filter": {"stock": list(range(1001))}}, "filter: stock: has 1001 values: at most 1000"),
        ({"boost": [{"where": {"stock": 1}}]}, "boost: needs where, and factor or add"),
        ({"boost": [{"where": {}, "factor": 2}]}, "boost: needs where, and factor or add"),
        ({"boost": [{"where": {"stock": 1}, "factor": 0}]}, "boost: factor = 0: should be within"),
        ({"boost": [{"where": {"stock": 1}, "add": "x"}]}, "boost: add = 'x': should be a number"),
        ({"boost": [{"where": {"stock": 1}, "factr": 2}]}, "unknown key 'factr'; did you mean 'factor'?"),
        ({"boost": "own"}, "boost: should be a list"),
        (
            {"boost": [{"where": {"stock": 1}, "factor": 1e6}] * 2},
            "boost: together, those of one item exceed",
        ),
        ({"diversify": {"category": 0}}, "diversify: 'category' = 0: should be a number of items, 1 or more"),
        ({"diversify": {"category": True}}, "diversify: 'category' = True"),
        (
            {"diversify": {"catgory": 2}},
            "diversify: unknown column of items 'catgory'; did you mean 'category'?",
        ),
        ({"diversify": 2}, "diversify: should be a number by column"),
    ],
)
def test_rules_that_cannot_be_followed(rules: dict[str, Any], said: str, facts: ItemFacts) -> None:
    with pytest.raises(ConfigError) as refused:
        RuleBook(facts).compiled(rules.get("filter"), rules.get("boost"), rules.get("diversify"))
    assert said in str(refused.value)


def test_without_a_table_rules_are_refused_and_nothing_else_is(facts: ItemFacts) -> None:
    assert RuleBook().compiled(None, None, None) is None
    with pytest.raises(ConfigError, match="need a table of items"):
        RuleBook().compiled({}, None, None)


def test_like_rules_are_compiled_once_and_one_is_not_true(facts: ItemFacts) -> None:
    book = RuleBook(facts)
    once = book.compiled({"stock": [1]}, None, None)
    assert book.compiled({"stock": [1]}, None, None) is once
    assert book.compiled({"stock": 1.0}, None, None) is not once
    with pytest.raises(ConfigError, match="holds numbers, not True"):
        book.compiled({"stock": True}, None, None)
    for price in range(200):
        book.compiled({"price": {"max": price}}, None, None)
    assert len(book._kept) <= 64


def test_a_set_of_values_is_the_same_in_every_process() -> None:
    """Its order is not, and unfinished bulk files belong to their rules."""
    rules = Rules.of({"a": set("hgfedcba"), "b": {"not": frozenset("dcba")}})
    assert rules == Rules.of({"a": list("abcdefgh"), "b": {"not": list("abcd")}})


def test_numbers_of_thousands_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(f"sku,a\nitem 001,{'1' * 5000}\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MclrecWarning)
        assert read_item_facts(path, Vocabulary(ITEMS)).columns["a"].kind == "number"


def test_what_a_boost_does_to_a_score() -> None:
    boosts = Boosts.of(np.array([1.0, 2.0, 0.5, 1.0]), np.array([0.0, 0.0, 0.0, 3.0]))
    assert boosts.logits.tolist() == pytest.approx([0, np.log(2), -np.log(2), 3])
    scores = np.array([[5, 10, 10, -1], [5, -10, -10, 0]], dtype=np.float32)
    assert boosts.weigh(scores, slice(None)).tolist() == [[5, 20, 5, 2], [5, -5, -20, 3]]


@pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")
def test_the_command_names_items_by_the_titles_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(save_directory(tmp_path / "run"))
    path = tmp_path / "items.csv"
    path.write_text("sku,name,shelf\nitem 05,Five,a\nitem 06,Six,b\nitem 07,Seven,a\n", encoding="utf-8")
    words = ["recommend", model, "--history", "item 01", "--items", str(path), "--json"]
    with pytest.raises(SystemExit):
        main([*words, "--filter", '{"shelf": "a"}'])
    found = json.loads(capsys.readouterr().out)
    assert {(one["item"], one["title"]) for one in found} == {("item 05", "Five"), ("item 07", "Seven")}
    for further, said in (
        (["--filter", "{shelf: a}"], "--filter:1: not valid JSON"),
        (["--filter", '{"shelf": "c"}'], "filter: shelf: no item has 'c'"),
    ):
        with pytest.raises(SystemExit) as left:
            main([*words, *further])
        assert left.value.code
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["recommend", model, "--history", "x", "--diversify", '{"a": 1}'])
    assert "--diversify needs --items" in capsys.readouterr().err
