"""Page on a rolling evaluation: metrics by window beside leave-one-out, and whether models change places."""

from __future__ import annotations

from pathlib import Path

from mclrec.data.returns import PROTOCOLS
from mclrec.evaluation.significance import Interval
from mclrec.experiments.results_table import ResultTable, TableCell, ranks_of
from mclrec.report.page import Section, write_page
from mclrec.report.plots import Point, grouped_bars, to_svg
from mclrec.runs.backtest_results import Backtest, Window
from mclrec.wording import percent

__all__ = ["write_backtest_page"]


def write_backtest_page(found: Backtest, path: Path) -> Path:
    """Write the page as one HTML file.

    Args:
        found: results of the backtest.
        path: the HTML file to write.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    words = PROTOCOLS[found.label]
    answers = (
        "Leave-one-out holds out each user's last items, whenever that was, and learns from what others did later. A "
        "cut learns from what was known at a moment, as a model in service does, and is measured on what came next."
    )
    sections = [
        Section("Do models change places?", [found.verdict, answers]),
        Section(
            "Metrics",
            [f"{words.title}: {words.note}", "Lines are 95 % bootstrap intervals over users.", *found.notes],
            [_metrics(found)],
            [_bars(found)],
        ),
        Section("Windows", [note for window in found.windows for note in window.notes], [_windows(found)]),
    ]
    return write_page(path, f"{found.data} over time", sections)


def _metrics(found: Backtest) -> ResultTable:
    columns = [
        [values[number].mean for values in found.values.values()] for number in range(len(found.windows))
    ]
    columns.append([found.over_time(model) for model in found.models])
    marks = [ranks_of(column) for column in columns]
    rows = []
    for place, (model, values) in enumerate(found.values.items()):
        cells = [
            TableCell(_text(value), marks[number][place], value.mean) for number, value in enumerate(values)
        ]
        mean = columns[-1][place]
        rows.append((model, [*cells, TableCell(f"{mean:.4f}", marks[-1][place], mean)]))
    heads = [window.name for window in found.windows]
    legend = [
        "Bold: the best of a column; underlined: the second best.",
        "over time: mean of the cuts, equally weighted.",
    ]
    return ResultTable(f"Test {found.metric} ({found.label})", ["model", *heads, "over time"], rows, legend)


def _text(value: Interval) -> str:
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"


def _windows(found: Backtest) -> ResultTable:
    rows = [(window.name, _window(found, number, window)) for number, window in enumerate(found.windows)]
    legend = [
        "new items: targets whose item is never in the training data of that cut; no model by id can recommend them.",
        "new users: targets whose user is never in it.",
        "tau: Kendall's tau between the orders of the models here and by leave-one-out.",
    ]
    heads = ["window", "from", "until", "targets", "users", "new items", "new users", "tau"]
    return ResultTable(f"Targets: {found.targets} of a user in each window", heads, rows, legend)


def _window(found: Backtest, number: int, window: Window) -> list[TableCell]:
    tau = found.tau_of(number) if number else None
    shares = [count / window.targets for count in (window.new_items, window.new_users)]
    return [
        TableCell(window.start or ""),
        TableCell(window.end or ("the end" if number else "")),
        *(TableCell(f"{count:,}", value=count) for count in (window.targets, window.users)),
        *(TableCell(percent(share), value=share) for share in shares),
        TableCell("" if tau is None else f"{tau:.2f}", value=-2.0 if tau is None else tau),
    ]


def _bars(found: Backtest) -> str:
    values = {
        model: {window.name: Point(*value) for window, value in zip(found.windows, row, strict=True)}
        for model, row in found.values.items()
    }
    y = f"{found.metric} ({found.label})"
    return to_svg(grouped_bars(values, "targets", y), f"{y} by window")
