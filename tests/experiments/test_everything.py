"""Every table and figure, on a few households of the bundled data: what it draws, not that it draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from mclrec.data.packed import ranges
from mclrec.data.sequences import SequenceData
from mclrec.data.sources import load
from mclrec.experiments.registry import SIZES, TARGETS
from mclrec.experiments.reproduce import Outcome, load_outcomes, reproduce
from mclrec.experiments.target import Scope
from mclrec.report.targets import draw, draw_clouds
from mclrec.report.write import write_report

pytestmark = pytest.mark.xdist_group("everything")  # made once, by one worker

HOUSEHOLDS = 60
POINTS = {"figure4": 4 * 5, "figure6": 2 * 11, "figure7": 6 * 6}
BARS = {"figure3": 4, "figure8": 4 * 3}
ROWS = {"table3": 16, "table4": 7, "claim-regularizer": 4, "figure2": 2, "figure5": 2} | POINTS | BARS


def _few(data: SequenceData) -> SequenceData:
    """The first items of some households: 5, 7 or 12 of them, so that every group of figure 8 has users."""
    lengths = np.resize([5, 7, 12], HOUSEHOLDS)
    chosen = np.flatnonzero(data.lengths >= max(lengths))[:HOUSEHOLDS]
    return SequenceData(
        items=data.items[ranges(data.offsets[chosen], lengths)],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item_ids=data.item_ids,
        user_ids=data.user_ids.take(chosen),
        name=data.name,
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all targets were made, by the recipes of the data that the households are from."""
    folder = tmp_path_factory.mktemp("everything")
    _few(load("complete-journey")).save(folder / "data")
    scope = Scope((str(folder / "data"),), settings={"epochs": 1})
    _, progress = reproduce("all", scope, folder)
    assert progress.complete, [state.problem for state in progress.cells if state.problem]
    return folder


@pytest.fixture(scope="module")
def outcomes(out: Path) -> Mapping[str, Outcome]:
    return {outcome.name: outcome for outcome in load_outcomes(out)}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_measures_each_of_its_rows_under_both_protocols(
    name: str, outcomes: Mapping[str, Outcome]
) -> None:
    found = outcomes[name]
    assert found.missing == 0
    assert len(found.measurements) == ROWS[name] * 2 * len(TARGETS[name].metrics)
    assert len({(row.row, row.x) for row in found.measurements}) == ROWS[name]
    assert all(0 <= row.mean <= 1 and row.low <= row.mean <= row.high for row in found.measurements)


@pytest.mark.parametrize("name", sorted(POINTS | BARS))
def test_every_drawing_shows_all_points_with_names(name: str, outcomes: Mapping[str, Outcome]) -> None:
    target, rows = TARGETS[name], outcomes[name].measurements
    for metric in target.metrics:
        for label in ("U", "F"):
            [axes] = draw(target, rows, rows[0].data, label, metric).axes
            assert axes.get_xlabel() == target.x
            assert axes.get_ylabel() == f"{metric} ({label})"
            legend = axes.get_legend()
            assert legend
            assert {text.get_text() for text in legend.get_texts()} == {
                row.row.partition(", ")[0] for row in rows
            }
            drawn = len(axes.patches) or sum(
                len(np.asarray(line.get_xdata())) for line in axes.get_lines() if line.get_marker() == "o"
            )
            assert drawn == ROWS[name]


@pytest.mark.parametrize(("name", "views"), [("figure2", ["z1", "z2"]), ("figure5", ["h1", "h2"])])
def test_clouds_show_both_views_of_every_history(
    name: str, views: list[str], outcomes: Mapping[str, Outcome]
) -> None:
    found = outcomes[name]
    panels = draw_clouds(TARGETS[name], found.clouds, found.clouds[0].data).axes
    assert len(panels) == len({panel.get_title() for panel in panels}) == 2
    for panel in panels:
        marks = [drawn for drawn in panel.collections if isinstance(drawn, PathCollection)]
        assert [mark.get_label() for mark in marks] == views
        for mark in marks:
            places = np.asarray(mark.get_offsets())
            assert places.shape == (HOUSEHOLDS, 2)
            assert len(np.unique(places, axis=0)) > HOUSEHOLDS / 2
        assert panel.get_xlabel() == "t-SNE, first direction"
    assert found.clouds[0].alignment != found.clouds[1].alignment
    assert any(sheet.columns[1] == "alignment" for sheet in found.sheets)


def test_all_of_it_is_one_report(out: Path) -> None:
    text = write_report([out]).read_text(encoding="utf-8")
    pictures = 4 * len(POINTS | BARS) + 2
    assert text.count("<svg") == pictures
    for name in TARGETS.keys() | SIZES.keys():
        assert f">{name}</h2>" in text
