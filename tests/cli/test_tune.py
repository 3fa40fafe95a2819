"""``mclrec tune``: its output before, during and after a search."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Cli

import mclrec

pytest.importorskip("optuna")

SMALL = ("--set", "hidden_size=8", "--set", "inner_size=8", "--set", "epochs=2", "--set", "max_length=8")


@pytest.mark.slow
def test_from_space_to_recipe(cli: Cli, world: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ("tune", "log.csv", "--model", "sasrec", "--storage", "s.journal", *SMALL)
    planned = cli(*words, "--dry-run")
    assert planned.status == 0
    assert "learning_rate" in planned.out
    assert "0.1 to 0.8 in steps of 0.1" in planned.out
    assert not (world / "s.journal").exists()
    done = cli(*words, "--trials", 3)
    assert done.status == 0, done.err
    assert "3/3 trial" in done.err
    said = done.err.partition("trial")[0]
    assert "298 rows, 40 users" in said  # the summary of the log and the recipe, as `train` prints them
    assert "recipe auto: " in said
    assert "steps per epoch of" in said
    assert "precision: " in said
    assert "(the recipe: " in done.out
    assert "mclrec train log.csv --model sasrec --seed 1 --recipe s-search/best.toml" in done.out
    page = (world / "s-search" / "report.html").read_text(encoding="utf-8")
    for part in (
        "The best trial and the recipe that the search started from",
        "Validation metric by trial",
        "Settings of each trial",
    ):
        assert part in page
    trained = cli(
        "train", "log.csv", "--model", "sasrec", "--recipe", "s-search/best.toml", "--out", "best", "-q"
    )
    assert trained.status == 0, trained.err
    best = mclrec.Run(world / "best").record
    assert f"validation ndcg@10 {best.best_validation:.4f}" in done.out
    again = cli(*words, "--trials", 3)
    assert again.status == 0
    assert again.out == done.out
    assert "trial" not in again.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "markov"), "error: markov: only counts"),
        (("--track", "tensorbord"), "did you mean 'tensorboard'?"),
        (("--set", "drpout=0.1"), "did you mean 'dropout'?"),
        (("--recipe", "beauti"), "unknown recipe of mclrec 'beauti'"),
        (("--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, world: Path, words: tuple[str, ...], told: str) -> None:
    outcome = cli("tune", "log.csv", "--storage", "s.journal", *words)
    assert outcome.status == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (world / "s.journal").exists()


def test_missing_optuna_is_an_error(cli: Cli, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.extras.find_spec", lambda _: None)
    outcome = cli("tune", "log.csv")
    assert (outcome.status, outcome.err) == (2, 'error: a search needs optuna: pip install "mclrec[tune]"\n')
