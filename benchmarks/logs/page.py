"""Tables of the comparison on logs for README.md and docs/performance.md, made from the cells' result files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from benchmarks.logs.cells import LOGS, SYSTEMS, Cell
from benchmarks.markdown import conditions, findings_table, table
from benchmarks.summary import Finding, quantity

__all__ = ["Row", "findings", "logs_page", "logs_summary", "rows"]

_LEAD = 1.25
"""Target for the ratio of our NDCG@10 to that of the best peer."""

_OURS = "mclrec"
_EARLIER = """\
Ours are by the `auto` of {days}. Since then it has a frequency filter on logs like Beauty, counts co-occurrence by
order and lets validation choose its weight: on Beauty training takes longer by that, and there and on complete-journey
its lists are better ([results]({results}))."""
_NOTES = """\
- All is at its default. Each user's last item is ranked among the whole catalogue without the items of the history
  (protocol F; ties count against the target). `LOG` also stands for the options that name its columns.
- Markov has two items as its window on complete-journey, by the recipe of that log, which is taken where a model has no
  `auto`; by one item, its default elsewhere, NDCG@10 is .0254.
- Time and memory of ours are those of the whole command, with reading, test and saving. Those of the peers begin when
  the prepared rows are opened, and end with the training. Metrics are means over the seeds, times medians, memory the
  highest. Processor time is what a process itself worked: on a machine with other work, times are compared by it, and
  the time box counts it.
- RecTools' defaults hold nothing out for validation, so it also learns from the items by which we choose the epoch.
  `FlatSASRecNet` is its fastest SASRec, a network without a trainer: it gets the sizes, loss, initial weights,
  optimiser and epochs of `SASRecModel()`.
- RecBole's own split is random; it gets ours. Where the time box ends its training, the weights of its best validation
  are measured, or its last ones if no epoch has ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """Results of a system on a log, over its seeds.

    Attributes:
        log: name of the log.
        system: name of the system.
        documents: results, one per seed.
    """

    log: str
    system: str
    documents: Sequence[Mapping[str, Any]]

    @property
    def seconds(self) -> float:
        """Median time over the seeds."""
        value: float = median(document["seconds"] for document in self.documents)
        return value

    @property
    def processor_seconds(self) -> float:
        """Median processor time over the seeds, of all threads together."""
        value: float = median(document["processor_seconds"] for document in self.documents)
        return value

    @property
    def peak_bytes(self) -> int:
        """Highest peak memory over the seeds."""
        value: int = max(document["peak_bytes"] for document in self.documents)
        return value

    @property
    def boxed(self) -> bool:
        """Whether the time box ended a training."""
        return any(document["ended"] == "time box" for document in self.documents)

    def metric(self, name: str, protocol: str = "F") -> float:
        """Mean of a metric over the seeds."""
        return fmean(document["metrics"][protocol][name] for document in self.documents)


