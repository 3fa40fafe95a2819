"""Ids that are written in two ways, are placeholders or were rounded are reported or refused; others are not."""

from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_intake_text import kinds, ordinary, taken

from mclrec.data.coded_rows import CodedRows
from mclrec.data.id_checks import check_rounded, doubtful_ids
from mclrec.data.intake import DoubtfulIds, Intake
from mclrec.data.intake_text import intake_warnings
from mclrec.data.loading import prepare
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError

SIGNS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")

WRITINGS: dict[str, Any] = {
    "upper": lambda value: value.upper(),
    "title": lambda value: value.title(),
    "blank behind": lambda value: value + "\u00a0",
    "two blanks": lambda value: value.replace(" ", "  "),
    "hard blank": lambda value: value.replace(" ", "\u00a0"),
    "mark": lambda value: "\ufeff" + value,
    "mark inside": lambda value: value[:1] + "\ufeff" + value[1:],
    "wide": lambda value: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in value),
    "decomposed": lambda value: unicodedata.normalize("NFD", value),
}
NUMBERS: dict[str, Any] = {
    "zeros": lambda value: "00" + value,
    "float": lambda value: value + ".0",
    "sign": lambda value: "+" + value,
    "blank": lambda value: value + " ",
}


def doubtful(ids: list[str]) -> tuple[DoubtfulIds, ...]:
    """Report on the ids of users who have one row each."""
    codes = np.arange(len(ids), dtype=np.int32)
    rows = CodedRows(codes, codes * 0, None, None, None, Vocabulary(ids), Vocabulary([1]))
    return doubtful_ids(rows, {})


names = st.from_regex(r"[a-z]{2,5} é[a-z]{2,5}", fullmatch=True)


@given(st.sets(names, min_size=12, max_size=20), st.data())
def test_random_writings_of_the_same_id_are_told_and_clean_ids_are_not(
    clean: set[str], data: st.DataObject
) -> None:
    ids = sorted(clean)
    assert doubtful(ids) == ()
    chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    again = [WRITINGS[data.draw(st.sampled_from(sorted(WRITINGS)))](value) for value in chosen]
    [found] = doubtful([*ids, *again])
    assert (found.role, found.ids, found.alike) == ("user", len(ids) + len(again), 2 * len(again))
    assert found.pair is not None
    assert set(found.pair) & set(again)


@given(st.sets(st.integers(1, 10**9), min_size=12, max_size=20), st.sampled_from(sorted(NUMBERS)))
def test_numbers_that_are_written_in_two_ways_are_told(values: set[int], way: str) -> None:
    ids = [str(value) for value in sorted(values)]
    assert doubtful([*ids, "x"]) == ()
    [found] = doubtful([*ids, NUMBERS[way](ids[0])])
    assert found.alike == 2
    assert found.pair is not None
    assert set(found.pair) == {ids[0], NUMBERS[way](ids[0])}


@given(
    st.sets(st.integers(1, 9999), min_size=8, max_size=30),
    st.sampled_from(["a-{}", "sku{}", "{}-b", "a/{}/z", "item {} x", "é{}"]),
    st.data(),
)
def test_zeros_within_ids_are_told(numbers: set[int], form: str, data: st.DataObject) -> None:
    """One or several ids such as A-007 beside A-7, in several forms, also where the case differs."""
    clean = [form.format(number) for number in sorted(numbers)]
    assert doubtful(clean) == ()
    chosen = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1, max_size=4))
    padded = [
        form.format(f"{number:0{data.draw(st.integers(len(str(number)) + 1, 7))}}") for number in chosen
    ]
    [found] = doubtful([*clean, *padded])
    assert found.alike == 2 * len(chosen)
    assert found.pair is not None
    assert found.pair[0].replace("0", "") == found.pair[1].replace("0", "")
    upper = [value.upper() for value in padded]
    assert doubtful([*clean, *upper])[0].alike == 2 * len(chosen)


@pytest.mark.parametrize(
    "ids",
    [
        ["v1.05", "v1.5", "v10", "w"],  # digits after a point
        ["a001b1", "a1b001", "c7", "d"][:2],  # of the same length: zeros in different places
        ["A-100", "A-10", "A-1", "A-1000"],
        ["x-0", "x-1", "x-10", "x-00a"][:3],
        [f"A-{number:04d}" for number in range(500)],
    ],
)
def test_other_zeros_are_not_told(ids: list[str]) -> None:
    assert doubtful(ids) == ()


