from dataclasses import replace

import numpy as np
import pytest
from tests.helpers import tiny_data, write_log

from mclrec.experiments.planned_runs import PlannedRun, RunStore, do_runs
from mclrec.experiments.results_table import (
    Measurement,
    PlannedRow,
    ResultTable,
    TableCell,
    latex,
    markdown,
    measure,
    pivot,
    to_arrow,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, str]:
    folder = tmp_path_factory.mktemp("frame")
    log = str(write_log(folder / "tiny.csv", tiny_data(shortest=5)))
    store = RunStore(folder / "cells")
    wanted = [
        PlannedRun(log, "markov"),
        *(PlannedRun(log, "sasrec", settings={"epochs": 1}, seed=seed) for seed in (1, 2, 3)),
    ]
    assert do_runs(store, wanted)
    return store, log


def test_several_seeds_give_students_interval(finished: tuple[RunStore, str]) -> None:
    store, log = finished
    seeds = [PlannedRun(log, "sasrec", settings={"epochs": 1}, seed=seed) for seed in (1, 2, 3)]
    found = {(row.protocol, row.metric): row for row in measure(store, [PlannedRow(log, "SASRec", seeds)])}
    values = np.array([store.run(planned).metrics["U"]["HR@10"] for planned in seeds])
    row = found["U", "HR@10"]
    assert row.mean == pytest.approx(values.mean())
    assert row.high - row.mean == pytest.approx(4.303 * values.std(ddof=1) / 3**0.5)
    assert (row.interval, row.seeds) == ("seeds", (1, 2, 3))
    assert len(found) == 12


def test_one_seed_gives_an_interval_over_users(finished: tuple[RunStore, str]) -> None:
    store, log = finished
    [row] = measure(store, [PlannedRow(log, "Markov", [PlannedRun(log, "markov")], 3.0)], ["HR@5"])[:1]
    assert row.interval == "users"
    assert row.low < row.mean < row.high
    assert row.mean == pytest.approx(store.run(PlannedRun(log, "markov")).metrics["U"]["HR@5"])


def test_unfinished_runs_are_left_out(finished: tuple[RunStore, str]) -> None:
    store, log = finished
    both = [PlannedRun(log, "markov"), PlannedRun(log, "sasrec", seed=9)]
    assert {row.seeds for row in measure(store, [PlannedRow(log, "row", both)])} == {(1,)}
    assert measure(store, [PlannedRow(log, "row", both[1:])]) == []


def test_a_data_frame_has_one_row_per_measurement(finished: tuple[RunStore, str]) -> None:
    store, log = finished
    found = measure(store, [PlannedRow(log, "Markov", [PlannedRun(log, "markov")])])
    frame = to_arrow(found).to_pandas()
    assert len(frame) == len(found) == 12
    assert frame["mean"].tolist() == [row.mean for row in found]
    assert list(frame["seeds"][0]) == [1]


def _row(name: str, mean: float, key: str, paper: float | None = None) -> Measurement:
    return Measurement(
        "d", name, None, "U", "HR@5", mean, mean - 0.01, mean + 0.01, "users", (1,), (key,), "test", paper
    )


def test_a_table_marks_the_best_two_and_notes_shared_runs() -> None:
    table = pivot(
        "T", [_row("a", 0.1, "x", 0.2), _row("b", 0.3, "y"), _row("c", 0.3, "y"), _row("d", 0.05, "z")]
    )
    assert [cell.rank for _, [cell] in table.rows] == [2, 1, 1, 0]
    assert table.rows[0][1][0].text == "0.1000 ± 0.0100 (0.2000)"
    assert table.notes[0] == "c and b come to the same settings here: one run stands for both."


def test_the_note_on_seeds_is_about_all_rows() -> None:
    def seeds(name: str, count: int) -> Measurement:
        kind = "seeds" if count > 1 else "users"
        return replace(_row(name, 0.1, name), seeds=tuple(range(1, count + 1)), interval=kind)

    [note] = pivot("T", [seeds("a", 3), seeds("b", 2), seeds("c", 1)]).notes
    assert note.startswith("one seed; ")
    assert "2 to 3 seeds; " in note
    assert pivot("T", [seeds("a", 3), seeds("b", 3)]).notes[0].startswith("3 seeds; ")


def test_brackets_are_explained_where_there_are_some() -> None:
    for paper in (None, 0.2):
        assert ("brackets" in " ".join(pivot("T", [_row("a", 0.1, "x", paper)]).notes)) == (paper is not None)


def test_markdown_and_latex_hold_the_same() -> None:
    table = ResultTable(
        "A & B", ["", "x"], [("50 %", [TableCell("1", 1)]), ("b_c", [TableCell("0.5 ± 0.1", 2)])], ["so"]
    )
    assert markdown(table).splitlines() == [
        "### A & B",
        "",
        "|  | x |",
        "| --- | ---: |",
        "| 50 % | **1** |",
        "| b_c | <u>0.5 ± 0.1</u> |",
        "",
        "- so",
    ]
    text = latex(table)
    assert r"\caption{A \& B}" in text
    assert r"50 \% & \textbf{1} \\" in text
    assert r"b\_c & \underline{0.5 $\pm$ 0.1} \\" in text
