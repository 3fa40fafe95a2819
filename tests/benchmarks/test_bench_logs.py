"""The comparison on logs: its plan, its files, the ranking of peers' lists, and the generated pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data

from benchmarks.logs import cells as log_cells
from benchmarks.logs.campaign import LOGS_FOLDER, measure_cells, read_cells
from benchmarks.logs.cells import LOGS, SYSTEMS, Cell, plan
from benchmarks.logs.measuring import Laboratory, Limits
from benchmarks.logs.page import findings, logs_page, logs_summary, rows
from benchmarks.markdown import insert
from benchmarks.ours import export, log_settings
from benchmarks.ours.log_ranking import list_ranks
from benchmarks.peers.log_lists import Histories, read_histories, top_lists
from benchmarks.processes import BenchmarkError, Child, Measurement
from benchmarks.report import PAGE, README
from benchmarks.session import Session
from mclrec.data.loading import load
from mclrec.data.split import leave_one_out
from mclrec.recipes.auto import DataSizes
from mclrec.runs.recipe_choice import recipe_for


def test_the_pages_are_what_the_files_say() -> None:
    cells = read_cells(LOGS_FOLDER)
    for page, text in ((PAGE, logs_page(cells)), (README, logs_summary(cells))):
        written = page.read_text(encoding="utf-8")
        assert insert(written, text, "logs") == written, "run python -m benchmarks report"


def test_parts_of_the_plan() -> None:
    assert len(plan()) == len(LOGS) * sum(system.seeds for system in SYSTEMS.values())
    assert plan(["ml-100k,markov"]) == [Cell("ml-100k", "markov", 1)]
    assert {cell.log for cell in plan(["markov"])} == LOGS.keys()
    assert plan(["lastfm", "rectools"], seeds=2) == [Cell("lastfm", "rectools", seed) for seed in (1, 2)]
    with pytest.raises(BenchmarkError, match="no log or system 'netflix'"):
        plan(["netflix"])


def test_a_log_is_found_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCLREC_DATA", str(tmp_path))
    assert LOGS["complete-journey"].path().is_file()
    with pytest.raises(BenchmarkError, match=r"lastfm\.txt: not found"):
        LOGS["lastfm"].path()
    (tmp_path / "lastfm.txt").write_text("1 2 3", encoding="utf-8")
    assert LOGS["lastfm"].path() == tmp_path / "lastfm.txt"


class _Laboratory(Laboratory):
    """A laboratory that returns fixed results without training."""

    def measure(self, cell: Cell) -> dict[str, Any]:
        if cell.system == "recbole":
            raise BenchmarkError("no ray today")
        return _answer(0.1 if cell.system == "mclrec" else 0.05)

    def _other_setting(self, cell: Cell, document: Mapping[str, Any]) -> str | None:
        return None


def _answer(ndcg: float, seconds: float = 60.0, ended: str = "epochs") -> dict[str, Any]:
    metrics = {"HR@10": 2 * ndcg, "NDCG@10": ndcg, "NDCG@20": 1.5 * ndcg}
    return {
        "seconds": seconds,
        "processor_seconds": seconds,
        "peak_bytes": 10**9,
        "metrics": {"F": metrics, "U": metrics},
        "ended": ended,
        "versions": {"torch": "2.13.0"},
    }


def test_a_campaign_goes_on_where_it_was(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{user} 1 2 3 4 5 6\n" for user in range(1, 13))
    monkeypatch.setattr(log_cells.Log, "path", lambda log: _written(tmp_path / log.file, text))
    wanted = plan(["lastfm", "mclrec", "rectools", "recbole"], seeds=1)
    folder = tmp_path / "results"
    failed = measure_cells(wanted, _Laboratory(session, Limits()), folder)
    assert failed == [Cell("lastfm", "recbole", 1)]
    found = read_cells(folder)
    assert list(found) == wanted[:2]
    document = found[Cell("lastfm", "mclrec", 1)]
    assert document["question"]["command"] == "mclrec train lastfm.txt --seed 1"
    assert {"machine", "load", "threads", "measured", "seconds", "versions"} <= document.keys()
    assert str(tmp_path) not in json.dumps(document)

    again = _CountingLaboratory(session, Limits())
    measure_cells(wanted[:2], again, folder)
    assert again.measured == []
    measure_cells(wanted[:2], again, folder, again=True)
    assert again.measured == wanted[:2]
    other = _CountingLaboratory(replace(session, threads=2), Limits())
    measure_cells(wanted[:2], other, folder)
    assert other.measured == wanted[:2]  # the question has changed

    other.measured.clear()
    monkeypatch.setattr(_Laboratory, "_other_setting", lambda *_: "dropout = 0.5, now 0.3")
    fresh = _CountingLaboratory(replace(session, threads=2), Limits())
    measure_cells(wanted[:2], fresh, folder)
    assert fresh.measured == wanted[:1]  # only ours changed its recipe; peers have none


def test_a_result_is_by_the_settings_that_its_command_comes_to(tmp_path: Path) -> None:
    path = _written(tmp_path / "lastfm.txt", "".join(f"{user} 1 2 3 4 5 6\n" for user in range(1, 13)))
    data = load(path)
    recipe = recipe_for("sasrec", data, DataSizes.of(leave_one_out(data), 0.0))
    request: dict[str, Any] = {
        "data": str(path),
        "item": None,
        "model": "sasrec",
        "settings": {},
        "config": recipe.config.model_dump(mode="json", by_alias=True),
        "training": recipe.training.on(torch.device("cpu")).model_dump(mode="json"),
    }
    assert log_settings.measure(request) == {"other": None}
    old = {**request, "training": {**request["training"], "patience": 1}}
    assert "patience = 1, now " in log_settings.measure(old)["other"]


class _CountingLaboratory(_Laboratory):
    measured: list[Cell]

    def __init__(self, session: Session, limits: Limits) -> None:
        super().__init__(session, limits)
        object.__setattr__(self, "measured", [])

    def measure(self, cell: Cell) -> dict[str, Any]:
        self.measured.append(cell)
        return super().measure(cell)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("system", ["rectools", "rectools-fast", "recbole"])
def test_peers_get_the_prepared_rows(
    system: str, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[Child] = []

    def run(child: Child, **_: Any) -> Measurement:
        children.append(child)
        if "lists" in child.request:
            Path(child.request["lists"]).touch()
        return Measurement({"fingerprint": "f", "metrics": {}, "seconds": 1.0}, 2.0, 2.0, 10**9)

    monkeypatch.setattr("benchmarks.session.run_child", run)
    monkeypatch.setattr("benchmarks.session.peer_python", lambda name, console: Path(name))
    monkeypatch.setattr(log_cells.Log, "path", lambda log: tmp_path / log.file)
    answer = Laboratory(session, Limits(box_minutes=2)).measure(Cell("complete-journey", system, 1))
    rows_child, peer, ranking = children
    assert rows_child.request["columns"] == {"item": "product_type"}
    assert peer.request["inter"] == ranking.request["inter"] == rows_child.request["path"]
    # RecBole has its own data sets called ml-100k and lastfm, and would read those instead.
    assert Path(peer.request["inter"]).stem == "complete-journey-rows"
    assert peer.request.get("box_seconds") == (120 if system == "recbole" else None)
    assert answer["seconds"] == 1.0
    assert answer["fingerprint"] == "f"


def test_ours_must_train_on_the_same_sequences(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Child]
) -> None:
    def command(words: list[str], **_: Any) -> Measurement:
        directory = Path(words[words.index("--out") + 1])
        directory.mkdir()
        info = {"data": {"fingerprint": "other"}}
        (directory / "config.json").write_text(json.dumps(info), encoding="utf-8")
        (directory / "metrics.json").write_text("{}", encoding="utf-8")
        return Measurement({}, 1.0, 1.0, 10**9)

    monkeypatch.setattr("benchmarks.session.run_command", command)
    monkeypatch.setattr(log_cells.Log, "path", lambda log: tmp_path / log.file)
    laboratory = Laboratory(session, Limits())
    laboratory._rows["lastfm"] = {"fingerprint": "one"}
    with pytest.raises(BenchmarkError, match="other sequences"):
        laboratory.measure(Cell("lastfm", "sasrec", 1))


def test_rows_and_histories_are_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    lines = [f"u{user},i{(user * place) % 7},{place}" for user in range(9) for place in range(6)]
    log.write_text("\n".join(["who,what,when", *lines]), encoding="utf-8")
    columns = {"user": "who", "item": "what", "time": "when"}
    path = tmp_path / "rows" / "rows.inter"
    said = export.measure({"data": str(log), "columns": columns, "path": str(path)})
    histories = read_histories(path)
    assert (histories.users, histories.num_items) == (said["users"], said["items"])
    assert len(histories.items) == said["interactions"]
    assert set(said["fingerprint"]) <= set("0123456789abcdef")


@pytest.mark.parametrize("seed", range(5))
def test_lists_rank_as_scores_do(seed: int) -> None:
    """The rank in a list is 1 + the number of other candidates that score at least as high as the target."""
    rng = np.random.default_rng(seed)
    data = tiny_data(users=12, seed=seed)
    histories = Histories(data.items.astype(np.int64), data.offsets)
    scores = rng.integers(0, 6, size=(histories.users, histories.num_items + 1)).astype(np.float32)
    ranks = list_ranks(histories, *top_lists(scores, histories, 0, histories.num_items))
    for user, rank in enumerate(ranks):
        history, target = histories.before_last(user), histories.last(user)
        candidates = np.setdiff1d(np.arange(1, histories.num_items + 1), history)
        beaten = np.count_nonzero(scores[user, candidates] >= scores[user, target])
        assert rank == (histories.num_items + 1 if target in history else beaten)


@pytest.mark.parametrize("listed", [[2, 2], [1, 3]])
def test_a_list_that_breaks_the_protocol_is_refused(listed: list[int]) -> None:
    histories = Histories(np.array([1, 2, 3]), np.array([0, 3]))
    with pytest.raises(ValueError, match="twice, or one of the history"):
        list_ranks(histories, np.array([listed]), np.array([[1.0, 0.5]]))
    with pytest.raises(ValueError, match="not a number"):
        top_lists(np.array([[0, np.nan, 1, 1]], dtype=np.float32), histories, 0, 3)


MACHINE = {
    "processor": "P",
    "family": "1",
    "instruction_sets": [],
    "available_cores": 2,
    "memory_gib": 1,
    "system": "Linux",
}


def _cell_files(**seconds: float) -> Mapping[Cell, dict[str, Any]]:
    def document(ndcg: float, system: str) -> dict[str, Any]:
        return {
            **_answer(ndcg, seconds.get(system, 100.0), "time box" if system == "recbole" else "epochs"),
            "machine": MACHINE,
            "threads": 1,
            "measured": "2026-01-01T00:00:00",
            "load": {"before": 0.1, "after": 1.0},
        }

    ndcg = {"mclrec": 0.1, "rectools": 0.04, "recbole": 0.08}
    return {Cell("ml-100k", system, 1): document(value, system) for system, value in ndcg.items()}


def test_the_page_compares_with_the_best_peer_and_the_targets() -> None:
    cells = _cell_files(mclrec=60.0, recbole=1800.0)
    text = logs_page(cells)
    assert "| ml-100k | mclrec train LOG | 60 s | 60 s | 1 GB | 0.2000 | 0.1000 | 1.25x | 1 |" in text
    assert (
        "| ml-100k | RecBole 1.2.1, SASRec | 1,800 s (time box) | 1,800 s | 1 GB | 0.1600 | 0.0800 | 1.00x | 1 |"
        in text
    )
    assert "Load of the machine before and after each training: 0.10 to 1.00" in text
    met = {finding.what: finding.met for finding in findings(rows(cells))}
    assert list(met.values()) == [True, True, True, True]
    slow = findings(rows(_cell_files(mclrec=200.0, recbole=100.0)))
    assert [finding.met for finding in slow] == [False, True, True, False]
    assert logs_summary(cells).count("| ml-100k |") == 3
    assert logs_summary({}) == ""
    assert logs_page({}) == "Not measured yet: `make bench-logs`."
