"""The speed table of README.md: ratios to the fastest peer of a row, computed from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.comparison import Ratio, fastest, ratio, spreads
from benchmarks.markdown import Result, table
from benchmarks.rows import ROWS
from benchmarks.summary import quantity

__all__ = ["headlines", "unmeasured"]


def headlines(results: Mapping[str, Result]) -> str:
    """The table, with a line for each question, including those not measured yet."""
    lines: list[tuple[str, str]] = [
        (
            "SASRec on prefixes with full softmax, one epoch on Beauty",
            _answered(results, "epoch-prefixes", lambda result: _faster(result, "SASRec")),
        ),
        (
            "SASRec on sequences, one epoch on Beauty",
            _answered(results, "epoch-sequences", lambda result: _faster(result, "SASRec")),
        ),
        (
            "MCLRec on prefixes, three updates per batch",
            _answered(results, "epoch-prefixes", _share),
        ),
        ("full-ranking evaluation", _answered(results, "evaluation", _evaluation)),
        ("a log of 20 million rows, csv to sequences", _answered(results, "preparation", _preparation)),
        ("`mclrec serve`, load generated on the same cores", _answered(results, "serving", _serving)),
    ]
    return "\n".join(table(("", ""), lines))


def unmeasured(results: Mapping[str, Result]) -> Iterator[str]:
    """One line for each row that has no result yet or lacks sides; rows on a CUDA device are left out."""
    for name, row in ROWS.items():
        if row.part == "cuda":
            continue
        if name not in results:
            yield f"Not measured yet: {row.title} (`python -m benchmarks run {name}`)."
        elif lacking := _missing(name, results[name]):
            yield f"Not measured yet in `{name}`: {'; '.join(lacking)} (`python -m benchmarks run {name}`)."


def _missing(name: str, result: Result) -> list[str]:
    """Sides of a row that its result lacks, because they were added after it was measured."""
    return [side for side in ROWS[name].sides if side not in result["sides"]]


def _answered(results: Mapping[str, Result], name: str, answer: Callable[[Result], str]) -> str:
    if name not in results:
        return f"not measured yet (`python -m benchmarks run {name}`)"
    if _missing(name, results[name]):
        return f"not measured yet beside all peers (`python -m benchmarks run {name}`)"
    return answer(results[name])


def _faster(result: Result, model: str) -> str:
    sides = spreads(result)
    parts = []
    for ours in (f"{model}, fp32", f"{model}, bf16"):
        peer = fastest(sides, ours)
        found = ratio(sides[peer], sides[ours])
        parts.append(f"in {ours.rpartition(' ')[2]} {_times(found)} times as fast as {_words(peer)}")
    return f"beside the fastest peer: {'; '.join(parts)}"


def _share(result: Result) -> str:
    sides = spreads(result)
    peer = fastest(sides, "MCLRec, fp32")
    parts = (
        f"{ratio(sides[f'MCLRec, {precision}'], sides[peer]).value:.2f} in {precision}".removeprefix("0")
        for precision in ("fp32", "bf16")
    )
    return f"{', '.join(parts)} of the fastest peer's epoch, {_words(peer)}"


def _evaluation(result: Result) -> str:
    sides = spreads(result)
    [ours] = [side for side in sides if side.startswith("ours")]
    peer = fastest(sides, ours)
    found = _times(ratio(sides[ours], sides[peer]))
    return f"{found} times as many users per second as the fastest peer, {_words(peer)}"


def _preparation(result: Result) -> str:
    found = {finding["what"]: finding for finding in result["findings"]}
    names = (f"csv to sequences, 20 million rows: {what}" for what in ("time", "peak memory"))
    return ", ".join(quantity(found[name]["value"], found[name]["unit"]) for name in names)


def _serving(result: Result) -> str:
    name, runs = next(iter(result["runs"].items()))
    run: Mapping[str, Any] = runs[0]
    p50, p99 = (quantity(run[key], "ms") for key in ("p50", "p99"))
    return f"{name}: p50 {p50}, p99 {p99} ([more](docs/serving.md))"


def _words(side: str) -> str:
    """Name of a side within a sentence: "in" replaces the comma before its precision."""
    return " in ".join(side.rsplit(", ", 1))


def _times(found: Ratio) -> str:
    """A ratio with its lowest and highest round."""
    return f"{found.value:.3g} ({found.lowest:.3g} to {found.highest:.3g})"
