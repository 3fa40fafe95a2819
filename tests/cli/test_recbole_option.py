"""``mclrec train LOG --recbole FILE``: options override the file, and the printed command is equivalent."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Cli, write_log

from mclrec.models.directory import TENSORS, weights_checksum
from mclrec.runs.run import Run

FILE: dict[str, Any] = {
    "model": "SASRec",
    "epochs": 2,
    "train_batch_size": 32,
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "MAX_ITEM_LIST_LENGTH": 6,
    "user_inter_num_interval": "[3,inf)",
    "item_inter_num_interval": "[3,inf)",
    "topk": [10],
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_log(tmp_path / "log.csv")


def config(**changes: Any) -> Path:
    kept = {key: value for key, value in {**FILE, **changes}.items() if value is not ...}
    Path("config.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return Path("config.yaml")


def test_the_command_that_is_printed_gives_the_same_weights(cli: Cli, log: Path) -> None:
    found = cli("train", log.name, "--recbole", config(), "--out", "first")
    assert found.status == 0, found.err
    assert "config.yaml: 12 keys of RecBole in effect, 1 not" in found.err
    assert "not in effect: topk: lists are always measured at 5, 10 and 20" in found.err
    assert "RecBole's defaults: learning_rate = 0.001" in found.err
    [line] = [line for line in found.err.splitlines() if line.startswith("  the same without the file: ")]
    command = line.partition(": ")[2]
    again = cli(*shlex.split(command)[1:], "--out", "second")
    assert again.status == 0, again.err
    first, second = Run(Path("first")), Run(Path("second"))
    assert weights_checksum(Path("first") / TENSORS) == weights_checksum(Path("second") / TENSORS)
    assert first.info.command == command
    assert first.info.model_dump(exclude={"command"}) == second.info.model_dump(exclude={"command"})
    assert (first.info.seed, first.info.training["batch_size"], first.info.config["layers"]) == (2020, 32, 1)


def test_options_go_before_the_file(cli: Cli, log: Path) -> None:
    words = ["--seed", 5, "--min-count", 2, "--set", "epochs=1", "--set", "encoder=gru", "--model", "mclrec"]
    found = cli("train", log.name, "--recbole", config(n_heads=2, seed=9), "--out", "run", *words)
    assert found.status == 0, found.err
    for told in (
        "model: gives way to --model",
        "seed: gives way to --seed",
        "epochs: gives way to --set epochs",
        "user_inter_num_interval: gives way to --min-count",
        "n_heads: heads has no effect",
    ):
        assert f"not in effect: {told}" in found.err
    info = Run(Path("run")).info
    assert (info.model, info.seed, info.training["epochs"]) == ("mclrec", 5, 1)
    assert (info.config["encoder"], info.config["hidden_size"]) == ("gru", 8)
    assert info.data.reading.min_count == 2


def test_a_random_split_is_refused_unless_another_is_asked_for(cli: Cli, log: Path) -> None:
    path = config(eval_args={"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO"})
    found = cli("train", log.name, "--recbole", path, "--out", "run")
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(
        "error: config.yaml: eval_args: the split 'RS' is random: it trains on later rows"
    )
    assert not Path("run").exists()
    found = cli("train", log.name, "--recbole", path, "--out", "run", "--split", "leave-one-out")
    assert found.status == 0
    assert "not in effect: eval_args.split: gives way to --split" in found.err


def test_a_recipe_that_is_asked_for_says_what_the_file_does_not(cli: Cli, log: Path) -> None:
    found = cli("train", log.name, "--recbole", config(), "--out", "run", "--recipe", "bce")
    assert found.status == 0, found.err
    assert "settings that the file does not state come from the recipe bce" in found.err
    info = Run(Path("run")).info
    assert (info.config["unit"], info.config["loss"], info.training["patience"]) == ("sequences", "bce", 40)


def test_prepared_data_are_not_prepared_again(cli: Cli, log: Path) -> None:
    assert cli("prepare", log.name, "--out", "data", "--min-count", 1).status == 0
    found = cli("train", "data", "--recbole", config(), "--out", "run")
    assert found.status == 0, found.err
    assert "not in effect: user_inter_num_interval: data is prepared already" in found.err


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"hidden_dropout_prob": 7}, (), "config.yaml: dropout = 7.0"),
        ({"model": "NARM"}, (), "config.yaml: unknown model 'NARM'"),
        ({}, ("--final", "run"), "--recbole does not go with --final"),
    ],
)
def test_what_is_refused(
    cli: Cli, log: Path, changes: dict[str, Any], words: tuple[str, ...], message: str
) -> None:
    found = cli("train", log.name, "--recbole", config(**changes), *words)
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: {message}")
    assert len(found.err.splitlines()) <= 2
