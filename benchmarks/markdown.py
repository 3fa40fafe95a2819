"""Markdown for the pages that show results: tables, findings, machines, and the text between markers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.processes import BenchmarkError
from benchmarks.summary import quantity

__all__ = ["Result", "conditions", "finding_cells", "findings_table", "insert", "table"]

_WORDS = {True: "yes", False: "no", None: ""}

Result = Mapping[str, Any]


def insert(page: str, text: str, part: str = "benchmarks") -> str:
    """Replace the text between a part's markers in a page.

    Raises:
        BenchmarkError: the page has no markers.
    """
    first, last = (f"<!-- {part}: {place} -->" for place in ("begin", "end"))
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise BenchmarkError(f"the lines {first} and {last} must be in the page")
    middle = f"\n\n{text.strip()}\n\n" if text.strip() else "\n\n"
    return f"{before}{begin}{middle}{end}{after}"


def finding_cells(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """Cells of a finding: what, ours, other, measured (with the lowest and highest round), target, met."""
    target, rounds = finding["target"], finding.get("rounds")
    lowest, highest = (quantity(value, finding["unit"]) for value in rounds) if rounds else ("", "")
    spread = f" ({lowest} to {highest})" if rounds and lowest != highest else ""
    wanted = "" if target is None else f"{finding['sense']} {quantity(target, finding['unit'])}"
    return (
        finding["what"],
        finding["ours"],
        finding["theirs"],
        quantity(finding["value"], finding["unit"]) + spread,
        wanted,
        _WORDS[finding["met"]],
    )


def findings_table(results: Iterable[Result]) -> Iterator[str]:
    """Table of all findings with their targets."""
    yield from table(
        ("what", "ours", "other", "measured", "target", "met"),
        (finding_cells(finding) for result in results for finding in result["findings"]),
    )


def conditions(results: Iterable[Result]) -> Iterator[str]:
    """A line for each machine: the rows measured on it, the dates and the versions."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_machine(result), []).append(result)
    for machine, group in groups.items():
        rows = ", ".join(dict.fromkeys(f"`{result['row']}`" for result in group))
        days = sorted({result["measured"][:10] for result in group})
        yield f"- {rows}: {machine}; {' to '.join(dict.fromkeys([days[0], days[-1]]))}; {_versions(group)}"


def _machine(result: Result) -> str:
    machine = result["machine"]
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}"
    sets = ", ".join(machine["instruction_sets"]) or "no vector instructions of note"
    return (
        f"{machine['processor']} (family and model {machine['family']}; {sets}), {threads} on "
        f"{machine['available_cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    )


def _versions(results: Iterable[Result]) -> str:
    found: dict[str, set[str]] = {}
    for result in results:
        for run in (run for runs in result["runs"].values() for run in runs):
            for name, version in run.get("versions", {}).items():
                found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in found)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
