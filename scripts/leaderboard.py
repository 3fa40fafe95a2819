"""Make docs/leaderboard.html from the files in results/: systems by data set and protocol, ours and submitted ones.

A row is a system on one data set under one protocol, all its trainings together. With rank files (beside submissions,
and in ``results/ranks`` for runs), intervals are those of the 95 % bootstrap over users and trainings; without, they go
from the lowest to the highest training.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mclrec.errors import DataError
from mclrec.experiments.paper import paper_protocol, table3
from mclrec.experiments.results_table import ranks_of
from mclrec.json_files import read_json
from mclrec.models import registry
from scripts.rank_files import (
    FileRanks,
    TargetSet,
    check_ranks,
    interval_of,
    known_targets,
    read_ranks,
    targets_of,
)
from scripts.results_page import METRICS, TRIVIAL
from scripts.row_identity import system
from scripts.submissions import TOLERANCE, Checked, read_submissions, refuse_names

RANKS = "ranks"
PAPER_METRICS = ("HR@20", "NDCG@20")
MAIN = "NDCG@20"
_LINKS = "../results"
_TEMPLATE = Path(__file__).with_name("leaderboard.html")
_REGIMES = {"U": ("prefixes", "softmax"), "F": ("sequences", "bce")}
"""Training examples and loss of the two families of systems in the paper's table 3."""

Result = Mapping[str, Any]


class Value(NamedTuple):
    """A metric with the ends of its interval, and its rank among the compared systems (1, 2, or 0 for neither)."""

    mean: float
    low: float | None = None
    high: float | None = None
    rank: int = 0


