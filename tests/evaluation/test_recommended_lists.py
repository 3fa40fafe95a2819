"""Files of recommendations: every format is read correctly, and errors name the line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mclrec.errors import DataError
from mclrec.evaluation.recommended_columns import ListColumns
from mclrec.evaluation.recommended_lists import RecommendedLists, read_lists

USERS, ITEMS = [7, 7, 7, 9, 9], [3, 1, 2, 5, 3]
RANKS, SCORES = [1, 2, 3, 1, 2], [0.9, 0.5, 0.25, 8.0, -1.0]


def rows(found: RecommendedLists) -> list[tuple[str, str, float]]:
    """The rows, with ids as text and the order as numbers."""
    users, items = (list(map(str, ids.to_pylist())) for ids in (found.users, found.items))
    return list(zip(users, items, found.order.tolist(), strict=True))


def expected(order: list[Any]) -> list[tuple[str, str, float]]:
    return [(str(u), str(i), o) for u, i, o in zip(USERS, ITEMS, order, strict=True)]


def write(path: Path, head: list[str], *columns: list[Any], sign: str = ",") -> Path:
    lines = [sign.join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([*([sign.join(head)] if head else []), *lines]) + "\n", encoding="utf-8")
    return path


def test_rectools_output_is_read_by_its_rank(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": USERS, "item_id": ITEMS, "score": SCORES, "rank": RANKS})
    frame.to_csv(tmp_path / "recs.csv", index=False)
    frame.to_parquet(tmp_path / "recs.parquet")
    for source in (frame, pl.from_pandas(frame), tmp_path / "recs.csv", tmp_path / "recs.parquet"):
        found = read_lists(source)
        assert rows(found) == expected(RANKS)
        assert (found.ordering, found.columns["order"]) == ("rank", "rank")
        assert rows(read_lists(source, ListColumns(score="score"))) == expected(SCORES)


def test_replay_and_recbole_names(tmp_path: Path) -> None:
    head = ["query_id", "item_id", "rating"]
    assert rows(read_lists(write(tmp_path / "replay.csv", head, USERS, ITEMS, SCORES))) == expected(SCORES)
    head = ["user_id:token", "item_id:token", "score:float"]
    path = write(tmp_path / "recbole.inter", head, USERS, ITEMS, SCORES, sign="\t")
    assert rows(read_lists(path)) == expected(SCORES)


def test_lists_in_a_row_are_in_order(tmp_path: Path) -> None:
    in_lists = [("7", "3"), ("7", "1"), ("7", "2"), ("9", "5"), ("9", "3")]
    (tmp_path / "topk.inter").write_text(
        "user_id:token\titem_id_list:token_seq\n7\t3 1 2\n9\t5 3\n8\t\n", encoding="utf-8"
    )
    (tmp_path / "topk.jsonl").write_text(
        "".join(
            json.dumps({"user": u, "items": i}) + "\n" for u, i in ((7, [3, 1, 2]), (9, [5, 3]), (8, []))
        ),
        encoding="utf-8",
    )
    frame = pd.DataFrame({"user": [7, 9, 8], "items": [[3, 1, 2], [5, 3], []]})
    frame.to_parquet(tmp_path / "topk.parquet")
    for source in (frame, *(tmp_path / f"topk.{kind}" for kind in ("inter", "jsonl", "parquet"))):
        found = read_lists(source)
        assert [(u, i) for u, i, _ in rows(found)] == in_lists
        assert found.ordering == "rows"
        assert (np.diff(found.order) > 0).all()
    for name in ("item", "item_id"):  # these also name a column with one item per row
        frame.rename(columns={"items": name}).to_parquet(tmp_path / "list.parquet")
        frame.rename(columns={"items": name}).to_json(tmp_path / "list.jsonl", orient="records", lines=True)
        frame.rename(columns={"items": name}).to_json(tmp_path / "list.json", orient="records")
        for kind in ("parquet", "jsonl", "json"):
            for columns in (ListColumns(), ListColumns(item=name), ListColumns(in_order=True)):
                found = read_lists(tmp_path / f"list.{kind}", columns)
                assert [(u, i) for u, i, _ in rows(found)] == in_lists
    twice = pd.DataFrame({"user": [7, 9, 7], "items": [[3], [5], [1]]})
    with pytest.raises(DataError, match="row 3: user 7 already has a list"):
        read_lists(twice)


@pytest.mark.parametrize("name", ["bm25.run", "run.trec", "run", "run.txt.gz"])
@pytest.mark.parametrize("sign", [" ", "\t"])
def test_run_files_are_read_by_their_score(tmp_path: Path, name: str, sign: str) -> None:
    ranks = [3, 2, 1, 2, 1]  # ignored, as by trec_eval
    path = write(tmp_path / "plain", [], USERS, ["Q0"] * 5, ITEMS, ranks, SCORES, ["tag"] * 5, sign=sign)
    content = path.read_bytes()
    target = tmp_path / name
    target.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = read_lists(target)
    assert rows(found) == expected(SCORES)
    assert found.columns == {"user": "1", "item": "3", "order": "5"}


def test_ids_of_run_files_with_tabs_may_have_blanks(tmp_path: Path) -> None:
    items = [f"item {item}" for item in ITEMS]
    path = write(tmp_path / "run", [], USERS, ["Q0"] * 5, items, RANKS, SCORES, ["tag"] * 5, sign="\t")
    assert [item for _, item, _ in rows(read_lists(path))] == items


def test_a_file_without_names_needs_them(tmp_path: Path) -> None:
    path = write(tmp_path / "bare.csv", [], USERS, ITEMS, RANKS)
    with pytest.raises(DataError, match="has no header line"):
        read_lists(path)
    assert rows(read_lists(path, ListColumns("1", "2", rank="3"))) == expected(RANKS)


def test_rows_in_order_are_taken_if_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.csv", ["user", "item"], USERS, ITEMS)
    frame = pd.DataFrame({"user": USERS, "item": ITEMS})
    for source in (path, frame):
        with pytest.raises(DataError, match="no column looks like a rank or score"):
            read_lists(source)
        assert rows(read_lists(source, ListColumns(in_order=True))) == expected([0, 1, 2, 3, 4])
    with pytest.raises(DataError, match="no row order"):
        read_lists(pl.from_pandas(frame).lazy(), ListColumns(in_order=True))


def test_a_folder_of_parts_is_one_file(tmp_path: Path) -> None:
    for number, part in enumerate((slice(0, 3), slice(3, 5))):
        table = pa.table({"user": USERS[part], "item": ITEMS[part], "rating": SCORES[part]})
        (tmp_path / "recs").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "recs" / f"part-{number}.parquet")
        head = ["user", "item", "rating"]
        (tmp_path / "text").mkdir(exist_ok=True)
        write(tmp_path / "text" / f"part-{number}.csv", head, USERS[part], ITEMS[part], SCORES[part])
    assert rows(read_lists(tmp_path / "recs")) == expected(SCORES)
    assert rows(read_lists(tmp_path / "text")) == expected(SCORES)


def test_scores_that_list_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    scores = [0.9, np.nan, -np.inf, np.inf, None]
    frame = pd.DataFrame({"user": USERS, "item": ITEMS, "score": scores})
    frame.to_csv(tmp_path / "recs.csv", index=False)
    frame.to_parquet(tmp_path / "recs.parquet")
    for source in (frame, tmp_path / "recs.csv", tmp_path / "recs.parquet"):
        found = read_lists(source)
        assert rows(found) == [("7", "3", 0.9), ("9", "5", np.inf)]
        assert found.not_listed == 3
    with pytest.raises(DataError, match="contains no recommendations: 1 row without a score"):
        read_lists(frame.iloc[1:2])


def test_ids_that_were_written_as_floats_are_integers(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", ["user", "item", "rank"], [f"{u}.0" for u in USERS], ITEMS, RANKS)
    assert rows(read_lists(path)) == expected(RANKS)
    frame = pd.DataFrame({"user": np.array(USERS, float), "item": ITEMS, "rank": np.array(RANKS, float)})
    assert rows(read_lists(frame)) == expected(RANKS)


def as_csv(path: Path, frame: pd.DataFrame) -> tuple[Any, str]:
    frame.to_csv(path / "recs.csv", index=False)
    return path / "recs.csv", "recs.csv:4"


def as_parquet(path: Path, frame: pd.DataFrame) -> tuple[Any, str]:
    frame.to_parquet(path / "recs.parquet")
    return path / "recs.parquet", "recs.parquet: row 3"


def as_frame(path: Path, frame: pd.DataFrame) -> tuple[Any, str]:
    return frame, "pandas frame: row 3"


@pytest.mark.parametrize("make", [as_csv, as_parquet, as_frame])
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("user", None, "has no user"),
        ("item", None, "has no item"),
        ("rank", None, "is not a whole number of at least 1"),
        ("rank", -1.0, "is not a whole number of at least 1"),
        ("rank", 1.5, "if it is a score, name the column with --list-score"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path,
    make: Callable[[Path, pd.DataFrame], tuple[Any, str]],
    column: str,
    value: float | None,
    said: str,
) -> None:
    frame = pd.DataFrame({"user": ["a"] * 5, "item": ["b", "c", "d", "e", "f"], "rank": RANKS})
    frame[column] = frame[column].astype(object if column != "rank" else float)
    frame.loc[2, column] = value
    source, place = make(tmp_path, frame)
    with pytest.raises(DataError) as refused:
        read_lists(source)
    assert said in str(refused.value)
    assert place in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("", "is empty"),
        ("user,item,score\n", "has a header and no rows"),
        ("user,item,score\n1,2,high\n", "recs.csv:2: score 'high' is not a number"),
        ("user,item,score\n1,2,1_0\n", "recs.csv:2: score '1_0' is not a number"),
        ("user,item,score\n1,2,0.5\n1,2\n", "recs.csv:3: line has 2 columns instead of 3"),
        ("user,score,rank\n1,2,3\n", "no column looks like the item; name it with --list-item"),
        ("user,item,item_id,rank\n1,2,3,4\n", None),
        ("item,rank,score\n1,2,3\n", "no column looks like the user; name it with --list-user"),
    ],
)
def test_odd_text(tmp_path: Path, text: str | None, said: str | None) -> None:
    path = tmp_path / "recs.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    if said is None:
        assert read_lists(path).columns == {"user": "user", "item": "item_id", "order": "rank"}
        return
    with pytest.raises(DataError) as refused:
        read_lists(path)
    assert said in str(refused.value)


def test_columns_can_be_named_and_only_once(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.csv", ["customer", "sku", "value"], USERS, ITEMS, SCORES)
    found = read_lists(path, ListColumns("customer", "sku", score="value"))
    assert rows(found) == expected(SCORES)
    for columns, said in (
        (ListColumns("custmer", "sku", score="value"), "did you mean 'customer'"),
        (ListColumns("customer", "customer", score="value"), "cannot be two of user, item and rank"),
        (ListColumns("customer", "sku", rank="value", score="value"), "exclude each other"),
    ):
        with pytest.raises(DataError, match=said):
            read_lists(path, columns)