def rows(cells: Mapping[Cell, Mapping[str, Any]]) -> list[Row]:
    """Group cells by log and system."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell, document in cells.items():
        found.setdefault((cell.log, cell.system), []).append(document)
    order = [(log, system) for log in LOGS for system in SYSTEMS if (log, system) in found]
    return [Row(*names, found[names]) for names in order]


def logs_page(cells: Mapping[Cell, Mapping[str, Any]]) -> str:
    """The section of docs/performance.md: all systems, the targets, and how they were measured."""
    if not cells:
        return "Not measured yet: `make bench-logs`."
    found = rows(cells)
    targets = [finding.to_json() for finding in findings(found)]
    parts = [
        "Made by `python -m benchmarks report` from `benchmarks/results/logs/`. Nothing here is typed by hand.",
        "\n".join(_table(found)),
        _EARLIER.format(days=_days(cells), results="results.md"),
        *(["\n".join(findings_table([{"findings": targets}]))] if targets else []),
        _NOTES,
        "\n".join([*conditions(_results(found)), _load(cells)]),
    ]
    return "\n\n".join(parts)


def logs_summary(cells: Mapping[Cell, Mapping[str, Any]]) -> str:
    """The section of README.md: the table, and links to the rest; empty without results."""
    if not cells:
        return ""
    found = rows(cells)
    opening = (
        "Each system with all of its settings at their defaults, one core; the rules of our `auto` were chosen on the "
        "validation items of these logs "
        "(`make bench-logs`, [how it is measured, and the targets](docs/performance.md#logs-at-the-defaults)):"
    )
    return "\n\n".join(
        [opening, "\n".join(_table(found)), _EARLIER.format(days=_days(cells), results="docs/results.md")]
    )


def _days(cells: Mapping[Cell, Mapping[str, Any]]) -> str:
    """The days on which our systems were measured."""
    found = {
        document["measured"][:10] for cell, document in cells.items() if SYSTEMS[cell.system].kind == "ours"
    }
    return " to ".join(dict.fromkeys([min(found), max(found)]))


def findings(found: Sequence[Row]) -> list[Finding]:
    """Compare `mclrec train LOG` with its targets and with the best peer of each log."""
    by_name = {(row.log, row.system): row for row in found}
    ours = [by_name[log, _OURS] for log in LOGS if (log, _OURS) in by_name]
    return [finding for row in ours for finding in _findings_of_log(row, _best_peer(found, row.log))]


def _findings_of_log(ours: Row, peer: Row | None) -> Iterator[Finding]:
    log = LOGS[ours.log]
    protocol, name = log.metric
    if log.seconds is not None:
        yield Finding(f"{ours.log}: `mclrec train LOG`, the whole command", ours.seconds, "s", log.seconds)
    if log.least is not None:
        value = ours.metric(name, protocol)
        yield Finding(f"{ours.log}: {name} ({protocol})", value, "", log.least, "at least")
    if peer is None:
        return
    title = SYSTEMS[peer.system].title
    pair = (ours.metric("NDCG@10"), peer.metric("NDCG@10"))
    yield Finding(
        f"{ours.log}: NDCG@10 (F) against the best peer, {title}",
        pair[0] / pair[1],
        "x",
        _LEAD,
        "at least",
        *(quantity(value, "") for value in pair),
    )
    times = (ours.processor_seconds, peer.processor_seconds)
    yield Finding(
        f"{ours.log}: processor time against it",
        times[0] / times[1],
        "x",
        1.0,
        "at most",
        *(quantity(value, "s") for value in times),
    )


def _best_peer(found: Sequence[Row], log: str) -> Row | None:
    """The peer with the highest NDCG@10 on a log; None if no peer's is above 0."""
    peers = [row for row in found if row.log == log and SYSTEMS[row.system].kind != "ours"]
    best = max(peers, key=lambda row: row.metric("NDCG@10"), default=None)
    return best if best is not None and best.metric("NDCG@10") > 0 else None


def _table(found: Sequence[Row]) -> Iterator[str]:
    yield from table(
        (
            "log",
            "system",
            "time",
            "processor time",
            "peak memory",
            "HR@10 F",
            "NDCG@10 F",
            "NDCG@10 / best peer",
            "seeds",
        ),
        (_cells(row, _best_peer(found, row.log)) for row in found),
    )


def _cells(row: Row, peer: Row | None) -> tuple[str, ...]:
    ratio = "" if peer is None else f"{row.metric('NDCG@10') / peer.metric('NDCG@10'):.2f}x"
    boxed = " (time box)" if row.boxed else ""
    return (
        row.log,
        SYSTEMS[row.system].title,
        quantity(row.seconds, "s") + boxed,
        quantity(row.processor_seconds, "s"),
        quantity(row.peak_bytes / 1e9, "GB"),
        quantity(row.metric("HR@10"), ""),
        quantity(row.metric("NDCG@10"), ""),
        ratio,
        str(len(row.documents)),
    )


def _results(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows in the form of result files, for the lines on machines and versions."""
    return [
        {
            "row": row.log,
            "machine": document["machine"],
            "threads": document["threads"],
            "measured": document["measured"],
            "runs": {row.system: [document]},
        }
        for row in found
        for document in row.documents
    ]


def _load(cells: Mapping[Cell, Mapping[str, Any]]) -> str:
    loads = [document["load"][key] for document in cells.values() for key in ("before", "after")]
    return f"- Load of the machine before and after each training: {min(loads):.2f} to {max(loads):.2f}."
