"""Report section on slices of the targets: plots of the main metric, and tables with all slices and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mclrec.evaluation.metrics import Metric
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.slices import FEW, Slices, Slicing, measure_slices, slicings
from mclrec.experiments.results_table import ResultTable, TableCell, ranks_of
from mclrec.report.page import Section
from mclrec.report.plots import Point, Style, grouped_bars, to_svg
from mclrec.wording import percent

__all__ = ["slice_section"]


def slice_section(
    systems: Mapping[str, Sequence[RankTable]],
    metric: Metric,
    label: str,
    styles: Mapping[str, Style] | None = None,
) -> Section:
    """Section on one metric of systems by slices of their common targets, under one protocol.

    Args:
        systems: rank tables by name of the system, one per seed.
        metric: the metric to measure.
        label: label of the protocol.
        styles: styles of the systems; assigned in their order if None.
    """
    targets = next(iter(systems.values()))[0]
    found = slicings(targets)
    slices = measure_slices(found, systems, [metric])
    drawn = [slicing for slicing in found if sum(bool(len(part.rows)) for part in slicing.slices()) > 1]
    text = [
        (
            "For whom a system works: groups of targets, with the number of targets in brackets. Numbers are cut into "
            "four groups, as equal in size as ties allow; lines are 95 % bootstrap intervals over users."
        ),
        *slices.notes,
    ]
    if targets.user_counts is None:
        text.append(
            "Measured by an earlier version, which stored no times: mclrec evaluate adds slices by time and user."
        )
    return Section(
        "Slices",
        text,
        [_table(slices, slicing, label) for slicing in found],
        [_bars(slices, slicing, label, styles) for slicing in drawn],
    )


def _table(slices: Slices, slicing: Slicing, label: str) -> ResultTable:
    """One row per slice: its targets, and the metric of each system with its interval."""
    rows = []
    for name, places in slicing.slices():
        found = slices.of(slicing.key, name)
        values = [found[system, slices.metrics[0]] for system in slices.systems]
        means = [-1.0 if value.mean is None else value.mean for value in values]
        marks = ranks_of(means) if len(places) and len(means) > 1 else [0] * len(means)
        share = values[0].share
        cells = [TableCell(f"{len(places):,}", value=len(places)), TableCell(percent(share), value=share)]
        cells += [
            TableCell(value.text, mark, mean) for value, mark, mean in zip(values, marks, means, strict=True)
        ]
        rows.append((f"{name}{' *' if len(places) < FEW else ''}", cells))
    return ResultTable(
        f"{slices.metrics[0]} by {slicing.title} ({label})",
        ["slice", "targets", "share", *slices.systems],
        rows,
    )


def _bars(slices: Slices, slicing: Slicing, label: str, styles: Mapping[str, Style] | None) -> str:
    """The same values as bars; slices without targets are left out."""
    values: dict[str, dict[str, Point]] = {system: {} for system in slices.systems}
    for name, places in slicing.slices():
        for (system, _), value in slices.of(slicing.key, name).items():
            if value.mean is not None:
                low, high = (value.mean if end is None else end for end in (value.low, value.high))
                values[system][f"{name}\n({len(places):,})"] = Point(value.mean, low, high)
    y = f"{slices.metrics[0]} ({label})"
    return to_svg(grouped_bars(values, f"{slicing.title} (targets)", y, styles), f"{y} by {slicing.title}")
