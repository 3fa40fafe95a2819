"""``mclrec judge`` and ``mclrec prepare --export-split``: judging the lists of other systems on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, write_log

from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.split import make_split


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.csv")


@pytest.fixture
def recs(log: Path) -> Path:
    """Lists of three items with the target in first, second or third place, or missing."""
    split = make_split(load(log, columns=Columns("user", "item", "time"), min_count=5), "leave-one-out")
    data, lines = split.data, ["user_id\titem_id\tscore"]
    for number, (user, item) in enumerate(
        zip(split.test.users.tolist(), split.test.items.tolist(), strict=True)
    ):
        others = [one for one in range(1, data.num_items + 1) if one != item][:3]
        listed = [*others[: number % 4], item, *others][:3]
        lines += [
            f"{data.user_ids[user + 1]}\t{data.item_ids[one]}\t{1 - place / 10}"
            for place, one in enumerate(listed)
        ]
    path = log.parent / "recs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_lists_are_judged_beside_baselines(cli: Cli, log: Path, recs: Path) -> None:
    shown = cli("judge", recs, "--data", log)
    for text in (
        "history items excluded (F)",
        "history items kept as candidates (U)",
        "recs",
        "popularity",
        "markov",
    ):
        assert text in shown.out
    assert "lists of up to 3 by score (user from user_id, item from item_id, order from score)" in shown.out
    found = json.loads(cli("judge", f"theirs={recs}", "--data", log, "--json").out)
    [theirs] = found["systems"]
    assert (found["label"], found["metric"], theirs["system"]) == ("U", "NDCG@3", "theirs")
    assert theirs["metrics"]["HR@3"] == pytest.approx(0.75, abs=0.03)
    assert found["lists"][0]["length"] == 3
    assert {one["system"] for one in found["baselines"]} == {"popularity", "markov"}
    assert "say nothing about metrics at 10" in cli("judge", recs, "--data", log, "--k", "10").err


def test_an_exported_split_is_what_lists_are_judged_by(cli: Cli, log: Path, recs: Path) -> None:
    out = log.parent / "split"
    shown = cli("prepare", log, "--export-split", out, "--export-format", "csv", "--split", "leave-one-out")
    assert f"{out / 'training.csv'}: " in shown.out
    whole = json.loads(cli("judge", recs, "--data", log, "--json").out)
    assert json.loads(cli("judge", recs, "--data", out, "--json").out) == whole
    for words, said in (
        ((log,), "say what to write"),
        ((log, "--out", log.parent / "data", "--split", "time"), "--split goes with --export-split"),
        ((log, "--export-split", log), "is a link or a file"),
        ((log, "--export-split", log.parent), "does not hold an exported split"),
    ):
        assert said in cli("prepare", *words).err
    assert "name it with --data" in cli("judge", recs).err
