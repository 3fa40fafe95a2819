"""Plots as matplotlib figures, and as SVG in the page's text colour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mclrec.data.packed import IntArray
from mclrec.report.svg import svg_text

__all__ = [
    "INK",
    "Point",
    "Scatter",
    "Style",
    "best_so_far",
    "curve",
    "errors",
    "grouped_bars",
    "histogram",
    "hit_curves",
    "learning_curves",
    "lines",
    "parallel",
    "ranked_bars",
    "scatters",
    "style",
    "styles_of",
    "to_svg",
    "value_curves",
    "view_pairs",
]

INK = "#010203"
"""Placeholder for the page's text colour, replaced when the SVG is written."""

_COLOURS = ("#1b6ca8", "#d1701f", "#3c8d40", "#b3394b", "#7a5ba6", "#8a6d3b", "#5f7f8c", "#c0569f")
_DASHES = ("-", "--", ":", "-.")
_HATCHES = ("", "//", "..", "xx")
"""Dashes and hatches distinguish systems if there are more of them than colours."""

_CURVE = 400
"""Number of points of a curve over all ranks."""

_LEGEND = 100
"""Number of characters that fit into one line of a legend."""

_FULL_SIZE_GROUPS = 5
"""Number of groups of bars up to which their names fit in the usual font size."""

Places = Sequence[tuple[float, float]]


class Point(NamedTuple):
    """A value with its interval."""

    mean: float
    low: float
    high: float


class Scatter(NamedTuple):
    """The points of one scatter plot.

    Attributes:
        x: positions, as numbers or names.
        y: values.
        log: whether the horizontal axis is logarithmic.
    """

    x: Sequence[Any]
    y: Sequence[float]
    log: bool = False


class Style(NamedTuple):
    """How one system is drawn in all plots of a page.

    Attributes:
        colour: colour of lines and bars.
        dash: line style of lines.
        hatch: fill pattern of bars.
    """

    colour: str
    dash: str
    hatch: str