@pytest.mark.parametrize("base", [36, 62])
def test_counters_of_letters_and_digits_are_not_told(base: int) -> None:
    """All ids of two or three characters that begin with a letter exist, a01 and a1 among them."""
    signs = ("".join(sorted(SIGNS)) if base == 62 else "0123456789abcdefghijklmnopqrstuvwxyz")[:base]
    first = [sign for sign in signs if sign.isalpha()]
    ids = [a + "".join(rest) for a in first for length in (1, 2) for rest in product(signs, repeat=length)]
    assert doubtful(ids) == ()


@pytest.mark.parametrize(("count", "length"), [(60, 1), (1500, 2), (3000, 3), (2000, 4), (3000, 11)])
def test_random_ids_of_both_cases_are_not_told(count: int, length: int) -> None:
    """Shortened links may differ in case alone, as aB3 and Ab3 do, by chance: the shorter they are, the more often."""
    drawn = np.random.default_rng(length).choice(SIGNS, (count, length))
    ids = sorted({"".join(signs) for signs in drawn})
    assert doubtful(ids) == ()
    if length == 11:
        assert doubtful([*ids, ids[0].swapcase()])[0].alike == 2


@pytest.mark.parametrize("engine", ["duckdb", "polars", "pandas"])
def test_engines_tell_the_same_with_the_condition_that_cures(tmp_path: Path, engine: Any) -> None:
    path = tmp_path / "log.csv"
    users = ["U1", "u1", "Guest", "undefined", "O'Hara", "#N/A", "café", "cafe\u0301"]
    lines = [f"{user},{item},{place}\n" for place, user in enumerate(users) for item in "xyz"]
    path.write_text("user_id,item_id,time\n" + "".join(lines), encoding="utf-8")
    intake = prepare(path, min_count=1, engine=engine).taken
    assert intake is not None
    [found] = intake.doubtful
    assert (found.alike, found.pair) == (4, ("U1", "u1"))
    assert [value for value, _ in found.nobody] == ["#N/A", "Guest", "undefined"]
    texts = [warned.text for warned in intake_warnings(intake)]
    assert texts[0].endswith("--where \"user_id NOT IN ('#N/A', 'Guest', 'undefined')\" leaves them out")
    assert texts[1].startswith(
        "4 of 8 users (50 %) differ from another only in how they are written, such as 'U1'"
    )
    again = prepare(
        path, min_count=1, engine=engine, where="user_id NOT IN ('#N/A', 'Guest', 'undefined')"
    ).taken
    assert again is not None
    assert not again.doubtful[0].nobody
    assert Intake.of_json(intake.to_json(), "here") == intake


def test_users_and_items_that_stand_for_nobody() -> None:
    rows = ordinary()
    below = [*rows, *((-1, item, time + 500) for _, item, time in rows[:20])]
    [found] = taken(below).doubtful
    assert found.nobody == ((-1, 20 / 980),)
    assert kinds(taken(below)) == ["nobody"]
    assert kinds(taken([(user, item - 20, time) for user, item, time in rows])) == []
    words = [(str(user), "unknown" if item == 7 else f"i{item}", time) for user, item, time in rows]
    [found] = taken(words).doubtful
    assert (found.role, found.nobody[0][0]) == ("item", "unknown")


def test_a_user_with_the_rows_of_many_is_told() -> None:
    rows = ordinary()
    giant = [*rows, *((0, item, time + 1000) for _, item, time in rows[:200])]
    [found] = taken(giant).doubtful
    assert found.giant == (0, 208 / 1160)
    [warned] = intake_warnings(taken(giant))
    assert warned.kind == "giant"
    assert warned.text.startswith("the user 0 has 18 % of the rows")
    assert taken([row for row in giant if row[0] < 15]).doubtful == ()  # few users have large shares


@pytest.mark.parametrize("written", ["1.23457E+12", "1,23457E+12", "1.2345678901234567e+16"])
@pytest.mark.parametrize("role", ["user", "item"])
def test_rounded_ids_are_refused(written: str, role: str) -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "time": [1, 2]})
    frame = frame.with_columns(pl.Series(role, ["a", written]))
    with pytest.raises(
        DataError, match=rf"{role} '.*' is a number that was rounded.*\(1 {role} of this kind\)"
    ):
        prepare(frame, min_count=1)


def test_random_ids_with_a_plus_are_not_refused() -> None:
    check_rounded(Vocabulary(["1E+5", "aE+5", "1.5", "x1.2E+3y"]), "item", "log")
