"""Page on the intake of a log: what was read, what each rule dropped, and properties of the sequences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mclrec.data.intake import PART_NAMES, Counts, Intake, Measures
from mclrec.data.intake_text import intake_warnings, measure_lines
from mclrec.data.moments import units_of
from mclrec.data.packed import blocks
from mclrec.data.returns import PROTOCOLS, suited_protocol
from mclrec.data.sequences import SequenceData
from mclrec.data.watched_text import watched_lines
from mclrec.experiments.results_table import ResultTable, TableCell
from mclrec.extras import require
from mclrec.files import check_writable
from mclrec.report.page import Section, write_page
from mclrec.report.plots import curve, histogram, ranked_bars, to_svg
from mclrec.wording import percent

if TYPE_CHECKING:  # the module imports torch
    from mclrec.runs.order_probe import OrderProbe

__all__ = ["TAKEN", "intake_section", "write_intake_page"]

TAKEN = "What was taken"
"""Title of the section on the intake of a log."""

_BINS = 60
_FINE = 60  # lengths up to which each has a bar of its own
_POINTS = 400


def write_intake_page(
    intake: Intake, data: SequenceData, path: Path, probe: OrderProbe | None = None
) -> Path:
    """Write the page on a log as one HTML file.

    Args:
        intake: what was read from the log, kept and dropped.
        data: the sequences that are left.
        path: the HTML file to write.
        probe: result of the order probe; None if it was not run.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    require("a report")
    check_writable(path)
    sections = [
        _warnings(intake),
        intake_section(intake),
        Section("Histories and items", pictures=[*_lengths(data), *_popularity(data)]),
        Section(
            "Time, ties and returns", [_protocol_text(intake.left)], pictures=[*_times(data), _shares(intake)]
        ),
        *([] if probe is None else [_order(probe)]),
    ]
    return write_page(path, f"{data.name}: what was taken of the log", sections)


def intake_section(intake: Intake) -> Section:
    """Section with tables of what was read, dropped and left."""
    tables = [_columns(intake)] if intake.columns else []
    tables += [_watched(intake)] if watched_lines(intake.watched) else []
    return Section(
        TAKEN,
        [
            f"{intake.place}: {intake.format}." if intake.format else f"{intake.place}.",
            *(
                []
                if intake.dates is None
                else [f"Times are numbers of the form {intake.dates}, read as dates."]
            ),
        ],
        [*tables, _rules(intake), _measures(intake)],
    )


def _warnings(intake: Intake) -> Section:
    warned = intake_warnings(intake)
    if not warned:
        return Section("What to know", ["This log has nothing to watch out for."])
    return Section("What to know", [f"{warning.text[:1].upper()}{warning.text[1:]}." for warning in warned])


def _columns(intake: Intake) -> ResultTable:
    rows = [
        (column.role, [TableCell(column.name), TableCell("" if column.sample is None else column.sample)])
        for column in intake.columns
    ]
    return ResultTable("Columns", ["role", "column", "a value"], rows)


def _watched(intake: Intake) -> ResultTable:
    rows = [(label, [TableCell(text)]) for label, text in watched_lines(intake.watched)]
    return ResultTable("Columns that were not used", ["it holds", "what is in it"], rows)


def _rules(intake: Intake) -> ResultTable:
    """Table of sizes after each rule."""
    stages = [("read", "", intake.read)]
    stages += [(step.rule, step.option, step.left) for step in intake.steps]
    if intake.parts is not None:
        stages += [
            (part, place, Counts(users=None, items=None, rows=rows))
            for part, place, rows in zip(PART_NAMES, intake.parts.places, intake.parts.rows, strict=True)
        ]
    rows = []
    for name, option, counts in stages:
        numbers = [counts.rows, counts.users, counts.items]
        cells = [
            TableCell("", value=-1.0) if number is None else TableCell(f"{number:,}", value=float(number))
            for number in numbers
        ]
        share = counts.rows / max(intake.read.rows, 1)
        rows.append((name, [*cells, TableCell(percent(share), value=share), TableCell(option)]))
    return ResultTable(
        "Rows left after each rule", ["rule", "rows", "users", "items", "of the rows read", "option"], rows
    )


def _measures(intake: Intake) -> ResultTable:
    rows = [(label, [TableCell(text)]) for label, text in measure_lines(intake.left, intake.tie_order)]
    return ResultTable("What is left", ["measure", "value"], rows)


