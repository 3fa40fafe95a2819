"""Make the pages of docs/results/ from the files in results/: one per data set, with all that was measured on it."""

from __future__ import annotations

import json
import shlex
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.paper import paper_protocol, table3
from mclrec.experiments.results_table import ResultTable, TableCell, markdown, ranks_of
from mclrec.recipes import resolve
from mclrec.runs.request import setting_words
from mclrec.runs.run import LABELS
from scripts.results_pictures import FOLDER, pictures
from scripts.row_identity import check_row, check_scope, system
from scripts.view_claims import view_verdict

METRICS = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")
TRIVIAL = ("popularity", "recency", "frequency", "markov", "itemknn", "cooccurrence", "ease")
_TOLERANCE = {"hr": 0.05, "ndcg": 0.07}
"""Relative distance by which a single seed may lie outside of an interval."""
_LINKS = "../../results"

Result = Mapping[str, Any]

PROTOCOLS = """**U** keeps the items of the user's history as candidates, **F** excludes them. Numbers under the two are
not comparable. In the paper's table 3, MCLRec and DuoRec are measured under U and all others under F; each of its
values is shown beside ours under its own protocol only."""

_HEAD = f"""# Results on {{data}}

Generated from the files in [results/]({_LINKS}) by `python -m scripts.publish`; do not edit. See also [all data sets
and the paper's claims](../results.md).

{PROTOCOLS}
Best and second best of a column are marked. A name in brackets is a section of the model's recipes (`mclrec models
NAME`).
"""


def read_results(folder: Path) -> dict[str, list[Result]]:
    """All published runs, by data set.

    Raises:
        NotPublishableError: a file is not that of a row, for example because its data are not those of their name.
    """
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    for row in found:
        check_row(row, row["file"])
    return _by_data(found)


def read_campaigns(folder: Path) -> list[Result]:
    """All published campaigns.

    Raises:
        NotPublishableError: a campaign is on data that are not a registered data set, or by a recipe in a file.
    """
    found = [_read(path) for path in sorted((folder / "campaigns").glob("*.json"))]
    for campaign in found:
        check_scope(campaign["file"], campaign["scope"])
    return found


def data_page(
    data: str, results: Sequence[Result], campaigns: Sequence[Result], notes: Mapping[str, str]
) -> str:
    """The page of one data set.

    Args:
        data: name of the data set.
        results: its runs.
        campaigns: campaigns on all data sets.
        notes: notes on results and campaigns, by the names of their files without suffix.
    """
    own = [found for found in campaigns if data in found["scope"]["datasets"]]
    told = {name: text for name, text in notes.items() if name in {run["file"][:-5] for run in results}}
    parts = [_HEAD.format(data=data), "## All systems\n"]
    parts += [markdown(_table(data, results, label)) for label in LABELS]
    parts += [
        *_expected(data, results, told),
        *(_campaign(found, data, notes) for found in own),
        _runs(results),
    ]
    return "\n".join(parts)


def read_notes(folder: Path) -> dict[str, str]:
    """Notes on results and campaigns, by the names of their files without suffix."""
    return tomllib.loads((folder / "notes.toml").read_text(encoding="utf-8"))


def summary(folder: Path, data: str = "beauty") -> str:
    """Metrics of all systems on one data set, as a table for the README."""
    groups = grouped(read_results(folder)[data])
    shown = [(label, metric) for label in LABELS for metric in ("HR@20", "NDCG@20")]
    means = {
        (label, metric): [
            statistics.fmean(run["test"][label][metric] for run in runs) for runs in groups.values()
        ]
        for label, metric in shown
    }
    ranks = {column: ranks_of(values) for column, values in means.items()}
    rows = []
    for place, (name, runs) in enumerate(groups.items()):
        label = paper_protocol(runs[0]["model"])
        printed = [f"{cell.text} {label}" for cell in _paper(data, runs[0]["model"], label)[:1] if cell.text]
        cells = [TableCell(f"{means[column][place]:.4f}", ranks[column][place]) for column in shown]
        seeds = "-" if name in TRIVIAL else str(len(runs))
        rows.append(
            (
                name,
                [
                    TableCell(_regime(runs[0]["config"])),
                    TableCell(seeds),
                    *cells,
                    TableCell("".join(printed)),
                ],
            )
        )
    columns = ["", "trained by", "seeds", *(f"{metric} {label}" for label, metric in shown), "paper HR@20"]
    return markdown(ResultTable("", columns, rows)).split("\n", 2)[2]


