"""Plots of docs/performance.md as SVG; the same results give the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.comparison import is_peer
from benchmarks.summary import quantity

__all__ = ["draw_epochs", "draw_growth"]

_OURS, _THEIRS = "#1b6ca8", "#b0b0b0"
_EPOCHS = {
    "epoch-prefixes": "seconds an epoch on Beauty, one prefix an example",
    "epoch-sequences": "seconds an epoch on Beauty, a target at every position",
}

Result = Mapping[str, Any]


def draw_epochs(results: Mapping[str, Result], path: Path) -> Path | None:
    """Draw the seconds per epoch of every side, peers in grey; None without such results."""
    present = [name for name in _EPOCHS if name in results]
    if not present:
        return None
    heights = [len(results[name]["sides"]) for name in present]
    figure = Figure(figsize=(9, 0.9 * len(present) + 0.33 * sum(heights)))
    grid = figure.subplots(len(present), 1, squeeze=False, height_ratios=heights)
    for axes, name in zip(grid[:, 0], present, strict=True):
        _bars(axes, results[name])
    return _save(figure, path)


def draw_growth(results: Mapping[str, Result], path: Path) -> Path | None:
    """Draw time and memory of every curve on log axes, with their slopes; None without such results."""
    curves = [curve for result in results.values() for curve in result["curves"]]
    if not curves:
        return None
    figure = Figure(figsize=(3.2 * len(curves), 6))
    grid = figure.subplots(2, len(curves), squeeze=False)
    for column, curve in enumerate(curves):
        sizes = [point["size"] for point in curve["points"]]
        time, memory = grid[:, column]
        _line(time, sizes, [point["seconds"] for point in curve["points"]])
        time.set_title(f"{curve['what']}\nslope {curve['time_slope']:.2f}", fontsize=9)
        _line(memory, sizes, [point["peak_bytes"] / 1e9 for point in curve["points"]])
        memory.axhline(curve["empty_bytes"] / 1e9, color=_THEIRS, linestyle=":")
        memory.set_title(f"above idle (dotted), last stretch: slope {curve['memory_slope']:.2f}", fontsize=9)
        memory.set_xlabel(curve["against"], fontsize=9)
    grid[0, 0].set_ylabel("seconds")
    grid[1, 0].set_ylabel("peak memory, GB")
    return _save(figure, path)


def _bars(axes: Axes, result: Result) -> None:
    sides = result["sides"]
    names = list(sides)
    medians = [sides[name]["median"] for name in names]
    colours = [_THEIRS if is_peer(name) else _OURS for name in names]
    bars = axes.barh(names, medians, color=colours)
    axes.bar_label(bars, [quantity(median, "s") for median in medians], padding=3, fontsize=8)
    axes.set_xlim(right=max(medians) * 1.12)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_EPOCHS[result["row"]], fontsize=9, loc="left")


def _line(axes: Axes, sizes: Sequence[float], values: Sequence[float]) -> None:
    axes.loglog(sizes, values, marker="o", color=_OURS)
    axes.grid(which="major", alpha=0.3)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    for axis, along in ((axes.xaxis, sizes), (axes.yaxis, values)):
        wide = max(along) > 100 * min(along)
        axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        axis.set_minor_formatter(NullFormatter())


def _tick(value: float) -> str:
    """Format a number in few characters: 0.5, 20, 10 k, 2 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.set_layout_engine("tight")
    with mpl.rc_context({"svg.hashsalt": "mclrec", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
