"""``mclrec demo`` on tiny data, with fewer epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.helpers import tiny_data

from mclrec.cli.commands import demo
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, RunRecord
from mclrec.runs.training_run import train
from mclrec.training.reporting import Reporter

DATA = tiny_data(users=demo._HOUSEHOLD + 5, shortest=6)
SMALL = {"hidden_size": 8, "inner_size": 8, "epochs": 1}


@pytest.fixture
def _shrunken(monkeypatch: pytest.MonkeyPatch) -> None:
    def quickly(request: TrainRequest, reporter: Reporter | None = None) -> Run:
        learns = request.model in ("sasrec", "mclrec")
        settings = {**SMALL, **(request.settings or {})}
        return train(replace(request, settings=settings if learns else None), reporter)

    monkeypatch.setattr("mclrec.data.loading.load", lambda name: DATA)
    monkeypatch.setattr("mclrec.runs.training_run.train", quickly)


@pytest.mark.usefixtures("_shrunken")
def test_demo_shows_tables_and_recommendations(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = cli("demo", "--out", "d", "--seed", 2)
    assert found.status == 0
    assert {path.name for path in Path("d").iterdir()} == {*demo._MODELS, "report.html"}
    assert Run(Path("d/mclrec")).info.seed == 2
    for model in demo._MODELS:
        assert sum(line.startswith(model) for line in found.out.splitlines()) >= 2
    sequence = [str(DATA.item_ids[int(item)]) for item in DATA.sequence(demo._HOUSEHOLD)]
    assert ", ".join(sequence[:-2]) in " ".join(found.out.split())
    assert f"What it bought next: {', '.join(sequence[-2:])}" in " ".join(found.out.split())
    history_free = [str(name) for name in DATA.item_ids if str(name) not in sequence[:-2]]
    ranked = [line for line in found.out.splitlines() if line[:2].strip().isdigit()]
    assert len(ranked) == min(10, len(history_free))
    # Progress bars and epochs do not belong on standard output.
    assert "epoch" not in found.out
    assert "epoch   1" in found.err


@pytest.mark.slow
@pytest.mark.usefixtures("_shrunken")
def test_demo_is_made_again_but_never_over_something_else(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "d"
    (out / "mclrec").mkdir(parents=True)
    (out / "mclrec" / "old").touch()
    assert cli("demo", "--out", out).status == 0
    assert not (out / "mclrec" / "old").exists()
    (out / "thesis.txt").touch()
    before = sorted(out.rglob("*"))
    assert cli("demo", "--out", out).status == 2
    assert sorted(out.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.usefixtures("_shrunken")
def test_a_demo_may_be_shorter(cli: Cli, tmp_path: Path) -> None:
    assert cli("demo", "--out", tmp_path / "d", "--epochs", 2).status == 0
    assert [Run(tmp_path / "d" / model).record.epochs for model in demo._MODELS] == [0, 2, 2]


@pytest.mark.usefixtures("_shrunken")
def test_an_interrupted_training_ends_the_demo(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training handles Ctrl-C itself and ends normally with the epochs it has; the demo then stops."""
    monkeypatch.setattr(RunRecord, "finished", property(lambda record: record.epochs == 0))
    assert cli("demo", "--out", tmp_path / "demo").status == 130
    assert (tmp_path / "demo/sasrec").exists()
    assert not (tmp_path / "demo/mclrec").exists()
