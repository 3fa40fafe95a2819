"""Dot plots: many measures at once, one strip each; and changes with their intervals, around 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mclrec.report.plots import INK, Point, Style, errors, styles_of

__all__ = ["Strip", "changes", "strips"]

_HEIGHT = 0.5
"""Height of a strip in inches."""

_GROUP_SPREAD = 0.6
"""Share of a group's height over which its dots are spread."""


class Strip(NamedTuple):
    """One measure of several systems.

    Attributes:
        title: name of the measure.
        values: values of the systems that have one.
        form: format specification of a value, for `format`.
        held_against: reference value, drawn as a thin line; None for none.
    """

    title: str
    values: Mapping[str, float]
    form: str
    held_against: float | None = None


def strips(measures: list[Strip], styles: Mapping[str, Style], held_against: str) -> Figure:
    """Plot measures one below the other, each on its own axis.

    Args:
        measures: at least one.
        styles: styles of all systems, in the order of the legend.
        held_against: name of the reference values in the legend.
    """
    figure = Figure(figsize=(7, 0.6 + _HEIGHT * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), 1, squeeze=False)[:, 0].tolist()
    for axes, measure in zip(grid, measures, strict=True):
        _strip(axes, measure, styles)
    handles = {name: grid[0].plot([], [], "o", color=style.colour)[0] for name, style in styles.items()}
    if any(measure.held_against is not None for measure in measures):
        handles[held_against] = grid[0].plot([], [], "-", color=INK)[0]
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper left",
        ncols=4,
        frameon=False,
        labelcolor=INK,
        fontsize=8,
    )
    return figure


def _strip(axes: Axes, measure: Strip, styles: Mapping[str, Style]) -> None:
    """Draw one measure."""
    axes.axhline(0, color=INK, alpha=0.15, linewidth=1, zorder=0)
    if measure.held_against is not None:
        axes.axvline(measure.held_against, color=INK, linewidth=1)
    for name, value in measure.values.items():
        axes.plot(value, 0, "o", color=styles[name].colour, alpha=0.85, markersize=7)
    axes.margins(x=0.06)
    axes.set_ylim(-1, 1)
    axes.set_yticks([0], [measure.title])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: format(value, measure.form))
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def changes(values: Mapping[str, Mapping[str, Point]], x: str) -> Figure:
    """Plot changes with their intervals: a group of dots per outer name, from the top, and in it a dot per inner name.

    Args:
        values: shares by name and kind of change: .02 is drawn as +2 %.
        x: name of the horizontal axis.
    """
    kinds = styles_of(kind for row in values.values() for kind in row)
    figure = Figure(figsize=(7, 1.1 + _HEIGHT * len(values)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1)
    for number, (kind, style) in enumerate(kinds.items()):
        shift = _GROUP_SPREAD * ((number + 0.5) / len(kinds) - 0.5)
        found = {place + shift: row[kind] for place, row in enumerate(values.values()) if kind in row}
        means, halves = [point.mean for point in found.values()], errors([*found.values()])
        axes.errorbar(means, [*found], xerr=halves, fmt="o", color=style.colour, capsize=2, label=kind)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.1%}" if value else "0")
    axes.set_xlabel(x, color=INK)
    axes.tick_params(colors=INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(axis="x", color=INK, alpha=0.15)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, labelcolor=INK, fontsize=8)
    return figure