class File(NamedTuple):
    """A link to a file: its label, and its path in the folder of results."""

    label: str
    place: str


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A system on one data set under one protocol.

    Attributes:
        system: name of the system.
        data: name of the data set.
        split: rule of splitting.
        protocol: U or F.
        origin: ``ours`` or ``submitted``.
        examples: what it is trained on; empty if it has no such examples.
        loss: loss that it is trained with, likewise.
        otherwise: the paper's examples and loss, if they are different.
        seeds: seeds of its trainings; empty if nothing is random.
        values: values by metric.
        interval: what the intervals are.
        paper: values of the paper under the same protocol, by metric.
        minutes: core-minutes of a training, the mean over trainings.
        device: devices of the trainings.
        files: files in the folder of results.
        link: address of a submitted system.
        notes: what a reader should know.
    """

    system: str
    data: str
    split: str
    protocol: str
    origin: str
    examples: str
    loss: str
    otherwise: str
    seeds: tuple[int, ...]
    values: Mapping[str, Value]
    interval: str
    paper: Mapping[str, float]
    minutes: float | None
    device: str
    files: Sequence[File]
    link: str = ""
    notes: Sequence[str] = field(default=())

    @property
    def group(self) -> tuple[str, str, str]:
        """What rows must share to be compared: data, split and protocol."""
        return self.data, self.split, self.protocol

    @property
    def protocol_text(self) -> str:
        """The protocol, with the split unless that is leave-one-out."""
        return self.protocol if self.split == "leave-one-out" else f"{self.protocol}, {self.split}"


def leaderboard(folder: Path) -> str:
    """The HTML of the whole page.

    Raises:
        DataError: a submission or a rank file does not pass its checks.
    """
    import jinja2

    rows = board_rows(folder)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    filters = [
        ("data", "Data set", _choices(row.data for row in rows)),
        ("protocol", "Protocol", _choices(row.protocol_text for row in rows)),
        ("examples", "Trained on", _choices(row.examples for row in rows)),
        ("loss", "Loss", _choices(row.loss for row in rows)),
        ("origin", "From", _choices(row.origin for row in rows)),
    ]
    return template.render(
        rows=rows, metrics=METRICS, paper_metrics=PAPER_METRICS, main=MAIN, filters=filters, links=_LINKS
    )


def board_rows(folder: Path) -> list[BoardRow]:
    """All rows, by data set and protocol, the best of each first.

    Raises:
        DataError: a submission or a rank file does not pass its checks.
    """
    known = known_targets(folder)
    submissions = read_submissions(folder, known)
    rows = list(_our_rows(folder, known))
    refuse_names(submissions, {(row.system, *row.group) for row in rows})
    rows += [_submitted_row(found) for found in submissions]
    placed = [row for group in _by_group(rows).values() for row in _ranked(group)]
    return sorted(
        placed, key=lambda row: (row.data, row.split, row.protocol != "U", _descending_key(row), row.system)
    )


def _descending_key(row: BoardRow) -> float:
    return -row.values[MAIN].mean if MAIN in row.values else 1.0


def _our_rows(folder: Path, known: Mapping[tuple[str, str], TargetSet]) -> Iterator[BoardRow]:
    """Rows of the published runs; runs of one system that differ only in seed make one row."""
    found: dict[tuple[str, str, str], list[Result]] = {}
    for path in sorted(folder.glob("*.json")):
        result = {**read_json(path), "stem": path.stem}
        found.setdefault((result["data"]["name"], result["split"], system(result)), []).append(result)
    for runs in found.values():
        for label in runs[0]["test"]:
            yield _our_row(folder, runs, label, known)


def _our_row(
    folder: Path, runs: Sequence[Result], label: str, known: Mapping[tuple[str, str], TargetSet]
) -> BoardRow:
    first, name = runs[0], system(runs[0])
    tables = _tables(folder, runs, label, known)
    examples, loss = _regime(first)
    values = {
        metric: _spread([run["test"][label][metric] for run in runs])
        for metric in METRICS
        if metric in first["test"][label]
    }
    if tables:
        values = {metric: Value(*interval_of(tables, metric)) for metric in values}
    interval = "bootstrap" if tables else _spread_text(len(runs), name)
    minutes = statistics.fmean(run["training_seconds"] / 60 * run["threads"] for run in runs)
    printed = table3() if label == paper_protocol(first["model"]) else {}
    keys = {metric: (first["data"]["name"], first["model"], metric) for metric in PAPER_METRICS}
    return BoardRow(
        system=name,
        data=first["data"]["name"],
        split=first["split"],
        protocol=label,
        origin="ours",
        examples=examples,
        loss=loss,
        otherwise=_otherwise(first["model"], examples, loss),
        seeds=() if name in TRIVIAL else tuple(run["seed"] for run in runs),
        values=values,
        interval=interval,
        paper={metric: printed[key] for metric, key in keys.items() if key in printed},
        minutes=minutes,
        device=", ".join(sorted({run["device"] for run in runs})),
        files=[File(f"seed {run['seed']}", f"{run['stem']}.json") for run in runs]
        + [File(f"ranks {run['seed']}", f"{RANKS}/{run['stem']}-{label}.parquet") for run in runs if tables],
    )


def _tables(
    folder: Path, runs: Sequence[Result], label: str, known: Mapping[tuple[str, str], TargetSet]
) -> list[FileRanks]:
    """Ranks of each run, checked against the published metrics; empty unless all runs have a rank file.

    Raises:
        DataError: a file ranks other targets, or its metrics differ from the published ones.
    """
    paths = [folder / RANKS / f"{run['stem']}-{label}.parquet" for run in runs]
    if not all(path.exists() for path in paths):
        return []
    tables = []
    for run, path in zip(runs, paths, strict=True):
        targets = targets_of(known, run["data"]["name"], run["split"], path)
        tables.append(read_ranks(path))
        check_ranks(path, tables[-1], targets, label, None)
        for metric, value in run["test"][label].items():
            given = tables[-1].metric(metric)
            if abs(given - value) > TOLERANCE:
                raise DataError(
                    f"{path}: gives {metric} {given:.4f}, but {run['stem']}.json says {value:.4f}"
                )
    return tables


def _submitted_row(found: Checked) -> BoardRow:
    said = found.submission
    minutes = [one.core_minutes for one in said.trainings if one.core_minutes is not None]
    return BoardRow(
        system=said.system,
        data=said.data,
        split=said.split,
        protocol=said.protocol,
        origin="submitted",
        examples=said.examples or "",
        loss=said.loss or "",
        otherwise="",
        seeds=tuple(one.seed for one in said.trainings if one.seed is not None),
        values={
            metric: Value(*interval_of(found.tables, metric)) for metric in METRICS if found.shows(metric)
        },
        interval="bootstrap",
        paper={},
        minutes=statistics.fmean(minutes) if len(minutes) == len(said.trainings) else None,
        device="",
        files=[
            File("entry", f"judged/{found.path.name}"),
            *(File(_training_label(one.seed), f"judged/{one.ranks}") for one in said.trainings),
        ],
        link=said.link,
        notes=said.notes,
    )


def _training_label(seed: int | None) -> str:
    return "ranks" if seed is None else f"ranks {seed}"


def _regime(result: Result) -> tuple[str, str]:
    """Training examples and loss of a run: from its settings, or the only ones that its model has."""
    config = result["config"]
    only = registry.entry(result["model"]).regimes
    examples, _, loss = only[0].partition("/") if len(only) == 1 else ("", "", "")
    return str(config.get("unit", examples)), str(config.get("loss", loss))


def _otherwise(model: str, examples: str, loss: str) -> str:
    """The paper's examples and loss of a system, if they differ; empty if not, or if the paper lacks the system."""
    if model not in {name for _, name, _ in table3()} or len(registry.entry(model).regimes) < 2:
        return ""
    wanted = _REGIMES[registry.entry(model).family]
    return "" if (examples, loss) == wanted else ", ".join(wanted)


def _spread(values: Sequence[float]) -> Value:
    several = len(values) > 1
    return Value(statistics.fmean(values), min(values) if several else None, max(values) if several else None)


def _spread_text(count: int, name: str) -> str:
    if name in TRIVIAL:
        return "none"
    return "one seed" if count == 1 else f"{count} seeds"


def _ranked(rows: Sequence[BoardRow]) -> Iterator[BoardRow]:
    """Compared rows, with the best and second best of each metric marked."""
    places = {}
    for metric in METRICS:
        having = [row for row in rows if metric in row.values]
        ranks = ranks_of([row.values[metric].mean for row in having])
        places[metric] = {id(row): rank for row, rank in zip(having, ranks, strict=True)}
    for row in rows:
        values = {
            metric: value._replace(rank=places[metric][id(row)]) for metric, value in row.values.items()
        }
        yield replace(row, values=values)


def _by_group(rows: Iterable[BoardRow]) -> dict[tuple[str, str, str], list[BoardRow]]:
    found: dict[tuple[str, str, str], list[BoardRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return found


def _choices(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
