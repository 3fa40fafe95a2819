"""Ratios to the fastest peer, and the README.md lines generated from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.comparison import fastest, finding, is_peer, ratio
from benchmarks.headlines import headlines, unmeasured
from benchmarks.markdown import finding_cells
from benchmarks.rows import ROWS
from benchmarks.summary import Spread

SIDES = {
    "RecBole 1.2.1 SASRec, fp32": Spread((100.0, 120.0, 90.0), "s"),
    "RePlay 0.22 SasRec, fp32": Spread((40.0, 30.0, 50.0), "s"),
    "RecTools 0.19 FlatSASRecNet, bf16": Spread((20.0, 21.0, 22.0), "s"),
    "SASRec, fp32": Spread((10.0, 10.0, 10.0), "s"),
    "SASRec, bf16": Spread((5.0, 7.0, 6.0), "s"),
}


def test_the_fastest_peer_is_found_and_not_named() -> None:
    assert fastest(SIDES, "SASRec, fp32") == "RePlay 0.22 SasRec, fp32"
    assert fastest(SIDES, "SASRec, bf16") == "RecTools 0.19 FlatSASRecNet, bf16"
    speeds = {
        "RecBole a": Spread((3.0,), "users/s"),
        "RecBole b": Spread((2.0,), "users/s"),
        "ours": Spread((9.0,), "users/s"),
    }
    assert fastest(speeds, "ours") == "RecBole a"  # more users per second is faster
    assert [side for side in SIDES if not is_peer(side)] == ["SASRec, fp32", "SASRec, bf16"]


def test_ratio_of_medians_with_the_spread_of_rounds() -> None:
    found = ratio(Spread((8.0, 2.0, 6.0), "s"), Spread((2.0, 1.0, 3.0), "s"))
    assert (found.value, found.lowest, found.highest) == (3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="longer"):
        ratio(Spread((1.0,), "s"), Spread((1.0, 2.0), "s"))  # not the same rounds


def test_a_finding_states_its_rounds() -> None:
    made = finding("epoch", SIDES, "RePlay 0.22 SasRec, fp32", "SASRec, fp32", 3, "at least").to_json()
    assert finding_cells(made) == (
        "epoch: RePlay 0.22 SasRec, fp32 / SASRec, fp32",
        "10 s",
        "40 s",
        "4x (3x to 5x)",
        "at least 3x",
        "yes",
    )
    del made["rounds"]  # as in older files
    assert finding_cells(made)[3] == "4x"


def _result(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    sides = {side: Spread((values.get(side, 50.0),) * 2, "s").to_json() for side in ROWS[name].sides}
    return {"row": name, "sides": sides, "findings": [], "runs": {}}


def test_headlines_are_against_the_fastest_peer() -> None:
    peer = "Transformers4Rec 23.12 GPT-2, fp32"
    result = _result("epoch-sequences", {peer: 30.0, "SASRec, fp32": 10.0, "SASRec, bf16": 5.0})
    text = headlines({"epoch-sequences": result})
    assert "in fp32 3 (3 to 3) times as fast as Transformers4Rec 23.12 GPT-2 in fp32" in text
    assert "in bf16 6 (6 to 6) times as fast" in text
    assert text.count("not measured yet (`python -m benchmarks run") == 5


def test_a_row_that_lacks_a_peer_has_no_headline() -> None:
    result = _result("epoch-sequences", {})
    lost = ROWS["epoch-sequences"].sides[0]
    del result["sides"][lost]
    assert "not measured yet beside all peers (`python -m benchmarks run epoch-sequences`)" in headlines(
        {"epoch-sequences": result}
    )
    lines = list(unmeasured({"epoch-sequences": result}))
    assert any(lost in line for line in lines)
    assert any(ROWS["threads"].title in line for line in lines)
    assert not any("cuda" in line for line in lines)
    whole = {name: _result(name, {}) for name in ROWS}
    assert list(unmeasured(whole)) == []
