"""The paper's claims: the commands that measure them, verdicts on differences, and text for unmeasured claims."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.planned_runs import PlannedRun
from mclrec.experiments.reproduction import reproduce
from mclrec.experiments.target import PAPER_DATASETS, Scope
from mclrec.recipes import resolve
from scripts import paper_claims
from scripts.campaign_files import publish_campaign
from scripts.claim_evidence import METRICS, Difference, evidence, verdict
from scripts.paper_claims import CLAIMS, Claim, Pair, Point
from scripts.results_overview import measuring_command, overview

PAIR = Pair(Point("ours"), Point("other"))
CLAIM = Claim("Ours is better", "Ours is better.", "1", "table3", [PAIR])


def scope_of(command: str) -> Scope:
    """The scope of a command line of ``mclrec reproduce``."""
    words = shlex.split(command)
    given = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
    return Scope(
        given["--datasets"].split(","),
        models=given["--models"].split(",") if "--models" in given else (),
        seeds=int(given["--seeds"]),
        recipe=given.get("--recipe"),
        points=int(given["--points"]) if "--points" in given else None,
    )


def settings(planned: PlannedRun) -> dict[str, Any]:
    recipe = resolve(planned.model, planned.data, planned.recipe, planned.settings)
    return {"model": planned.model, **recipe.config.identity(), **recipe.training.identity()}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
def test_the_command_of_a_claim_measures_all_of_it(claim: Claim) -> None:
    rows = TARGETS[claim.target].plan(scope_of(measuring_command(claim, PAPER_DATASETS)))
    for data in PAPER_DATASETS:
        runs = {Point(row.row, row.x): row for row in rows if row.data == data}
        for pair in claim.pairs:
            ours, other = runs[pair.ours], runs[pair.other]
            assert len(ours.runs) == len(other.runs) == 3
            same = settings(ours.runs[0]) == settings(other.runs[0])
            assert not same or (ours.runs[0].lengths, ours.part) != (other.runs[0].lengths, other.part)


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ([(0.1, 0.2), (0.01, 0.3)], "held"),
        ([(0.1, 0.2), (-0.01, 0.3)], "held in part: 1 of 2 differences seen"),
        ([(0.1, 0.2), (-0.3, -0.1)], "held in part, the opposite in part"),
        ([(-0.2, -0.1), (-0.1, 0.3)], "did not hold: the opposite was seen"),
        ([(-0.1, 0.2), (-0.1, 0.3)], "not shown: in the claimed direction, within chance"),
        ([(-0.2, 0.1)], "not shown: in the opposite direction, within chance"),
        ([(-0.2, 0.1), (-0.1, 0.2)], "not shown: in both directions, within chance"),
        ([None], "not shown: in the claimed direction, within chance"),
        ([(-0.1, 0.1)], "not shown: no difference"),
        ([(0.0, 0.0), (0.0, 0.0)], "not shown: no difference"),
        ([(-0.1, 0.1), (-0.1, 0.2)], "not shown: in the claimed direction, within chance"),
    ],
)
def test_a_verdict_says_how_many_differences_are_seen(
    intervals: list[tuple[float, float] | None], said: str
) -> None:
    found = [
        Difference(PAIR, 0.1, None, None, "none", 1)
        if ends is None
        else Difference(PAIR, sum(ends) / 2, *ends, "paired", 3)
        for ends in intervals
    ]
    claim = replace(CLAIM, pairs=[PAIR] * len(found))
    assert verdict(claim, found) == said
    mirrored = [
        replace(one, mean=-one.mean, low=one.high and -one.high, high=one.low and -one.low) for one in found
    ]
    assert verdict(replace(claim, expected=-1), mirrored) == said
    open_claim = replace(claim, pairs=[PAIR] * 3)
    left = f"{len(found)} of 3 differences"
    expected = f"held where measured ({left})" if said == "held" else f"{said} ({left} measured)"
    assert verdict(open_claim, found) == expected


def measured(row: str, mean: float, half: float, seeds: int, key: str) -> list[dict[str, Any]]:
    kind = "users" if seeds == 1 else "seeds"
    ends = {"mean": mean, "low": mean - half, "high": mean + half, "interval": kind}
    same = {"data": "beauty", "row": row, "x": None, "protocol": "U", "seeds": [*range(seeds)], "keys": [key]}
    return [{**same, **ends, "metric": metric} for metric in METRICS]


def campaign(rows: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {"datasets": ["beauty"], "recipe": None, "models": [], "seeds": 1, "settings": {}}
    return {"target": "table3", "scope": scope, "measurements": rows, "file": "made.json", **further}


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.floats(1e-4, 0.1), st.floats(1e-4, 0.1))
def test_without_ranks_the_errors_of_both_rows_add_up(ours: float, other: float, a: float, b: float) -> None:
    rows = [*measured("ours", ours, a, 1, "x"), *measured("other", other, b, 1, "y")]
    [item] = evidence(CLAIM, [campaign(rows)], [])
    [found] = item.differences["HR@20"]
    assert found.basis == "users"
    assert found.low is not None
    assert found.mean - found.low == pytest.approx(math.hypot(a, b))


def test_paired_differences_of_a_file_are_preferred_and_shared_runs_are_left_out() -> None:
    rows = [*measured("ours", 0.12, 0.01, 1, "x"), *measured("other", 0.1, 0.01, 1, "y")]
    paired = {"data": "beauty", "ours": ["ours", None], "other": ["other", None], "protocol": "U"}
    differences = [{**paired, "metric": metric, "difference": [0.02, 0.015, 0.025]} for metric in METRICS]
    [item] = evidence(CLAIM, [campaign(rows, differences=differences)], [])
    assert [(found.basis, found.low) for found in item.differences["HR@20"]] == [("paired", 0.015)]
    shared = [*measured("ours", 0.1, 0.01, 1, "x"), *measured("other", 0.1, 0.01, 1, "x")]
    assert evidence(CLAIM, [campaign(shared)], []) == []


@pytest.mark.parametrize(("seeds", "sure"), [(1, "somewhat, one seed"), (3, "fairly, 3 seeds")])
def test_one_seed_is_less_sure_than_several_wherever_it_is_said(seeds: int, sure: str) -> None:
    [claim] = [claim for claim in CLAIMS if claim.target == "figure3"]
    ours, other = ((str(point.row), key) for point, key in zip(claim.pairs[0], "xy", strict=True))
    rows = [row for name, key in (ours, other) for row in measured(name, 0.1, 0.01, seeds, key)]
    paired = {"data": "beauty", "ours": [ours[0], None], "other": [other[0], None], "protocol": "U"}
    differences = [{**paired, "metric": metric, "difference": [0.0, -0.01, 0.01]} for metric in METRICS]
    found = campaign(rows, differences=differences, target="figure3")
    text = overview({}, [found], [])
    assert f"| {sure} |" in text
    assert f"How sure: {sure}: " in text


def test_seeds_are_compared_by_welch_and_a_single_one_by_the_number_of_users() -> None:
    def run(model: str, hits: float, seed: int) -> dict[str, Any]:
        test = {"U": {"HR@20": hits, "NDCG@20": hits / 2}}
        return {
            "model": model,
            "seed": seed,
            "recipe": {"section": "sequences"},
            "data": {"name": "beauty"},
            "test": test,
        }

    several = [
        run(model, hits + seed / 100, seed)
        for model, hits in (("ours", 0.2), ("other", 0.1))
        for seed in (1, 2, 3)
    ]
    [item] = evidence(CLAIM, [], several)
    [found] = item.differences["HR@20"]
    error = math.hypot(*[float(np.std([0.01, 0.02, 0.03], ddof=1)) / 3**0.5] * 2)
    assert (found.basis, found.seeds) == ("seeds", 3)
    assert found.high == pytest.approx(0.1 + 2.776 * error)  # four degrees of freedom
    [item] = evidence(CLAIM, [], [run("ours", 0.2, 1), run("other", 0.1, 1)])
    assert item.differences["HR@20"][0].low == pytest.approx(
        0.1 - 1.96 * math.sqrt((0.2 * 0.8 + 0.1 * 0.9) / 22363)
    )
    assert item.differences["NDCG@20"][0].low is None


def test_what_was_never_measured_is_said_with_its_command() -> None:
    text = overview({}, [], [])
    assert text.count("| not measured yet |") == len(CLAIMS)
    for claim in CLAIMS:
        assert (
            f"Not measured yet on beauty, sports, yelp: `{measuring_command(claim, PAPER_DATASETS)}`" in text
        )


@pytest.mark.slow
def test_a_published_campaign_has_paired_differences_of_what_claims_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = replace(CLAIM, pairs=[Pair(Point("markov"), Point("popularity"))])
    monkeypatch.setattr(paper_claims, "CLAIMS", (claim,))
    reproduce("table3", Scope(("complete-journey",), models=("popularity", "markov")), tmp_path / "campaign")
    [path] = publish_campaign(tmp_path / "campaign", tmp_path / "results")
    published = {**json.loads(path.read_text(encoding="utf-8")), "file": path.name}
    means = {row["row"]: row["mean"] for row in published["measurements"] if row["metric"] == "HR@20"}
    [item] = evidence(claim, [published], [])
    [found] = item.differences["HR@20"]
    assert (item.data, found.basis, found.seeds) == ("complete-journey", "paired", 1)
    assert {row["protocol"] for row in published["differences"]} == {"U", "F"}
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high
    assert means.keys() == {"popularity", "markov"}
