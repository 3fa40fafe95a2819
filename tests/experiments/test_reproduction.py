"""Contents of every table and figure, on a few households of the bundled data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from mclrec.data.loading import load
from mclrec.data.packed import ranges
from mclrec.data.sequences import SequenceData
from mclrec.experiments.campaign_plan import TARGETS, target_names
from mclrec.experiments.reproduction import Outcome, load_outcomes, reproduce
from mclrec.experiments.results_table import Measurement
from mclrec.experiments.target import Scope
from mclrec.report.page import write_report
from mclrec.report.target_sections import draw, draw_views

HOUSEHOLDS = 60
POINTS = {"figure4": 4 * 5, "figure6": 2 * 11, "figure7": 6 * 6}
BARS = {"figure3": 4, "figure8": 4 * 3}
ROWS = {"table3": 22, "table4": 7, "claim-regularizer": 4, "figure2": 2, "figure5": 2} | POINTS | BARS


def _few(data: SequenceData) -> SequenceData:
    """The first 5, 7 or 12 items of some households, so that every group of figure 8 has users."""
    lengths = np.resize([5, 7, 12], HOUSEHOLDS)
    chosen = np.flatnonzero(data.lengths >= max(lengths))[:HOUSEHOLDS]
    return SequenceData(
        items=data.items[ranges(data.offsets[chosen], lengths)],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item_ids=data.item_ids,
        user_ids=data.user_ids.take(chosen),
        name=data.name,
    )


@pytest.mark.slow
def test_every_table_and_figure(tmp_path: Path) -> None:
    """Check all targets in one test, because one campaign makes them all, with the recipes of the bundled data."""
    _few(load("complete-journey")).save(tmp_path / "data")
    scope = Scope((str(tmp_path / "data"),), settings={"epochs": 1})
    _, progress = reproduce("all", scope, tmp_path)
    assert progress.complete, [state.problem for state in progress.runs if state.problem]
    outcomes = {outcome.name: outcome for outcome in load_outcomes(tmp_path)}
    assert outcomes.keys() == set(target_names("all"))
    for name in outcomes.keys() & TARGETS.keys():
        _measures_each_of_its_rows_under_both_protocols(name, outcomes[name])
    for name in POINTS | BARS:
        _draws_all_points_with_names(name, outcomes[name].measurements)
    _draws_both_views_of_every_history("figure2", ["z1", "z2"], outcomes["figure2"])
    _draws_both_views_of_every_history("figure5", ["h1", "h2"], outcomes["figure5"])
    text = write_report([tmp_path]).read_text(encoding="utf-8")
    assert text.count("<svg") == 4 * len(POINTS | BARS) + 2
    assert all(f">{name}</h2>" in text for name in outcomes)


def _measures_each_of_its_rows_under_both_protocols(name: str, found: Outcome) -> None:
    assert found.missing == 0, name
    assert len(found.measurements) == ROWS[name] * 2 * len(TARGETS[name].metrics), name
    assert len({(row.row, row.x) for row in found.measurements}) == ROWS[name], name
    assert all(0 <= row.mean <= 1 and row.low <= row.mean <= row.high for row in found.measurements), name


def _draws_all_points_with_names(name: str, rows: Sequence[Measurement]) -> None:
    target = TARGETS[name]
    for metric, label in product(target.metrics, ("U", "F")):
        [axes] = draw(target, rows, rows[0].data, label, metric).axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == (target.x, f"{metric} ({label})")
        legend = axes.get_legend()
        assert legend
        names = {row.row.partition(", ")[0] for row in rows}
        assert {text.get_text() for text in legend.get_texts()} == names, name
        lines = [line for line in axes.get_lines() if line.get_marker() == "o"]
        drawn = len(axes.patches) or sum(len(np.asarray(line.get_xdata())) for line in lines)
        assert drawn == ROWS[name], name


def _draws_both_views_of_every_history(name: str, views: list[str], found: Outcome) -> None:
    panels = draw_views(TARGETS[name], found.view_plots, found.view_plots[0].data).axes
    assert len(panels) == len({panel.get_title() for panel in panels}) == 2
    for panel in panels:
        marks = [drawn for drawn in panel.collections if isinstance(drawn, PathCollection)]
        assert [mark.get_label() for mark in marks] == views
        for mark in marks:
            places = np.asarray(mark.get_offsets())
            assert places.shape == (HOUSEHOLDS, 2)
            assert len(np.unique(places, axis=0)) > HOUSEHOLDS / 2
        assert panel.get_xlabel() == "t-SNE, first direction"
    assert found.view_plots[0].alignment != found.view_plots[1].alignment
    assert any(table.columns[1] == "alignment" for table in found.tables)
