"""The thread table of docs/performance.md: step times by number of threads, and the number that the rule chooses."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.markdown import Result, conditions, table
from benchmarks.rows.threads import step_milliseconds, taken_threads, thread_words
from benchmarks.summary import Spread, quantity

__all__ = ["thread_table"]


def thread_table(result: Result | None) -> str:
    """The table, or a line saying that it has not been measured yet."""
    return (
        "Not measured yet: `python -m benchmarks run threads`."
        if result is None
        else "\n".join(_lines(result))
    )


def _lines(result: Result) -> Iterator[str]:
    cells = {name: run for name, (run,) in result["runs"].items()}
    counts = sorted({count for run in cells.values() for count in step_milliseconds(run)})
    costs = [f"{quantity(finding['value'], 'x')}" for finding in result["findings"]]
    yield from table(
        ("a step of", *map(thread_words, counts), "the rule takes", "its choice / the best"),
        (
            (
                name,
                *(_cell(step_milliseconds(run).get(count)) for count in counts),
                f"{thread_words(taken_threads(run))}, {_times(run['chosen'])}",
                cost,
            )
            for (name, run), cost in zip(cells.items(), costs, strict=True)
        ),
    )
    yield ""
    yield "Medians of rounds in which the numbers of threads took turns, with the lowest and the highest."
    yield ""
    yield from conditions([result])


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return ""
    lowest, highest = (quantity(bound(spread.values), "ms").removesuffix(" ms") for bound in (min, max))
    return f"{quantity(spread.median, 'ms')} ({lowest} to {highest})"


def _times(chosen: list[int]) -> str:
    most = max(map(chosen.count, chosen))
    return f"{most} of {len(chosen)} times"