def _regime(config: Mapping[str, Any]) -> str:
    """Training examples and loss of a system that has a choice of them."""
    return ", ".join(str(config[key]) for key in ("unit", "loss") if key in config)


def _read(path: Path) -> Result:
    return {**json.loads(path.read_text(encoding="utf-8")), "file": path.name}


def _by_data(results: Iterable[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result["data"]["name"], []).append(result)
    return found


def grouped(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by system, with all seeds of a system together; in the order of table 3."""
    order = TARGETS["table3"].models
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: order.index(result["model"])):
        found.setdefault(system(result), []).append(result)
    return found


def _table(data: str, results: Sequence[Result], label: str) -> ResultTable:
    """Table of means over seeds; with several seeds, also half of the range from lowest to highest."""
    groups = grouped(results)
    values = {
        name: {metric: [result["test"][label][metric] for result in runs] for metric in METRICS}
        for name, runs in groups.items()
    }
    ranks = {
        metric: ranks_of([statistics.fmean(values[name][metric]) for name in groups]) for metric in METRICS
    }
    rows = []
    for place, (name, runs) in enumerate(groups.items()):
        cells = [_cell(values[name][metric], ranks[metric][place]) for metric in METRICS]
        seeds = ", ".join(str(result["seed"]) for result in runs) if name not in TRIVIAL else "-"
        rows.append((name, [TableCell(seeds), *cells, *_paper(data, runs[0]["model"], label)]))
    columns = ["", "seeds", *METRICS, "paper HR@20", "paper NDCG@20"]
    return ResultTable(f"{data}, {label}", columns, rows, _notes(groups))


def _cell(values: Sequence[float], rank: int) -> TableCell:
    mean, half = statistics.fmean(values), (max(values) - min(values)) / 2
    text = f"{mean:.4f}" + (f" ± {half:.4f}" if len(values) > 1 else "")
    return TableCell(text, rank, mean)


def _paper(data: str, model: str, label: str) -> list[TableCell]:
    known = table3() if label == paper_protocol(model) else {}
    found = [known.get((data, model, metric)) for metric in ("HR@20", "NDCG@20")]
    return [TableCell("" if value is None else f"{value:.4f}") for value in found]


def _notes(groups: Mapping[str, Sequence[Result]]) -> list[str]:
    several = any(len(runs) > 1 for runs in groups.values())
    return ["With several seeds: the mean ± half of the range."] * several


def _expected(data: str, results: Sequence[Result], notes: Mapping[str, str]) -> list[str]:
    """Each system with the expected intervals of its recipe, and notes on its runs; empty without intervals."""
    rows = [(system(runs[0]), cells) for runs in grouped(results).values() for cells in _verdicts(data, runs)]
    if not rows:
        return []
    columns = ["", "protocol", "metric", "interval", "seeds", "reached", ""]
    told = [
        "For a single seed, the intervals are widened by 5 % for HR and 7 % for NDCG.",
        *(f"{name}: {' '.join(text.split())}" for name, text in notes.items()),
    ]
    title = "Intervals are for the mean of several seeds, from published reproductions"
    return ["## Compared with the expected intervals\n\n" + markdown(ResultTable(title, columns, rows, told))]


def _verdicts(data: str, runs: Sequence[Result]) -> list[list[TableCell]]:
    """One row per metric for which the recipe has an interval."""
    first = runs[0]
    expect = resolve(first["model"], data, first["recipe"]["section"]).expect
    if expect is None:
        return []
    rows = []
    for metric, (low, high) in expect.intervals.items():
        value = statistics.fmean(result["test"][expect.protocol][metric.upper()] for result in runs)
        tolerance = _TOLERANCE[metric.split("@")[0]] if len(runs) == 1 else 0.0
        verdict = _verdict(value, low * (1 - tolerance), high * (1 + tolerance))
        texts = [expect.protocol, metric.upper(), _interval(low, high), str(len(runs))]
        rows.append([*map(TableCell, texts), TableCell(f"{value:.4f}"), TableCell(verdict)])
    return rows


def _interval(low: float, high: float) -> str:
    return f"at least {low:g}" if high >= 1 else f"{low:g} to {high:g}"


def _verdict(value: float, low: float, high: float) -> str:
    return "SHORT" if value < low else "ABOVE" if value > high else "inside"


def _campaign(found: Result, data: str, notes: Mapping[str, str]) -> str:
    """A campaign's notes and pictures, then its tables for one data set and those for all of its data sets."""
    names = found["scope"]["datasets"]
    others = [f" on {Path(name).stem}" for name in names if name != data]
    tables = [ResultTable.of(table) for table in found["sheets"]]
    own = [table for table in tables if not any(other in table.title for other in others)]
    command = reproduce_command(found["target"], found["scope"])
    title = f"{found['target']}{_by_recipe(found['scope'])}"
    head = f"## {title}\n\n`{command}` ([numbers and runs]({_LINKS}/campaigns/{found['file']}))\n"
    shown = [f"![{picture.title}]({FOLDER}/{picture.name})" for picture in pictures(found, data)]
    note = " ".join(notes.get(Path(found["file"]).stem, "").split())
    told = filter(None, [note and f"{note}\n", _unknown_precision(found), view_verdict(found, data)])
    return "\n".join([head, *told, *(f"{picture}\n" for picture in shown), *map(markdown, own)])


def _unknown_precision(found: Result) -> str:
    """A line if the file does not state the precision of some runs, as in earlier versions; empty otherwise."""
    runs = found["runs"].values()
    trained = [run for run in runs if run["epochs"]]
    unknown = [
        run for run in trained if "training" not in run and "precision=" not in _command_without_auto(run)
    ]
    if not unknown:
        return ""
    which = "its runs" if len(unknown) == len(trained) else f"{len(unknown)} of its {len(trained)} runs"
    return f"In what precision {which} were trained (fp32 or bf16) was not recorded.\n"


def _command_without_auto(run: Result) -> str:
    """The command of a run, without ``precision=auto``, which leaves the precision to the machine."""
    return str(run["command"]).replace("precision=auto", "")


def _by_recipe(scope: Mapping[str, Any]) -> str:
    """End of a campaign's title: its recipes, which distinguish it from others on the same data."""
    recipe = scope.get("recipe")
    if not recipe:
        return ""
    return f", {recipe}" if isinstance(recipe, str) else ", recipes by system"


def reproduce_command(target: str, scope: Mapping[str, Any]) -> str:
    """The command line of a campaign with a scope; see `mclrec.experiments.target.Scope`."""
    words = ["mclrec", "reproduce", target, "--datasets", ",".join(scope["datasets"])]
    if scope["models"]:
        words += ["--models", ",".join(scope["models"])]
    words += ["--seeds", str(scope["seeds"])]
    if recipe := scope.get("recipe"):
        words += ["--recipe", recipe if isinstance(recipe, str) else ",".join(map("=".join, recipe.items()))]
    if points := scope.get("points"):
        words += ["--points", str(points)]
    return shlex.join(words + setting_words(scope["settings"]))


def _runs(results: Sequence[Result]) -> str:
    """Table of all runs, with their commands."""
    rows = [
        (
            f"[{result['file'].removesuffix('.json')}]({_LINKS}/{result['file']})",
            [
                TableCell(f"`{result['command']}`"),
                TableCell(str(result["best_epoch"] or "-")),
                TableCell(f"{result['training_seconds'] / 60:.1f}, {result['threads']}"),
                TableCell(result["data"]["fingerprint"][:12]),
            ],
        )
        for result in results
    ]
    columns = ["run", "command", "chosen epoch", "minutes of training, threads", "data"]
    return "## Runs\n\n" + markdown(ResultTable("One file per run", columns, rows))
