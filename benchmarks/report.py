"""Write the tables of docs/performance.md, docs/serving.md and README.md between their markers, and the plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.headlines import headlines, unmeasured
from benchmarks.logs.campaign import LOGS_FOLDER, read_cells
from benchmarks.logs.page import logs_page, logs_summary
from benchmarks.markdown import Result, conditions, finding_cells, findings_table, insert, table
from benchmarks.outcome import FULL_FOLDER, read_results
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.rows import ROWS
from benchmarks.summary import quantity
from benchmarks.thread_table import thread_table

__all__ = [
    "PAGE",
    "README",
    "check_report",
    "generated",
    "pages",
    "print_findings",
    "serving_table",
    "write_report",
]

PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
SERVING_PAGE = ROOT / "docs" / "serving.md"
_EPOCHS, _GROWTH = (ROOT / "docs" / "images" / f"performance-{name}.svg" for name in ("epochs", "growth"))


def write_report() -> None:
    """Make the tables and plots from the full results.

    Raises:
        BenchmarkError: there are no results yet, or the page has no markers.
    """
    results = _full_results()
    from benchmarks.plots import draw_epochs, draw_growth

    draw_epochs(results, _EPOCHS)
    draw_growth(results, _GROWTH)
    for page, text in pages(results).items():
        page.write_text(text, encoding="utf-8", newline="\n")


def check_report() -> None:
    """Check that the pages match the results; plots are not checked.

    Raises:
        BenchmarkError: a page does not match or has no markers, or there are no results yet.
    """
    made = pages(_full_results())
    old = [page for page, text in made.items() if page.read_text(encoding="utf-8") != text]
    if old:
        names = ", ".join(page.relative_to(ROOT).as_posix() for page in old)
        raise BenchmarkError(f"{names}: differs from benchmarks/results; run python -m benchmarks report")


def pages(results: Mapping[str, Result]) -> dict[Path, str]:
    """The text of every page that shows results."""
    cells = read_cells(LOGS_FOLDER)
    pictures = {"Seconds an epoch": _EPOCHS, "Growth": _GROWTH}
    links = {
        title: path.relative_to(PAGE.parent).as_posix() for title, path in pictures.items() if path.exists()
    }
    text = insert(PAGE.read_text(encoding="utf-8"), generated(results, links))
    text = insert(text, thread_table(results.get("threads")), "threads")
    front = insert(README.read_text(encoding="utf-8"), logs_summary(cells), "logs")
    made = {
        PAGE: insert(text, logs_page(cells), "logs"),
        README: insert(front, headlines(results), "headlines"),
    }
    if "serving" in results:
        text = "\n".join(serving_table(results["serving"]))
        made[SERVING_PAGE] = insert(SERVING_PAGE.read_text(encoding="utf-8"), text, "serving")
    return made


def _full_results() -> dict[str, dict[str, Any]]:
    results = read_results(FULL_FOLDER)
    if not results:
        raise BenchmarkError(f"{FULL_FOLDER.relative_to(ROOT)} has no results: run `make bench` first")
    return results


def generated(results: Mapping[str, Result], pictures: Mapping[str, str]) -> str:
    """The text between the markers of docs/performance.md.

    Args:
        results: results by name of the row.
        pictures: paths of the plots, by title.
    """
    ordered = [results[name] for name in ROWS if name in results]
    parts = [
        "Made by `python -m benchmarks report` from `benchmarks/results/`. Nothing here is typed by hand.",
        "\n".join(findings_table(ordered)),
        *(f"![{title}]({path})" for title, path in pictures.items()),
        "\n".join(_spread_table(ordered)),
    ]
    curves = [curve for result in ordered for curve in result["curves"]]
    if curves:
        parts.append("\n".join(_growth_table(curves)))
    notes = [*unmeasured(results), *(note for result in ordered for note in result["notes"])]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    parts.append("\n".join(conditions(ordered)))
    return "\n\n".join(parts)


def serving_table(result: Result) -> Iterator[str]:
    """Latency and memory of services by catalogue size, and the machine."""
    yield "Made by `python -m benchmarks report` from `benchmarks/results/serving.json`."
    yield ""
    yield from table(
        ("catalogue and load", "p50", "p90", "p99", "max", "requests", "errors", "memory", "recall@10"),
        (
            (
                name,
                *(quantity(run[key], "ms") for key in ("p50", "p90", "p99", "max")),
                f"{run['requests']:,}",
                str(run["errors"]),
                quantity(run["resident_bytes"] / 1e6, "MB"),
                "exact" if run["recall"] is None else f"{run['recall']:.3f}",
            )
            for name, (run,) in result["runs"].items()
        ),
    )
    yield ""
    yield from conditions([result])


def print_findings(console: Console, results: Iterable[Result]) -> None:
    """Print the findings as a table."""
    shown = Table("what", "ours", "other", "measured", "target", "met", box=None, header_style="bold")
    for result in results:
        for finding in result["findings"]:
            shown.add_row(*finding_cells(finding))
    console.print(shown)


def _spread_table(results: Iterable[Result]) -> Iterator[str]:
    """Median, lowest and highest round of each side."""
    yield from table(
        ("row", "side", "median", "lowest", "highest", "rounds"),
        (
            (
                result["row"],
                side,
                *(quantity(spread[key], spread["unit"]) for key in ("median", "lowest", "highest")),
                str(len(spread["values"])),
            )
            for result in results
            for side, spread in result["sides"].items()
        ),
    )


def _growth_table(curves: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Slopes of growth on log axes: 1 is linear, 2 is quadratic."""
    yield from table(
        (
            "growth",
            "against",
            "from",
            "to",
            "slope of time",
            "its last stretch",
            "slope of memory, last stretch",
        ),
        (
            (
                curve["what"],
                curve["against"],
                f"{curve['points'][0]['size']:,}",
                f"{curve['points'][-1]['size']:,}",
                *(f"{curve[key]:.2f}" for key in ("time_slope", "last_time_slope", "memory_slope")),
            )
            for curve in curves
        ),
    )
