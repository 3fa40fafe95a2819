"""Tables for people: text cells with marks, as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mclrec.experiments.frame import Measurement

__all__ = ["Box", "Sheet", "latex", "markdown", "pivot", "ranks_of"]


@dataclass(frozen=True, slots=True)
class Box:
    """What stands in one place of a table.

    Attributes:
        text: the number, as it is read.
        rank: 1 for the best of its column, 2 for the second best, 0 for neither.
        value: what it is sorted by.
    """

    text: str
    rank: int = 0
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        title: what it shows.
        columns: names; the first is that of the rows' names.
        rows: a name and its boxes.
        notes: below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Box]]]
    notes: Sequence[str] = field(default=())

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Sheet:
        """From JSON, as `dataclasses.asdict` makes it."""
        rows = [(name, [Box(**box) for box in boxes]) for name, boxes in written["rows"]]
        return cls(written["title"], written["columns"], rows, written["notes"])


def pivot(title: str, measurements: Iterable[Measurement], notes: Sequence[str] = ()) -> Sheet:
    """One row an entry, one column a metric; ``mean ± half of the interval (paper)``, the best two marked."""
    by_row: dict[str, dict[str, Measurement]] = {}
    for found in measurements:
        name = found.row if found.x is None else f"{found.row} {found.x:g}"
        by_row.setdefault(name, {})[found.metric] = found
    metrics = list(dict.fromkeys(metric for row in by_row.values() for metric in row))
    ranks = {metric: ranks_of([row[metric].mean for row in by_row.values()]) for metric in metrics}
    rows = [
        (name, [_box(row[metric], ranks[metric][place]) for metric in metrics])
        for place, (name, row) in enumerate(by_row.items())
    ]
    return Sheet(
        title, ["", *metrics], rows, [*_shared(by_row), *_intervals(by_row), *_printed(by_row), *notes]
    )


def markdown(sheet: Sheet) -> str:
    """The best of a column in bold, the second best underlined."""
    lines = [
        f"### {sheet.title}",
        "",
        f"| {' | '.join(sheet.columns)} |",
        "| --- " + "| ---: " * (len(sheet.columns) - 1) + "|",
        *(
            f"| {name} | {' | '.join(_marked(box, '**{}**', '<u>{}</u>') for box in boxes)} |"
            for name, boxes in sheet.rows
        ),
    ]
    if sheet.notes:
        lines += ["", *(f"- {note}" for note in sheet.notes)]
    return "\n".join(lines) + "\n"


def latex(sheet: Sheet) -> str:
    r"""A ``table`` for papers that use booktabs; the best in ``\textbf``, the second best underlined."""
    width = len(sheet.columns) - 1
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(sheet.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
        " & ".join(_escaped(column) for column in sheet.columns) + r" \\",
        r"\midrule",
        *(
            " & ".join([_escaped(name), *(_in_latex(box) for box in boxes)]) + r" \\"
            for name, boxes in sheet.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"% {note}" for note in sheet.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def ranks_of(values: Sequence[float]) -> list[int]:
    """1 for the highest, 2 for the next value below, else 0; equal to four digits is equal, and no mark if all are."""
    rounded = [round(value, 4) for value in values]
    levels = sorted(set(rounded), reverse=True)[:2]
    return [levels.index(value) + 1 if value in levels and len(levels) > 1 else 0 for value in rounded]


def _shared(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """Rows that come to the same settings, so that one run stands for both."""
    first: dict[tuple[str, ...], str] = {}
    notes = []
    for name, row in by_row.items():
        one = next(iter(row.values()))
        keys = (*one.keys, one.part)
        if keys in first:
            notes.append(f"{name} and {first[keys]} come to the same settings here: one run stands for both.")
        first.setdefault(keys, name)
    return notes


def _intervals(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """What stands behind the sign ±."""
    kinds = {found.interval: len(found.seeds) for row in by_row.values() for found in row.values()}
    texts = {
        "users": "one seed; ± is half of a 95 % bootstrap interval over users",
        "seeds": f"{kinds.get('seeds')} seeds; ± is half of a 95 % interval (Student's t) over seeds",
    }
    return ["; ".join(texts[kind] for kind in sorted(kinds, reverse=True)) + "."]


def _printed(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """What stands in brackets, where something does."""
    printed = any(found.paper is not None for row in by_row.values() for found in row.values())
    return ["In brackets, the paper's value, where it is under this protocol."] * printed


def _box(found: Measurement, rank: int) -> Box:
    half = (found.high - found.low) / 2
    text = f"{found.mean:.4f} ± {half:.4f}"
    if found.paper is not None:
        text += f" ({found.paper:.4f})"
    return Box(text, rank, found.mean)


def _marked(box: Box, best: str, second: str) -> str:
    return {1: best, 2: second}.get(box.rank, "{}").format(box.text)


def _in_latex(box: Box) -> str:
    text = _escaped(box.text).replace("±", r"$\pm$")
    return {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(box.rank, text)


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
