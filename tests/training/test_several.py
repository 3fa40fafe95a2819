"""Several processes with a part of each batch come to what one comes to with all of it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.test_model_contract import CASES
from tests.threads import members, together
from tests.training.several import Case, Outcome, outcome, outcomes

from mclrec.models import registry

BCE: dict[str, Any] = {"unit": "sequences", "loss": "bce", "positions": "newest"}
PREFIXES: dict[str, Any] = {"unit": "prefixes", "loss": "softmax", "positions": "oldest"}
QUICK: list[Case] = [
    ("sasrec", PREFIXES),
    ("sasrec", BCE),
    ("mclrec", PREFIXES),
    ("mclrec", BCE | {"updates": "joint", "shared_augmenter": True}),
    ("cl4srec", PREFIXES),
    ("duorec", PREFIXES | {"contrast": "both"}),
    ("lma4rec", BCE),
]
MCLREC: list[Case] = [
    ("mclrec", {"updates": updates, "regularizer": r, "shared_augmenter": shared, **unit})
    for updates, r, shared, unit in product(
        ("three", "two", "joint"),
        ("official", "paper", "off"),
        (False, True),
        (PREFIXES, PREFIXES | {"unit": "sequences"}),
    )
]
SHARDED: list[Case] = [
    ("mclrec", PREFIXES),
    ("sasrec", {"unit": "sequences", "loss": "sampled", "samples": 7}),
    ("gru4rec", {"unit": "prefixes", "loss": "softmax"}),
    ("sasrec", BCE | {"average": 2.0}),
    ("sasrec", BCE | {"positions": "relative"}),
    ("mclrec", BCE | {"temperature": 0.1}),
    ("sasrec", PREFIXES),
    ("sasrec", {"unit": "sequences", "loss": "gbce", "negatives": 3}),
]
OTHERS: list[Case] = [case for case in CASES if case[0] not in ("popularity", "recency", "markov")]

DIVISIBLE = SHARDED + [case for case in OTHERS if registry.model_class(case[0]).supports_sharding]


def check(cases: list[Case], steps: int, count: int, folder: Path, *, shard: bool = False) -> None:
    named = {f"{name} {settings}": (name, settings) for name, settings in cases}
    found = outcomes(named, steps, count, folder, shard=shard)
    for number, (name, case) in enumerate(named.items()):
        compare_all(name, found[name], outcome(case, steps, folder / f"alone-{number}"), steps)


def compare_all(name: str, found: list[Outcome], alone: Outcome, steps: int) -> None:
    assert len(alone["losses"]) >= steps, name
    for process in found:
        compare(name, process, alone)
        # What they came to is the same number, not only nearly.
        assert process["weights"] == found[0]["weights"], name


def compare(name: str, several: Outcome, alone: Outcome) -> None:
    if several["losses"]:  # the main process has a reporter
        for step, (first, second) in enumerate(zip(several["losses"], alone["losses"], strict=True)):
            assert first == pytest.approx(second, rel=1e-5, abs=1e-5), (name, step)
    for part in ("history", "best", "ranks"):
        assert several[part] == alone[part], (name, part)
    for key, values in alone["weights"].items():
        np.testing.assert_allclose(several["weights"][key], values, atol=1e-5, err_msg=f"{name}: {key}")


@pytest.mark.parametrize(
    ("count", "case"), [(2, SHARDED[0]), (3, SHARDED[1]), (2, SHARDED[2]), (4, SHARDED[3]), (2, SHARDED[4])]
)
def test_items_may_be_shared_out(count: int, case: Case, tmp_path: Path) -> None:
    """By threads in the place of processes: no gradient of the table is added up, none is missing."""
    found = together(
        members(count), lambda member: outcome(case, 8, tmp_path / "several", member, shard=True)
    )
    compare_all(case[0], found, outcome(case, 8, tmp_path / "alone"), 8)


@pytest.mark.slow
def test_two_come_to_what_one_does(tmp_path: Path) -> None:
    check(QUICK, 8, 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("cases", [MCLREC, OTHERS], ids=["mclrec", "all models"])
def test_however_many_come_to_what_one_does(cases: list[Case], count: int, tmp_path: Path) -> None:
    check(cases, 50, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("cases", [MCLREC, DIVISIBLE], ids=["mclrec", "all models"])
def test_however_many_share_out_the_items(cases: list[Case], count: int, tmp_path: Path) -> None:
    check(cases, 50, count, tmp_path, shard=True)