def style(number: int) -> Style:
    """Style of the system with that number, counted from 0."""
    cycle, place = divmod(number, len(_COLOURS))
    return Style(_COLOURS[place], _DASHES[cycle % len(_DASHES)], _HATCHES[cycle % len(_HATCHES)])


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Assign styles to names in their order; to be called once for all plots of a page."""
    return {name: style(number) for number, name in enumerate(dict.fromkeys(names))}


def learning_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], styles: Mapping[str, Style] | None = None
) -> Figure | None:
    """Plot the validation metric by epoch: a line per run, with its best epoch marked; None if no run has epochs.

    Args:
        histories: histories of the runs, by name.
        styles: styles of the runs; assigned in their order if None.
    """
    styles = styles or styles_of(histories)
    measured = {name: [epoch for epoch in history if epoch["metrics"]] for name, history in histories.items()}
    metrics = list(dict.fromkeys(next(iter(run[0]["metrics"])) for run in measured.values() if run))
    if not metrics:
        return None
    figure, grid = _figure(len(metrics))
    for axes, metric in zip(grid, metrics, strict=True):
        for name, run in measured.items():
            values = [
                (epoch["epoch"], epoch["metrics"][metric]) for epoch in run if metric in epoch["metrics"]
            ]
            if values:
                colour, dash, _ = styles[name]
                axes.plot(*zip(*values, strict=True), dash, color=colour, label=name)
                axes.plot(*max(values, key=lambda value: value[1]), "o", color=colour)
        _label(axes, "epoch", f"validation {metric.upper()}")
    return figure


def hit_curves(
    ranks: Mapping[str, Sequence[IntArray]],
    num_items: int,
    styles: Mapping[str, Style] | None = None,
    *,
    longest: int | None = None,
) -> Figure:
    """Plot HR@k over k: the share of targets that are among the first k places, for every length of the list.

    Args:
        ranks: ranks of the targets, for each seed, by name of the system.
        num_items: V, the length of the longest possible list.
        styles: styles of the systems; assigned in their order if None.
        longest: length up to which the ranks are known; V if None.
    """
    styles = styles or styles_of(ranks)
    figure, [axes] = _figure(1)
    lengths = np.unique(np.geomspace(1, longest or num_items, _CURVE).round().astype(np.int64))
    for name, seeds in ranks.items():
        hits = [np.searchsorted(np.sort(one), lengths, side="right") / len(one) for one in seeds]
        axes.plot(lengths, np.mean(hits, 0), styles[name].dash, color=styles[name].colour, label=name)
    axes.plot(lengths, lengths / num_items, ":", color=INK, alpha=0.6, linewidth=1, label="chance")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0, 1 if longest is None else None)  # short lists hold few targets
    _label(axes, "k, the length of the list", "HR@k: share of targets in it")
    return figure


def grouped_bars(
    values: Mapping[str, Mapping[str, Point]], x: str, y: str, styles: Mapping[str, Style] | None = None
) -> Figure:
    """Plot bars with intervals: a cluster per group (inner name), and in it a bar per outer name.

    Args:
        values: values by name and group.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        styles: styles of the outer names; assigned in their order if None.
    """
    styles = styles or styles_of(values)
    groups = list(dict.fromkeys(group for row in values.values() for group in row))
    figure, [axes] = _figure(1)
    width = 0.8 / len(values)
    for number, (name, row) in enumerate(values.items()):
        present = [group for group in groups if group in row]
        places = [groups.index(group) - 0.4 + (number + 0.5) * width for group in present]
        means = [row[group].mean for group in present]
        axes.bar(places, means, width, color=styles[name].colour, hatch=styles[name].hatch, label=name)
        axes.errorbar(
            places, means, errors([row[group] for group in present]), fmt="none", ecolor=INK, capsize=2
        )
    axes.set_xticks(range(len(groups)), groups, fontsize=10 if len(groups) <= _FULL_SIZE_GROUPS else 8)
    _label(axes, x, y)
    return figure


def lines(
    values: Mapping[str, Mapping[float, Point]], x: str, y: str, styles: Mapping[str, Style] | None = None
) -> Figure:
    """Plot lines with intervals, one per outer name; arguments as for `grouped_bars`."""
    styles = styles or styles_of(values)
    figure, [axes] = _figure(1)
    for name, row in values.items():
        places = sorted(row)
        points = [row[place] for place in places]
        means = [point.mean for point in points]
        colour, dash, _ = styles[name]
        axes.errorbar(
            places, means, errors(points), color=colour, linestyle=dash, label=name, marker="o", capsize=2
        )
    _label(axes, x, y)
    return figure


def view_pairs(plots: Mapping[str, tuple[Places, Places]], names: tuple[str, str], x: str, y: str) -> Figure:
    """Plot pairs of views, a panel per view plot: a circle and a cross of one colour are the views of one history.

    Args:
        plots: coordinates of all first and of all second views, by title.
        names: names of the two views.
        x: name of the horizontal axis.
        y: name of the vertical axis.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    grid: Sequence[Axes] = figure.subplots(1, len(plots), squeeze=False)[0].tolist()
    for axes, (title, (one, other)) in zip(grid, plots.items(), strict=True):
        colours = mpl.colormaps["hsv"](np.linspace(0, 0.95, len(one)))
        segments = LineCollection(
            [list(pair) for pair in zip(one, other, strict=True)], colors=colours, alpha=0.5
        )
        axes.add_collection(segments)
        for places, marker, name in ((one, "o", names[0]), (other, "x", names[1])):
            abscissas, ordinates = zip(*places, strict=True)
            axes.scatter(abscissas, ordinates, s=14, c=colours, marker=marker, label=name)
        _label(axes, x, y)
        axes.set_title(title, color=INK, fontsize=9, pad=18)
        axes.set_aspect("equal", "datalim")
    return figure


def histogram(edges: Sequence[Any], counts: Sequence[float], x: str, y: str, *, log: bool = False) -> Figure:
    """Plot counts as touching bars between edges (numbers or datetimes); ``log`` scales the horizontal axis."""
    figure, [axes] = _figure(1)
    axes.stairs(counts, edges, fill=True, color=_COLOURS[0])
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _label(axes, x, y, legend=False)
    return figure


def curve(
    values: Sequence[float], heights: Sequence[float], x: str, y: str, *, log: bool = False, even: str = ""
) -> Figure:
    """Plot one line: on logarithmic axes if ``log``, beside the diagonal, labelled ``even``, if that is given."""
    figure, [axes] = _figure(1)
    axes.plot(values, heights, color=_COLOURS[0], linewidth=2)
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
    if even:
        axes.plot([0, 1], [0, 1], ":", color=INK, alpha=0.6, linewidth=1, label=even)
    _label(axes, x, y, legend=bool(even))
    return figure


def ranked_bars(values: Mapping[str, float], x: str) -> Figure:
    """Plot a horizontal bar per name, the longest on top."""
    figure, [axes] = _figure(1)
    names = sorted(values, key=values.__getitem__)
    axes.barh(names, [values[name] for name in names], color=_COLOURS[0])
    _label(axes, x, "", legend=False)
    return figure


