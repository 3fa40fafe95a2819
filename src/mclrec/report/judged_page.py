"""Report on judged systems: claims, metrics, differences, slices, ranks, and what was decided about each file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mclrec.data.returns import PROTOCOLS
from mclrec.evaluation.protocol import library_versions
from mclrec.evaluation.significance import p_text
from mclrec.experiments.results_table import ResultTable, TableCell, ranks_of
from mclrec.report.page import Section, write_page
from mclrec.report.plots import hit_curves, to_svg
from mclrec.report.slice_sections import slice_section
from mclrec.runs.comparison import Row, seeds_note
from mclrec.runs.judging import Case, Judged, JudgedLists
from mclrec.wording import count_of

__all__ = ["report_judged"]

_FEW = 3
"""Number of names that fit into a title."""

_METRICS = (
    "HR@k is the share of targets that are among the first k items of the list; NDCG@k also counts how high they are "
    "there (1 for the first place, 1/log2(rank + 1) for the others). A dash: the lists end before place k, so the "
    "value is not known."
)

_LISTS = (
    "The rank of a target is its place in its user's list; equal scores and ranks count against it. A target without a "
    "list, or beyond the end of a list, is a miss."
)


def report_judged(case: Case, found: Sequence[Judged], path: Path) -> Path:
    """Write the report on judged systems.

    Args:
        case: the judged systems and the targets.
        found: the judgement under each protocol, the one that suits the log first.
        path: the HTML file to write.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    sections = [
        Section("What may be claimed", [text for one in found for text in _claims(one)]),
        Section("Data", _data(case, found[0])),
        Section(
            "Metrics",
            [f"{PROTOCOLS[one.label].title}: {PROTOCOLS[one.label].note}" for one in found] + [_METRICS],
            [_metrics(one) for one in found],
        ),
        *(
            [Section("Differences", tables=[_differences(one) for one in found])]
            if len(found[0].rows) > 1
            else []
        ),
        _slices(found[0]),
        Section("Ranks", [_CURVES], pictures=[_curves(one, case.split.data.num_items) for one in found]),
        *([Section("Lists", [_LISTS], [_facts(one) for one in found])] if found[0].lists else []),
    ]
    labels = [row.label for row in found[0].rows]
    names = ", ".join(labels) if len(labels) <= _FEW else f"{len(labels)} systems"
    return write_page(path, f"{names} on {case.split.data.name}", sections)


_CURVES = "How many targets are among the first k items, for every k up to the end of the shortest lists."


def _claims(found: Judged) -> list[str]:
    title = PROTOCOLS[found.label].title
    claims = [f"{row.claim}." for row in found.rows if row.claim is not None]
    if not claims:
        row = found.rows[0]
        claims = [
            f"{row.label} has {found.metric} {row.interval.mean:.4f}; there is no other system to compare with."
        ]
    above = [
        score.model
        for score in found.baselines
        if score.metrics[str(found.metric)] > max(row.interval.mean for row in found.rows)
    ]
    if above:
        claims.append(f"But {' and '.join(above)}, which only count, are above all of them.")
    note = seeds_note(found.rows)
    return [f"{title[0].upper()}{title[1:]}: {' '.join(claims)}", *([note] if note else [])]


def _data(case: Case, found: Judged) -> list[str]:
    data, targets = case.split.data, case.split.targets("test" if found.part == "test" else "validation")
    table = next(iter(found.systems.values())).tables[0]
    sizes = (
        f"{data.name}: {count_of(data.num_users, 'user')}, {count_of(data.num_items, 'item')}, "
        f"{count_of(data.num_interactions, 'interaction')}. Fingerprint {data.fingerprint[:12]}."
    )
    test = (
        f"{count_of(len(targets), f'{found.part} target')} by the {case.split.name} split; the median history has "
        f"length {np.median(table.history_lengths):.0f}; {np.mean(table.in_history):.1%} of the targets are in "
        "their user's history."
    )
    return [
        sizes,
        test,
        f"Report of {datetime.now(UTC):%Y-%m-%d}, mclrec {library_versions()['mclrec']}.",
    ]


def _metrics(found: Judged) -> ResultTable:
    names = list(max(found.rows, key=lambda row: len(row.metrics)).metrics)
    values = {name: [row.metrics.get(name, -1.0) for row in found.rows] for name in names}
    places = {name: ranks_of(column) for name, column in values.items()}
    rows = [
        (
            row.label,
            [
                *(_cell(values[name][number], places[name][number]) for name in names),
                TableCell(f"{row.interval.low:.4f} to {row.interval.high:.4f}", value=row.interval.low),
                TableCell(str(len(row.seeds)), value=len(row.seeds)),
            ],
        )
        for number, row in enumerate(found.rows)
    ]
    baselines = [
        (
            f"{score.model} (baseline)",
            [
                *(_cell(score.metrics.get(name, -1.0), 0) for name in names),
                TableCell(f"{score.low:.4f} to {score.high:.4f}", value=score.low),
                TableCell("-", value=0.0),
            ],
        )
        for score in found.baselines
    ]
    legend = ["Bold: the best of a column; underlined: the second best."] if len(rows) > 1 else []
    if found.skipped is not None:
        legend.append(f"{found.skipped}.")
    return ResultTable(
        f"{found.part.capitalize()}, {PROTOCOLS[found.label].title}",
        ["system", *names, f"95 % of {found.metric}", "trainings"],
        [*rows, *baselines],
        legend,
    )


def _cell(value: float, place: int) -> TableCell:
    return TableCell("-", value=-1.0) if value < 0 else TableCell(f"{value:.4f}", place, value)


def _differences(found: Judged) -> ResultTable:
    rows = [(row.label, _difference(row)) for row in found.rows if row.finding is not None]
    return ResultTable(
        f"Difference in {found.metric} from {found.rows[0].label}, {PROTOCOLS[found.label].title}",
        ["system", "difference", "95 % interval", "p", "p (Holm)"],
        rows,
        [
            "Paired bootstrap over users and over the trainings of a system, two-sided; Holm's correction for all rows."
        ],
    )


def _difference(row: Row) -> list[TableCell]:
    assert row.finding is not None
    mean, low, high = row.finding.effect.difference
    return [
        TableCell(f"{mean:+.4f}", value=mean),
        TableCell(f"{low:+.4f} to {high:+.4f}", value=low),
        TableCell(p_text(row.finding.effect.p), value=row.finding.effect.p),
        TableCell(row.finding.p_text, value=row.finding.adjusted_p),
    ]


def _slices(found: Judged) -> Section:
    """Section on the metric by slices of the targets, under the protocol of ``found``."""
    return slice_section(
        {label: system.tables for label, system in found.systems.items()}, found.metric, found.label
    )


def _curves(found: Judged, num_items: int) -> str:
    longest = min((system.length or num_items) for system in found.systems.values())
    ranks = {label: [table.ranks for table in system.tables] for label, system in found.systems.items()}
    figure = hit_curves(ranks, num_items, longest=longest)
    return to_svg(figure, f"HR@k up to {longest}, {PROTOCOLS[found.label].title}")


def _facts(found: Judged) -> ResultTable:
    return ResultTable(
        f"What was decided, {PROTOCOLS[found.label].title}",
        ["lists", "places", "rows", "decisions"],
        [(lists.name, _fact_cells(lists)) for lists in found.lists],
    )


def _fact_cells(lists: JudgedLists) -> list[TableCell]:
    facts = lists.facts
    return [
        TableCell(f"{facts.length:,}", value=facts.length),
        TableCell(f"{facts.rows:,}", value=facts.rows),
        TableCell("; ".join(lists.notes)),
    ]
