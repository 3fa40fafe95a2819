"""Published rows are retrained using their commands, and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from mclrec.json_files import read_json, write_json
from scripts import rerun
from scripts.results_overview import overview

ROW = "complete-journey-markov-seed1"
BUNDLED = Path(__file__).parents[1] / "results" / f"{ROW}.json"


@pytest.mark.parametrize("out", [True, False], ids=["with --out", "without --out"])
def test_a_row_is_trained_again_and_written_down(
    out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = read_json(BUNDLED)
    if not out:
        row["command"] = row["command"].partition(" --out")[0]
    row["test"]["F"]["NDCG@20"] += 0.0002
    row["test"]["U"]["HR@5"] += 1e-7  # not visible in four digits
    write_json(tmp_path / "results" / f"{ROW}.json", row)
    monkeypatch.setattr(rerun, "RESULTS", tmp_path / "results")
    rerun.main([ROW])
    [found] = rerun.read_reruns(tmp_path / "results")
    assert (found["row"], found["metrics"], found["alike"], found["farthest"]) == (
        ROW,
        "18",
        "17",
        "NDCG@20 F",
    )
    assert float(found["published"]) - float(found["again"]) == pytest.approx(0.0002, abs=1.1e-4)
    assert f"{ROW}: 17 of 18 metrics alike to 4 digits; NDCG@20 F was" in capsys.readouterr().out
    write_json(tmp_path / "results" / f"{ROW}.json", read_json(BUNDLED))
    for _ in range(2):  # the second time, the kept run is compared
        rerun.main([ROW, "--runs", str(tmp_path / "runs")])
        [found] = rerun.read_reruns(tmp_path / "results")
        assert (found["alike"], found["farthest"]) == ("18", "")
    write_json(tmp_path / "results" / f"{ROW}.json", {**read_json(BUNDLED), "seed": 2})
    with pytest.raises(SystemExit, match=r"error: .*holds another run than the row's; remove it"):
        rerun.main([ROW, "--runs", str(tmp_path / "runs")])
    write_json(tmp_path / "results" / f"{ROW}.json", {**row, "command": "mclrec train no-such-data"})
    with pytest.raises(SystemExit, match=r"error: .*its training ended with status [0-9]"):
        rerun.main([ROW])


def test_a_row_that_is_not_published_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rerun.main(["beauty-marko-seed1"])
    assert "unknown row 'beauty-marko-seed1'; did you mean 'beauty-markov-seed1'?" in capsys.readouterr().err


def test_each_row_is_written_down_once_for_each_processor(tmp_path: Path) -> None:
    def compared(row: str, processor: str, alike: int) -> dict[str, object]:
        return dict.fromkeys(rerun.COLUMNS, "") | {
            "row": row,
            "processor": processor,
            "alike": alike,
            "metrics": 18,
        }

    assert rerun.read_reruns(tmp_path) == []
    for found in (("b", "x", 1), ("a", "x", 2), ("b", "y, AVX2", 3), ("b", "x", 4)):
        rerun.write_down(compared(*found), tmp_path)
    written = rerun.read_reruns(tmp_path)
    assert [(one["row"], one["processor"], one["alike"]) for one in written] == [
        ("a", "x", "2"),
        ("b", "x", "4"),
        ("b", "y, AVX2", "3"),
    ]
    page = overview({}, [], written)
    assert "| b | y, AVX2 |  | 3 of 18 metrics alike to 4 digits |" in page
    assert "## Trained again" not in overview({}, [], [])
