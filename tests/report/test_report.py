"""The contents of reports."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.patches import Rectangle
from tests.cli.conftest import run_main

from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import hit_rate
from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.reproduction import load_outcomes, reproduce
from mclrec.experiments.results_table import Measurement, ResultTable, TableCell
from mclrec.experiments.target import Scope
from mclrec.report.page import Section, write_page, write_report, write_search_report
from mclrec.report.plots import Point, grouped_bars, hit_curves, learning_curves, style, styles_of, to_svg
from mclrec.report.target_sections import draw
from mclrec.runs.run import Run


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_a_report_on_runs_holds_their_numbers(runs: list[Run]) -> None:
    path = write_report([run.directory for run in runs])
    text = _text(path)
    assert path == runs[0].directory / "report.html"
    assert "<title>markov, sasrec on tiny</title>" in text
    for run in runs:
        assert f"{run.metrics['F']['NDCG@10']:.4f}" in text
        assert run.info.command in text.replace("&#39;", "'")
    assert text.count("<svg") == 6
    assert "item 0" in text  # an example's history
    assert "Bold: the best of a column; underlined: the second best." in text
    assert "40 users, 15 items" in text


def test_a_page_needs_no_other_file(runs: list[Run], tmp_path: Path) -> None:
    text = _text(write_report([runs[1].directory], tmp_path / "one.html"))
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert "@import" not in text
    assert "difference" not in text  # one run has no baseline


def test_a_page_escapes_what_looks_like_markup(tmp_path: Path) -> None:
    table = ResultTable("<b>", ["", "<i>"], [("<u>", [TableCell("<script>", 1)])])
    text = _text(write_page(tmp_path / "page.html", "<x>", [Section("<y>", ["<z>"], [table])]))
    assert not re.search(r"<(b|i|u|x|y|z)>", text)
    assert text.count("<script>") == 1
    assert 'class="best text"' in text


@pytest.mark.slow
def test_a_report_on_a_campaign_holds_tables_and_plots(log: Path, tmp_path: Path) -> None:
    scope = Scope((str(log),), ("popularity", "recency"))
    reproduce("figure7", scope, tmp_path)
    reproduce("table2", Scope((str(log),)), tmp_path)
    assert [outcome.name for outcome in load_outcomes(tmp_path)] == ["figure7", "table2"]
    text = _text(write_report([tmp_path]))
    assert text.count("<svg") == 4  # two metrics under two protocols
    assert "sparsity" in text
    assert "mclrec train" in text


def test_a_directory_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a run nor"):
        write_report([tmp_path])


def _measured(row: str, x: float | None, mean: float) -> Measurement:
    return Measurement("d", row, x, "U", "HR@20", mean, mean - 0.1, mean + 0.2, "users", (1,), ("k",))


def test_a_plot_of_lines_has_every_point_and_its_interval() -> None:
    points = [_measured(row, x, x + len(row)) for row in ("a", "bb") for x in (0.1, 0.2, 0.3)]
    others = [replace(point, protocol="F", mean=9.0) for point in points]
    [axes] = draw(TARGETS["figure7"], [*points, *others], "d", "U", "HR@20").axes
    assert axes.get_xlabel() == "share of random items"
    assert axes.get_ylabel() == "HR@20 (U)"
    legend = axes.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["a", "bb"]
    marked = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [np.asarray(line.get_xydata()).tolist() for line in marked] == [
        [[0.1, 1.1], [0.2, 1.2], [0.3, 1.3]],
        [[0.1, 2.1], [0.2, 2.2], [0.3, 2.3]],
    ]


def test_a_plot_of_groups_has_a_bar_for_each_group() -> None:
    points = [
        _measured(f"{model}, {group}", None, 1.0) for model in ("sasrec", "mclrec") for group in ("=5", ">8")
    ]
    [axes] = draw(TARGETS["figure8"], points, "d", "U", "HR@20").axes
    assert len(axes.patches) == 4
    assert [label.get_text() for label in axes.get_xticklabels()] == ["=5", ">8"]


def test_every_target_that_is_drawn_says_what_its_axis_is() -> None:
    for target in TARGETS.values():
        assert (target.kind == "table") == (not target.x)


def test_bars_stand_side_by_side_with_their_intervals() -> None:
    values = {"a": {"x": Point(1, 0.5, 2), "y": Point(2, 2, 2)}, "b": {"x": Point(3, 3, 3)}}
    [axes] = grouped_bars(values, "group", "metric").axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_height() for bar in bars] == [1, 2, 3]
    assert len({round(bar.get_x(), 6) for bar in bars}) == 3


def test_learning_curves_have_one_axis_per_metric() -> None:
    def run(metric: str) -> list[dict[str, object]]:
        return [{"epoch": epoch, "metrics": {metric: epoch / 10}} for epoch in (1, 2, 3)]

    figure = learning_curves({"a": run("mrr@10"), "b": run("ndcg@20"), "c": [{"epoch": 1, "metrics": {}}]})
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["validation MRR@10", "validation NDCG@20"]
    assert learning_curves({"a": []}) is None


def test_one_curve_of_ranks_is_the_hit_rate_at_every_length() -> None:
    ranks = [np.array([1, 1, 2, 3, 7]), np.array([1, 4, 4, 4, 7])]
    [axes] = hit_curves({"a": ranks}, num_items=6).axes
    curve, chance = axes.get_lines()
    found = dict(np.asarray(curve.get_xydata()).tolist())
    assert found == {k: pytest.approx(np.mean([hit_rate(one, k) for one in ranks])) for k in range(1, 7)}
    assert np.asarray(chance.get_ydata())[-1] == 1


def test_a_system_has_one_colour_in_every_plot() -> None:
    """Also in plots that lack another system, such as learning curves, which models that only count do not have."""
    styles = styles_of(["markov", "sasrec", "mclrec"])
    history = [{"epoch": 1, "metrics": {"ndcg@10": 0.1}}]
    curves = learning_curves({"sasrec": history, "mclrec": history}, styles)
    assert curves is not None
    bars = grouped_bars({name: {"all": Point(1, 1, 1)} for name in styles}, "x", "y", styles)
    hits = hit_curves({name: [np.array([1])] for name in styles}, 1, styles)
    for figure in (curves, bars, hits):
        handles, labels = figure.axes[0].get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            drawn: Any = handle
            shown = drawn[0].get_facecolor() if isinstance(handle, BarContainer) else drawn.get_color()
            assert label == "chance" or to_hex(shown) == styles[label].colour


def test_styles_tell_more_systems_apart_than_there_are_colours() -> None:
    assert len({style(number) for number in range(32)}) == 32


def test_a_picture_is_whole_xml_in_the_colour_of_the_page() -> None:
    text = to_svg(hit_curves({"a": [np.array([1, 5])]}, 9), "ranks")
    root = ET.fromstring(text)
    assert root.attrib["aria-label"] == "ranks"
    assert "width" not in root.attrib
    assert "currentColor" in text
    assert "the length of the list" in text


def _searched(folder: Path) -> Any:
    """The outcome of a search among names and numbers."""
    pytest.importorskip("optuna")
    from mclrec.search.study import Plan
    from mclrec.search.tuning import Outcome, Progress, TrialView

    space = folder / "own.toml"
    space.write_text('[search]\ncycle = ["none", "whole", 2]\n', encoding="utf-8")
    plan = Plan("sasrec", space, {}, 1, "leave-one-out", "log", None, "0")
    trials = [
        TrialView(number, "done", {"cycle": value}, 0.1 * number, {1: 0.1}, 1.0)
        for number, value in enumerate(("none", "whole", 2))
    ]
    return Outcome(Progress(trials, 3, "mrr@10", 1.0), plan, folder, folder / "best.toml", "mclrec train")


def test_a_search_among_names_and_numbers_is_drawn(tmp_path: Path) -> None:
    assert "Settings of each trial" in _text(write_search_report(_searched(tmp_path)))


def test_a_search_whose_result_is_json_has_a_report_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = _searched(tmp_path)
    monkeypatch.setattr("mclrec.search.tuning.tune", lambda *_, **__: outcome)
    assert run_main("tune", "complete-journey", "--json") == 0
    *_, search = map(json.loads, capsys.readouterr().out.splitlines())
    assert search["report"] == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()
