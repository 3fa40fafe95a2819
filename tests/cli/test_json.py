"""``--json`` of commands that only report: lists, sizes, and dry runs of long commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Cli

from mclrec.data.datasets import datasets

SMALL = ("--set", "hidden_size=8", "--set", "inner_size=8", "--set", "epochs=2")


def test_named_data_sets_and_their_sizes(cli: Cli) -> None:
    listed = json.loads(cli("datasets", "--json").out)
    assert list(listed) == [known.name for known in datasets()]
    [sizes] = _lines(cli("datasets", "complete-journey", "--json").out)
    assert sizes["users"] == listed["complete-journey"]["users"]
    assert 0 < sizes["sparsity"] < 1
    groups = _lines(cli("datasets", "complete-journey", "--groups", "--json").out)
    assert len(groups) == 3
    assert sum(group["users"] for group in groups) == sizes["users"]


def test_a_search_space(cli: Cli, world: Path) -> None:
    pytest.importorskip("optuna")
    [space] = _lines(cli("tune", "log.csv", "--model", "sasrec", *SMALL, "--dry-run", "--json").out)
    assert space["learning_rate"]["searched"]["log"] is True
    assert not {"hidden_size", "epochs"} & space.keys()


def test_the_runs_of_a_campaign(cli: Cli, world: Path) -> None:
    words = ("reproduce", "table3", "--datasets", "log.csv", "--models", "sasrec,cl4srec", *SMALL)
    asked = cli(*words, "--seeds", 2, "--dry-run", "--json")
    assert asked.status == 0, asked.err
    *runs, campaign = _lines(asked.out)
    assert {run["state"] for run in runs} == {"open"}
    assert campaign["runs"] == len(runs) >= 3
    assert campaign["seconds_at_most"] == pytest.approx(sum(run["seconds_at_most"] for run in runs))
    assert not (world / "runs").exists()


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
