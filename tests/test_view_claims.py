"""Verdicts of published views on the paper's statements about them."""

from __future__ import annotations

from typing import Any

import pytest

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.target import Scope
from scripts.view_claims import VIEW_CLAIMS, view_verdict


def campaign(*pairs: tuple[float, float, float, float]) -> dict[str, Any]:
    """A campaign from alignment and uniformity of MCLRec, then of MCLRec-J, with one tuple per seed."""
    views = [
        {"data": "beauty", "row": row, "seed": seed, "alignment": alignment, "uniformity": uniformity}
        for seed, (one, width, other, against) in enumerate(pairs, start=1)
        for row, alignment, uniformity in (("MCLRec-J", other, against), ("MCLRec", one, width))
    ]
    return {"target": "figure5", "clouds": views[::-1]}


@pytest.mark.parametrize(
    ("pair", "verdict", "words"),
    [
        (
            (0.7, -3.4, 0.8, -3.3),
            "held",
            [
                '"MCLRec" are closer than those of "MCLRec-J" (alignment 0.700 against 0.800)',
                "more scattered",
            ],
        ),
        (
            (0.9, -3.4, 0.8, -3.3),
            "held in part",
            ["not closer", "are more scattered (uniformity \N{MINUS SIGN}3.400 against \N{MINUS SIGN}3.300)"],
        ),
        ((0.9, -3.2, 0.8, -3.3), "did not hold", ["not closer", "not more scattered"]),
    ],
)
def test_a_sentence_holds_if_pairs_are_closer_and_views_more_scattered(
    pair: tuple[float, float, float, float], verdict: str, words: list[str]
) -> None:
    text = view_verdict(campaign(pair), "beauty")
    assert f"**{verdict}**" in text
    assert "How sure: little: one seed." in text
    assert all(word in text for word in words)


def test_several_seeds_are_counted() -> None:
    text = view_verdict(
        campaign((0.7, -3.5, 0.8, -3.3), (0.9, -3.4, 0.8, -3.3), (0.5, -3.4, 0.8, -3.3)), "beauty"
    )
    assert "**held**" in text
    assert "both hold with 2 of 3 seeds" in text


def test_nothing_is_said_of_other_data_and_of_other_figures() -> None:
    assert view_verdict(campaign((0.7, -3.4, 0.8, -3.3)), "yelp") == ""
    assert view_verdict({"target": "figure3", "clouds": []}, "beauty") == ""


@pytest.mark.parametrize("name", VIEW_CLAIMS)
def test_a_claim_names_rows_of_its_figure(name: str) -> None:
    rows = {row.row for row in TARGETS[name].plan(Scope(("beauty",)))}
    assert rows == {VIEW_CLAIMS[name].ours, VIEW_CLAIMS[name].other}
