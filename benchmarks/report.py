"""Writes the tables and plots of docs/performance.md and docs/serving.md between their markers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.outcome import FULL_FOLDER, read_results
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.rows import ROWS
from benchmarks.summary import quantity

__all__ = ["generated", "insert", "print_findings", "serving_table", "write_report"]

PAGE = ROOT / "docs" / "performance.md"
SERVING_PAGE = ROOT / "docs" / "serving.md"
PICTURES = ROOT / "docs" / "images"
_WORDS = {True: "yes", False: "no", None: ""}

Result = Mapping[str, Any]


def write_report() -> None:
    """Make the tables and plots from the full results.

    Raises:
        BenchmarkError: there are no results yet, or the page has no markers.
    """
    results = read_results(FULL_FOLDER)
    if not results:
        raise BenchmarkError(f"{FULL_FOLDER.relative_to(ROOT)} has no results: run `make bench` first")
    from benchmarks.plots import draw_epochs, draw_growth

    pictures = {
        "Seconds an epoch": draw_epochs(results, PICTURES / "performance-epochs.svg"),
        "Growth": draw_growth(results, PICTURES / "performance-growth.svg"),
    }
    links = {title: path.relative_to(PAGE.parent).as_posix() for title, path in pictures.items() if path}
    _write(PAGE, insert(PAGE.read_text(encoding="utf-8"), generated(results, links)))
    if "serving" in results:
        text = "\n".join(serving_table(results["serving"]))
        _write(SERVING_PAGE, insert(SERVING_PAGE.read_text(encoding="utf-8"), text, "serving"))


def _write(page: Path, text: str) -> None:
    page.write_text(text, encoding="utf-8", newline="\n")


def insert(page: str, text: str, part: str = "benchmarks") -> str:
    """Replace the text between the markers of a part of a page.

    Raises:
        BenchmarkError: the page has no markers.
    """
    first, last = (f"<!-- {part}: {place} -->" for place in ("begin", "end"))
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise BenchmarkError(f"the lines {first} and {last} must be in the page")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def generated(results: Mapping[str, Result], pictures: Mapping[str, str]) -> str:
    """The text between the markers of docs/performance.md.

    Args:
        results: by row.
        pictures: paths of the plots, by title.
    """
    ordered = [results[name] for name in ROWS if name in results]
    parts = [
        "Made by `python -m benchmarks report` from `benchmarks/results/`. Nothing here is typed by hand.",
        "\n".join(_findings_table(ordered)),
        *(f"![{title}]({path})" for title, path in pictures.items()),
        "\n".join(_spread_table(ordered)),
    ]
    curves = [curve for result in ordered for curve in result["curves"]]
    if curves:
        parts.append("\n".join(_growth_table(curves)))
    notes = [note for result in ordered for note in result["notes"]]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    parts.append("\n".join(_conditions(ordered)))
    return "\n\n".join(parts)


def serving_table(result: Result) -> Iterator[str]:
    """Latency and memory of services by catalogue size, and the machine."""
    yield "Made by `python -m benchmarks report` from `benchmarks/results/serving.json`."
    yield ""
    yield from _table(
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
    yield from _conditions([result])


def print_findings(console: Console, results: Iterable[Result]) -> None:
    """Print the findings as a table."""
    table = Table("what", "ours", "other", "measured", "target", "met", box=None, header_style="bold")
    for result in results:
        for finding in result["findings"]:
            table.add_row(*_cells(finding))
    console.print(table)


def _cells(finding: Mapping[str, Any]) -> tuple[str, ...]:
    target = finding["target"]
    wanted = "" if target is None else f"{finding['sense']} {quantity(target, finding['unit'])}"
    return (
        finding["what"],
        finding["ours"],
        finding["theirs"],
        quantity(finding["value"], finding["unit"]),
        wanted,
        _WORDS[finding["met"]],
    )


def _findings_table(results: Iterable[Result]) -> Iterator[str]:
    yield from _table(
        ("what", "ours", "other", "measured", "target", "met"),
        (_cells(finding) for result in results for finding in result["findings"]),
    )


def _spread_table(results: Iterable[Result]) -> Iterator[str]:
    """Median, lowest and highest round of each side."""
    yield from _table(
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
    yield from _table(
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


def _conditions(results: Iterable[Result]) -> Iterator[str]:
    """Each machine with the rows measured on it, the dates and the versions."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_machine(result), []).append(result)
    for machine, group in groups.items():
        rows = ", ".join(f"`{result['row']}`" for result in group)
        days = sorted({result["measured"][:10] for result in group})
        yield f"- {rows}: {machine}; {' to '.join(dict.fromkeys([days[0], days[-1]]))}; {_versions(group)}"


def _machine(result: Result) -> str:
    machine = result["machine"]
    sets = ", ".join(machine["instruction_sets"]) or "no vector instructions of note"
    return (
        f"{machine['processor']} (family and model {machine['family']}; {sets}), {result['threads']} threads on "
        f"{machine['available_cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    )


def _versions(results: Iterable[Result]) -> str:
    found: dict[str, set[str]] = {}
    for result in results:
        for run in (run for runs in result["runs"].values() for run in runs):
            for name, version in run.get("versions", {}).items():
                found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in found)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