def _protocol_text(left: Measures) -> str:
    """Text on which protocol suits the log, and why."""
    words = PROTOCOLS[suited_protocol(left.returns)]
    share = "an unknown share" if left.returns is None else percent(left.returns)
    return (
        f"{share[:1].upper()}{share[1:]} of the validation targets are in their user's history, so the suitable "
        f"protocol is {words.title}. {words.note}"
    )


def _order(probe: OrderProbe) -> Section:
    """Section on whether order matters: each system with histories in order, and with shuffled ones."""
    effect = probe.effect
    rows = []
    for one in effect.systems:
        lost = "" if one.lost is None else f"{one.lost:+.0%}"
        cells = [
            TableCell(f"{one.ordered:.4f}", value=one.ordered),
            TableCell(f"{one.shuffled:.4f}", value=one.shuffled),
            TableCell(f"{one.low:+.4f} to {one.high:+.4f}", value=one.difference),
            TableCell(lost, value=one.lost or 0.0),
            TableCell(f"{one.p:.4f}", value=one.p),
        ]
        rows.append((one.name, cells))
    columns = ["system", "in order", "shuffled", "95 % of the difference", "lost without order", "p (Holm)"]
    table = ResultTable(f"{effect.metric} ({probe.label})", columns, rows)
    return Section("Is there order in this log?", [effect.verdict, *probe.notes], [table])


def _lengths(data: SequenceData) -> list[str]:
    lengths = data.lengths
    least, most = int(lengths.min()), int(lengths.max())
    log = most > _FINE
    edges: Any = np.arange(least, most + 2) - 0.5
    if log:
        edges = np.unique(np.geomspace(least, most + 1, _BINS // 2).round()) - 0.5
    counts, _ = np.histogram(lengths, edges)
    figure = histogram(edges.tolist(), counts.tolist(), "interactions of a user", "users", log=log)
    return [to_svg(figure, "Users by length of their history")]


def _popularity(data: SequenceData) -> list[str]:
    ordered = np.sort(data.popularity[1:])[::-1]
    places = np.unique(np.geomspace(1, len(ordered), _POINTS).round().astype(np.int64))
    ranks = curve(places.tolist(), ordered[places - 1].tolist(), "rank of the item", "interactions", log=True)
    shares = np.concatenate([[0], np.cumsum(ordered)]) / ordered.sum()
    picked = np.unique(np.linspace(0, len(ordered), _POINTS).round().astype(np.int64))
    lorenz = curve(
        (picked / len(ordered)).tolist(),
        shares[picked].tolist(),
        "share of the items, most popular first",
        "share of the interactions",
        even="all items equally popular",
    )
    return [
        to_svg(ranks, "Items by popularity"),
        to_svg(lorenz, "Share of interactions with popular items"),
    ]


def _times(data: SequenceData) -> list[str]:
    if data.times is None or int(data.times.min()) == int(data.times.max()):
        return []
    first, last = int(data.times.min()), int(data.times.max())
    edges = np.linspace(first, last, _BINS + 1)
    counts = np.zeros(_BINS, dtype=np.int64)
    for block in blocks(len(data.times)):
        counts += np.histogram(data.times[block], edges)[0]
    figure = histogram(_moments(edges, units_of(data.times)), counts.tolist(), "time", "interactions")
    return [to_svg(figure, "Interactions over time")]


def _moments(edges: Any, per_second: int | None) -> Sequence[Any]:
    """Edges as datetimes if times have a known unit and fit into one, else as numbers."""
    if per_second is None:
        return list(edges.tolist())
    try:
        return [
            datetime.fromtimestamp(edge / per_second, UTC).replace(tzinfo=None) for edge in edges.tolist()
        ]
    except (ValueError, OverflowError, OSError):
        return list(edges.tolist())


def _shares(intake: Intake) -> str:
    left = intake.left
    shares = {
        "rows that share their time with others": left.tied,
        "the same event twice": left.duplicates,
        "rows that return to an item": left.repeats,
        "validation targets in the history": left.returns,
    }
    percents = {name: 100 * share for name, share in shares.items() if share is not None}
    return to_svg(ranked_bars(percents, "% of rows, or of targets"), "Ties, duplicates and returns")
