"""Report on a campaign: tables and plots of each target, and the runs behind their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.data_names import data_name
from mclrec.experiments.kept_results import directories_with
from mclrec.experiments.reproduction import Outcome
from mclrec.experiments.results_table import Measurement, ResultTable, TableCell
from mclrec.experiments.target import Target
from mclrec.experiments.view_plots import ViewPlot
from mclrec.report.dot_plots import changes
from mclrec.report.page import Section, write_page
from mclrec.report.plots import Point, grouped_bars, lines, styles_of, to_svg, view_pairs
from mclrec.runs.run import LABELS, Run
from mclrec.wording import count_of

__all__ = ["draw", "draw_views", "report_outcomes"]


def report_outcomes(outcomes: Sequence[Outcome], folder: Path, path: Path) -> Path:
    """Write the report on the results of some targets.

    Args:
        outcomes: outcomes of the targets.
        folder: folder of the run directories.
        path: the HTML file to write.

    Raises:
        ConfigError: an extra is not installed.
    """
    sections = [_section(outcome) for outcome in outcomes]
    sections.append(Section("Where the numbers come from", tables=[_provenance(outcomes, folder)]))
    return write_page(path, "Tables and figures of MCLRec, by this code", sections)


def draw(target: Target, measurements: Sequence[Measurement], data: str, label: str, metric: str) -> Figure:
    """Draw one metric of a target, on one data set and under one protocol.

    Args:
        target: a target of the kind lines, bars or changes.
        measurements: measurements of any data, protocol and metric, of which the matching ones are drawn.
        data: name of the data set.
        label: protocol, U or F.
        metric: name of the metric, as in the measurements.
    """
    values: dict[str, dict[float, Point]] = {}
    bars: dict[str, dict[str, Point]] = {}
    for row in measurements:
        if (row.data, row.protocol, row.metric) != (data, label, metric):
            continue
        point = Point(row.mean, row.low, row.high)
        if target.kind == "lines" and row.x is not None:
            values.setdefault(row.row, {})[row.x] = point
        else:
            name, _, group = row.row.partition(", ")
            bars.setdefault(name, {})[group or data_name(data)] = point
    title = f"{metric} ({label})"
    if target.kind == "changes":
        return changes(bars, f"{target.x}: {title}")
    # Of all measurements, so that plots have the same styles.
    styles = styles_of(_name(target, row) for row in measurements)
    if values:
        return lines(values, target.x, title, styles)
    return grouped_bars(bars, target.x, title, styles)


def _name(target: Target, row: Measurement) -> str:
    """Name of the line or bars that a measurement belongs to."""
    return row.row if target.kind == "lines" and row.x is not None else row.row.partition(", ")[0]


def draw_views(target: Target, plots: Sequence[ViewPlot], data: str) -> Figure:
    """Draw a target's view plots on one data set: the first seed of each row.

    Args:
        target: a target of the kind views.
        plots: view plots of any data set and seed, of which the matching ones are drawn.
        data: name of the data set.
    """
    chosen: dict[str, ViewPlot] = {}
    for plot in plots:
        if plot.data == data:
            chosen.setdefault(plot.row, plot)
    places = {f"{data_name(data)}, {row}": (plot.one, plot.other) for row, plot in chosen.items()}
    return view_pairs(places, next(iter(chosen.values())).views, target.x, "second direction")


def _section(outcome: Outcome) -> Section:
    if outcome.name not in TARGETS:
        return Section(outcome.name, tables=outcome.tables)
    target = TARGETS[outcome.name]
    places = [*(row.data for row in outcome.measurements), *(plot.data for plot in outcome.view_plots)]
    pictures = [
        to_svg(draw_views(target, outcome.view_plots, data), f"{target.title}: {data_name(data, places)}")
        for data in dict.fromkeys(plot.data for plot in outcome.view_plots)
    ]
    pictures += [
        to_svg(
            draw(target, outcome.measurements, data, label, metric),
            f"{target.title}: {data_name(data, places)}, {metric}, {label}",
        )
        for metric in target.figures
        for data in dict.fromkeys(row.data for row in outcome.measurements if row.metric == metric)
        for label in LABELS
    ]
    text = [f"{target.title}{target.origin}."]
    if outcome.missing:
        text.append(f"Partial: {count_of(outcome.missing, 'run')} not done.")
    return Section(outcome.name, text, outcome.tables, pictures)


def _provenance(outcomes: Sequence[Outcome], folder: Path) -> ResultTable:
    keys = dict.fromkeys(key for outcome in outcomes for row in outcome.measurements for key in row.keys)
    runs = [Run(directory) for key in keys for directory in directories_with(folder, key)[:1]]
    rows = []
    for run in runs:
        info, record = run.info, run.record
        texts = (
            info.command,
            f"{info.recipe.section}: {info.recipe.source}",
            f"{info.data.name} {info.data.fingerprint[:12]}",
            f"{record.best_epoch} of {record.epochs}" if record.epochs else "-",
        )
        seconds = TableCell(f"{record.seconds:.0f}", value=record.seconds)
        rows.append((run.directory.name, [*(TableCell(text) for text in texts), seconds]))
    return ResultTable("Runs", ["run", "command", "recipe", "data", "epochs", "seconds"], rows)
