"""Name search: the same results as a naive search, best match first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.vocabulary import Vocabulary
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.name_index import NameIndex

NAMES = [
    "EGGS - LARGE",
    "Nutmeg",
    "eggs",
    "Leggings",
    "Crème fraîche",
    "Large eggs",
    "Egg_nog",
    "weiß",
    "a\nb",
]
COUNTS = np.array([5, 9, 1, 7, 3, 5, 2, 4, 0])


def search(text: str, limit: int = 9) -> list[str]:
    found = NameIndex(NAMES, COUNTS).search(text, limit)
    assert len(found.items) == min(limit, found.total)
    return [NAMES[place] for place in found.items.tolist()]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("eggs", ["eggs", "EGGS - LARGE", "Large eggs"]),
        ("EGG", ["Egg_nog", "EGGS - LARGE", "eggs", "Large eggs", "Leggings"]),
        ("large-eggs", ["Large eggs", "EGGS - LARGE"]),
        ("lar eg", ["EGGS - LARGE", "Large eggs"]),
        ("CREME FRAICHE", ["Crème fraîche"]),
        ("fraî", ["Crème fraîche"]),
        ("WEISS", ["weiß"]),
        ("a b", ["a\nb"]),
        ("nothing", []),
        ("-", []),
    ],
)
def test_the_best_first(text: str, names: list[str]) -> None:
    assert search(text) == names


def test_an_empty_text_lists_the_popular_ones() -> None:
    assert search("", 3) == ["Nutmeg", "Leggings", "EGGS - LARGE"]
    assert search("  ", 0) == []


@settings(max_examples=200)
@given(
    st.lists(st.text("abc ", min_size=1, max_size=14), min_size=1, max_size=25),
    st.text("abc ", min_size=1, max_size=9),
    st.integers(1, 30),
)
def test_finds_what_a_naive_search_finds(names: list[str], text: str, limit: int) -> None:
    if not text.split():
        return
    counts = np.arange(len(names)) % 4
    found = NameIndex(names, counts).search(text, limit)
    having = [place for place, name in enumerate(names) if all(word in name for word in text.split())]
    assert found.total == len(having)

    def order(place: int) -> tuple[int, int, int]:
        plain, asked = " ".join(names[place].split()), " ".join(text.split())
        starts = all(f" {word}" in f" {plain}" for word in asked.split())
        whole = plain.startswith(f"{asked} ") or plain.endswith(f" {asked}")
        tiers = (plain == asked, whole, plain.startswith(asked), starts, True)
        return (tiers.index(True), -int(counts[place]), place)

    assert found.items.tolist() == sorted(having, key=order)[:limit]


def test_nearest_names() -> None:
    catalogue = Catalogue(Vocabulary(NAMES), np.concatenate([[0], COUNTS]))
    assert catalogue.nearest("Nutmegg")[:1] == ["Nutmeg"]
    assert catalogue.nearest("creme fresh")[:1] == ["Crème fraîche"]
    assert catalogue.nearest("zzz") == []


def test_ids_may_come_as_text_or_number() -> None:
    numbers = Catalogue(Vocabulary([7, 70, 9]), np.array([0, 1, 5, 2]))
    assert [numbers.dense(value) for value in (7, "7", 8, "x")] == [1, 1, 0, 0]
    assert [numbers.outside(place) for place in numbers.search("7", 5).items.tolist()] == [7, 70]
    texts = Catalogue(Vocabulary(["7", "x"]), np.array([0, 1, 5]))
    assert [texts.dense(value) for value in (7, "7", 8)] == [1, 1, 0]
    assert len(texts) == 2