def scatters(plots: Mapping[str, Scatter], y: str) -> Figure:
    """Plot scatter plots side by side, one per name, with a common vertical axis."""
    columns = min(len(plots), 3)
    rows = -(-len(plots) // columns)
    figure = Figure(figsize=(7, 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for axes, (name, plot) in zip(grid, plots.items(), strict=False):
        axes.plot(plot.x, plot.y, "o", color=_COLOURS[0], alpha=0.6, markersize=4)
        if plot.log:
            axes.set_xscale("log")
        _label(axes, name, y if axes in grid[::columns] else "", legend=False)
    for axes in grid[len(plots) :]:
        axes.set_visible(False)
    return figure


def best_so_far(values: Sequence[tuple[int, float]], x: str, y: str) -> Figure:
    """Plot points in order, and the running maximum as a line."""
    figure, [axes] = _figure(1)
    places, heights = zip(*values, strict=True)
    axes.plot(places, heights, "o", color=_COLOURS[0], alpha=0.6, label="trial")
    axes.step(places, np.maximum.accumulate(heights), where="post", color=_COLOURS[1], label="best so far")
    _label(axes, x, y)
    return figure


def value_curves(curves: Sequence[tuple[Mapping[int, float], bool]], x: str, y: str) -> Figure:
    """Plot thin curves; marked ones are coloured and drawn on top.

    Args:
        curves: values by position, and whether the curve is marked.
        x: name of the horizontal axis.
        y: name of the vertical axis.
    """
    figure, [axes] = _figure(1)
    for curve, marked in sorted(curves, key=lambda entry: entry[1]):
        axes.plot(
            list(curve),
            list(curve.values()),
            marker="." if len(curve) == 1 else "",
            color=_COLOURS[1] if marked else INK,
            alpha=1.0 if marked else 0.3,
            linewidth=2 if marked else 1,
        )
    _label(axes, x, y, legend=False)
    return figure


def parallel(axes_: Mapping[str, Scatter], values: Sequence[float]) -> Figure:
    """Plot parallel coordinates: a line per trial through its setting on each axis; darker lines have better values.

    Args:
        axes_: positions of the trials on each axis; ``y`` is not used.
        values: values of the trials; higher is better.
    """
    figure, [axes] = _figure(1)
    places = [_places(plot) for plot in axes_.values()]
    order = np.argsort(values)
    for rank, trial in enumerate(order.tolist()):
        share = (rank + 1) / len(order)
        axes.plot(
            [column[trial] for column in places],
            color=_COLOURS[0],
            alpha=0.08 + 0.8 * share**3,
            linewidth=1.4,
        )
    axes.set_xticks(range(len(places)), list(axes_))
    axes.set_yticks([0, 1], ["low", "high"])
    _label(axes, "", "", legend=False)
    return figure


def to_svg(figure: Figure, title: str) -> str:
    """Render a figure as an ``svg`` element that scales with the page; the title is its accessible name."""
    text = svg_text(figure, transparent=True).replace(INK, "currentColor")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _figure(count: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(7, 3.4 * count), layout="constrained")
    return figure, figure.subplots(count, 1, squeeze=False)[:, 0].tolist()


def errors(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Lengths of the lower and the upper half of each interval, in the form that matplotlib expects."""
    return [max(point.mean - point.low, 0.0) for point in points], [
        max(point.high - point.mean, 0.0) for point in points
    ]


def _places(plot: Scatter) -> list[float]:
    """Positions scaled to 0..1; names are numbered in order."""
    if any(isinstance(value, str | bool) for value in plot.x):
        known = sorted(set(plot.x), key=str)
        numbers = np.array([known.index(value) for value in plot.x], dtype=float)
    else:
        numbers = np.array(plot.x, dtype=float)
        numbers = np.log(numbers) if plot.log else numbers
    span = float(np.ptp(numbers))
    shares: list[float] = ((numbers - numbers.min()) / span if span else numbers * 0 + 0.5).tolist()
    return shares


def _label(axes: Axes, x: str, y: str, *, legend: bool = True) -> None:
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ("left", "bottom"))
    axes.grid(axis="y", color=INK, alpha=0.15)
    axes.set_axisbelow(True)
    if not legend:
        return
    longest = max((len(str(label)) for label in axes.get_legend_handles_labels()[1]), default=1)
    axes.legend(
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        ncols=max(1, min(6, _LEGEND // (longest + 6))),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderpad=0,
    )
