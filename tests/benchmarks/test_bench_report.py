"""Result files, and the page generated from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.markdown import insert
from benchmarks.outcome import Outcome, read_results, write_result
from benchmarks.plots import draw_epochs, draw_growth
from benchmarks.processes import ROOT, BenchmarkError, Measurement
from benchmarks.report import generated
from benchmarks.session import Session
from benchmarks.summary import Curve, Finding, Point, Spread

PAGE = "# Title\n\n<!-- benchmarks: begin -->\n\nold\n\n<!-- benchmarks: end -->\n\n## Notes\n\nby hand\n"


@pytest.fixture
def folder(
    session: Session, measured: Callable[..., Measurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Results of two rows."""
    folder = tmp_path / "results"
    monkeypatch.setattr("benchmarks.outcome.FULL_FOLDER", folder)
    monkeypatch.setattr("benchmarks.outcome.QUICK_FOLDER", folder / "quick")
    run = measured(batch_seconds=[0.5, 0.25, 1e-5], versions={"torch": "2.13.0"})
    epochs = Outcome(
        [
            Finding("ratio", 0.16, "x", 0.17, ours="16 s", theirs="100 s"),
            Finding("miss", 14, "x", 15, "at least"),
        ],
        work={"cuts": [5, 10]},
        sides={"SASRec, fp32": Spread((16.0,), "s"), "RecBole": Spread((100.0,), "s")},
        runs={"SASRec, fp32": [run]},
        notes=["A note."],
    )
    curve = Curve("work", "rows", (Point(10, 1.0, 10**9), Point(100, 10.0, 2 * 10**9)), 5 * 10**8)
    write_result("epoch-prefixes", "an epoch", epochs, session, quick=False)
    write_result("growth", "growth", Outcome([], curves=[curve]), session, quick=False)
    write_result("start", "start", Outcome([]), session, quick=True)
    return folder


def test_results_are_whole_and_quick_ones_apart(folder: Path) -> None:
    results = read_results(folder)
    assert list(results) == ["epoch-prefixes", "growth"]
    assert list(read_results(folder / "quick")) == ["start"]
    found = results["epoch-prefixes"]
    assert found["runs"]["SASRec, fp32"][0]["batch_seconds"] == [0.5, 0.25, 1e-5]
    assert [finding["met"] for finding in found["findings"]] == [True, False]
    assert found["machine"]["cores"] >= 1
    assert results["growth"]["curves"][0]["time_slope"] == 1.0


def test_lists_of_numbers_stand_on_one_line(folder: Path) -> None:
    text = (folder / "epoch-prefixes.json").read_text(encoding="utf-8")
    assert '"batch_seconds": [0.5, 0.25, 1e-05]' in text
    assert '"cuts": [5, 10]' in text
    assert text.startswith('{\n  "format": 1')
    json.loads(text)


def test_the_page_states_what_was_measured(folder: Path) -> None:
    text = generated(read_results(folder), {"Growth": "images/growth.svg"})
    assert "| ratio | 16 s | 100 s | 0.16x | at most 0.17x | yes |" in text
    assert "| miss |  |  | 14x | at least 15x | no |" in text
    assert "| epoch-prefixes | SASRec, fp32 | 16 s | 16 s | 16 s | 1 |" in text
    assert "| work | rows | 10 | 100 | 1.00 | 1.00 | 0.48 |" in text
    assert "- A note." in text
    assert "![Growth](images/growth.svg)" in text
    assert "torch 2.13.0" in text


def test_only_what_is_between_the_markers_changes() -> None:
    page = insert(PAGE, "new")
    assert page == PAGE.replace("old", "new")
    assert insert(page, "new") == page


@pytest.mark.parametrize("page", ["", "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"])
def test_a_page_without_markers_is_left_alone(page: str) -> None:
    with pytest.raises(BenchmarkError, match="must be in the page"):
        insert(page, "new")


def test_the_real_page_has_markers() -> None:
    assert "new" in insert(report.PAGE.read_text(encoding="utf-8"), "new")


def test_pictures_are_the_same_for_the_same_results(folder: Path, tmp_path: Path) -> None:
    results = read_results(folder)
    for draw in (draw_epochs, draw_growth):
        first, second = (draw(results, tmp_path / f"{number}.svg") for number in (1, 2))
        assert first is not None
        assert second is not None
        assert first.read_bytes() == second.read_bytes()
        assert draw({}, tmp_path / "none.svg") is None
    assert not (tmp_path / "none.svg").exists()


def test_the_pages_are_what_the_result_files_say(monkeypatch: pytest.MonkeyPatch) -> None:
    report.check_report()
    monkeypatch.setattr(report, "headlines", lambda _: "other")
    with pytest.raises(BenchmarkError, match=r"README\.md: differs from benchmarks/results"):
        report.check_report()


def test_report_needs_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FULL_FOLDER", ROOT / "no-such-folder")
    with pytest.raises(BenchmarkError, match="run `make bench` first"):
        report.write_report()
