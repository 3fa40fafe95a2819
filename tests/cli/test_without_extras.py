"""In an installation without extras, commands say what they need before they begin, and leave nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, run_main, write_log
from tests.cli.test_bad_input import listing

from mclrec.errors import ConfigError
from mclrec.extras import EXTRAS


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a log and a run, in an installation without any extra."""
    write_log(tmp_path / "log.csv")
    monkeypatch.chdir(tmp_path)
    assert run_main("train", "log.csv", "--model", "markov", "--out", "markov", "-q") == 0
    capsys.readouterr()
    for module in [module for extra in EXTRAS.values() for module in extra.packages]:
        monkeypatch.setitem(sys.modules, module, None)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        ("report markov", "a report needs"),
        ("tune log.csv", "a search needs"),
        ("serve markov", "the service needs"),
        ("export markov", "an export to ONNX needs"),
        ("train log.csv --model iclrec", "iclrec needs scikit-learn"),
        ("reproduce figure2 --datasets complete-journey --out new", "t-SNE needs scikit-learn"),
        ("reproduce table3 --datasets log.csv --models iclrec --out new", "iclrec needs scikit-learn"),
        ("reproduce table4 --datasets log.csv --track tensorboard --out new", "tracking needs"),
        ("train log.csv --track tensorboard", "tracking needs"),
        ("prepare log.csv --out prepared --engine spark", "the engine spark needs"),
    ],
)
def test_commands_in_a_bare_installation(cli: Cli, bare: Path, words: str, needs: str) -> None:
    before = listing(bare)
    found = cli(*words.split())
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: {needs}")
    assert 'pip install "mclrec[' in found.err
    assert listing(bare) == before


def test_a_search_for_a_model_with_an_extra_says_so_before_data_are_read(
    cli: Cli, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in EXTRAS["a search"].packages:
        monkeypatch.delitem(sys.modules, module)
    found = cli("tune", "nowhere.csv", "--model", "iclrec", "--workers", "2")
    assert (found.status, found.out) == (2, "")
    assert "error: iclrec needs scikit-learn: pip install" in found.err
    assert not (bare / "runs").exists()


def test_the_demo_does_without_a_report_and_says_so_first(
    cli: Cli, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*words: object) -> None:
        raise ConfigError("training begins")

    monkeypatch.setattr("mclrec.runs.training_run.train", stop)
    found = cli("demo")
    assert found.err == "error: training begins\n"
    assert found.out.startswith(
        "The demo ends without a report: a report needs jinja2 and matplotlib: pip install"
    )
