"""Lists in one text field are read as the same items, in files and in frames, whatever wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_readers import sequences

from mclrec.data.columns import Columns
from mclrec.data.list_texts import list_elements
from mclrec.data.loading import prepare
from mclrec.errors import DataError

LISTS = Columns(history="items")
WRITERS: dict[str, Callable[[list[str]], str]] = {
    "Python": repr,
    "tuple": lambda items: repr(tuple(items)),
    "NumPy elements": lambda items: "[" + ", ".join(f"np.str_({item!r})" for item in items) + "]",
    "NumPy array": lambda items: repr(np.array(items, dtype=object)),
    "PostgreSQL": lambda items: "{" + ",".join(f'"{item}"' if "," in item else item for item in items) + "}",
    "JSON": lambda items: json.dumps(items, ensure_ascii=False),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_lists_of_every_writer(tmp_path: Path, writer: str) -> None:
    wanted = {"u1": ["a", "b, c", "d"], "u2": ["b, c", "a"]}
    rows = {"user": list(wanted), "items": [WRITERS[writer](items) for items in wanted.values()]}
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "log.csv", index=False)
    frame.to_parquet(tmp_path / "log.parquet")
    for source in (tmp_path / "log.csv", tmp_path / "log.parquet", frame):
        assert sequences(source, columns=LISTS) == wanted


@pytest.mark.parametrize("sign", [",", ";", "|", ", ", " "])
def test_the_separator_may_come_first_in_a_later_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    wanted = {"u1": ["a"], "u2": ["b"], "u3": ["a", "c", "b"], "u4": ["c"]}
    frame = pd.DataFrame({"user": list(wanted), "items": [sign.join(items) for items in wanted.values()]})
    frame.to_csv(tmp_path / "log.csv", index=False)
    frame.to_parquet(tmp_path / "log.parquet")
    monkeypatch.setattr("mclrec.data.raw_tables._ROWS", 1)
    for source in (tmp_path / "log.csv", tmp_path / "log.parquet", frame):
        assert sequences(source, columns=LISTS) == wanted


def test_lists_of_two_separators_in_two_batches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.data.raw_tables._ROWS", 1)
    frame = pd.DataFrame({"user": [1, 2, 3], "items": ["a b", "c", "c,a"]})
    with pytest.raises(
        DataError, match="row 3: history 'c,a' has ',' between items, but earlier rows have blanks"
    ):
        sequences(frame, columns=LISTS)


@pytest.mark.parametrize(
    "text", ["{5,6}", "[5 6]", "(5, 6)", "array([5, 6])", "[np.int64(5), np.int64(6)]", "5;6"]
)
def test_lists_of_numbers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f'user,items\n1,"{text}"\n', encoding="utf-8")
    assert sequences(path, columns=LISTS) == {1: [5, 6]}
    frame = pd.DataFrame({"user": [1], "items": [text]})
    assert sequences(frame, columns=LISTS) == {1: ["5", "6"]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1 2 3 ... 9]", r"was cut off with '\.\.\.' when it was written"),
        ("[1, 2, ..., 9]", r"was cut off with '\.\.\.' when it was written"),
        ("[{'aid': 1}, {'aid': 2}]", "is not a list of ids"),
        ("[[1, 2], [3, 4], x]", "is not a list of ids"),
    ],
)
def test_lists_that_are_cut_or_none(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f'user,items\n1,"[5]"\n2,"{text}"\n', encoding="utf-8")
    with pytest.raises(DataError, match=rf"log\.csv:3: history .* {what}"):
        prepare(path, columns=LISTS, min_count=1)
    frame = pd.DataFrame({"user": [1, 2], "items": ["[5]", text]})
    with pytest.raises(DataError, match=f"row 2: history .* {what}"):
        prepare(frame, columns=LISTS, min_count=1)


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip), max_size=6))
def test_python_and_json_are_read_back(items: list[str]) -> None:
    items = [item for item in items if item.isprintable()]
    assert list_elements(repr(items), ",") == items


@given(
    st.lists(
        st.from_regex(r"[a-z0-9_.\-]{1,8}", fullmatch=True).filter(lambda item: item != "..."), max_size=6
    )
)
def test_plain_elements(items: list[str]) -> None:
    for sign, joined in ((",", ", "), (";", ";"), (None, "  ")):
        for begin, end in (("", ""), ("[", "]"), ("{", "}"), ("(", ")")):
            assert list_elements(begin + joined.join(items) + end, sign) == items


def test_one_user_s_contradiction_keeps_nobody_else_s_repeats(tmp_path: Path) -> None:
    """Contradicting timed lists of a user are all kept; of lists that continue each other, only the longest is."""
    lists = {
        "u1": [[("a", 1)], [("a", 1), ("b", 2)]],
        "u2": [[("a", 1)], [("b", 2)], [("c", 3), ("a", 4)]],
        "u3": [[("c", 3)], [("c", 3)]],
    }
    rows = [
        {"user": user, "items": [{"item": item, "time": time} for item, time in pairs]}
        for user, several in lists.items()
        for pairs in several
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    frame = pd.DataFrame(rows)
    for source in (path, frame):
        found = sequences(source, columns=LISTS)
        assert found == {"u1": ["a", "b"], "u2": ["a", "b", "c", "a"], "u3": ["c"]}
