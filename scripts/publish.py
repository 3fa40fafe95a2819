"""Write finished runs to results/ as small JSON files, and results/README.md from all of them.

python scripts/publish.py runs/beauty-mclrec-seed1 runs/beauty-sasrec-seed1
python scripts/publish.py            # only makes the page again
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from mclrec.files import write_json, write_text
from mclrec.recipes import resolve
from mclrec.runs.run import LABELS, Run

RESULTS = Path(__file__).parents[1] / "results"
_METRICS = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")
_ROOM = {"hr": 0.05, "ndcg": 0.07}
"""Share of an interval's bounds that one seed may lie outside."""
_KEPT = (
    "status",
    "best_epoch",
    "best_validation",
    "epochs",
    "training_seconds",
    "seconds",
    "device",
    "threads",
)


def publish(directory: Path, folder: Path = RESULTS) -> Path:
    """One run as one JSON file: what it reached, and everything that it depends on."""
    run = Run(directory)
    info, record = run.info, run.record
    if record["status"] != "finished":
        sys.exit(f"{directory}: is not finished")
    variant = _system(info).removeprefix(info["model"]).replace(" (", "-").rstrip(")")
    path = folder / f"{info['data']['name']}-{info['model']}{variant}-seed{info['seed']}.json"
    kept = ("model", "command", "seed", "split", "recipe", "config", "training", "data", "versions")
    write_json(
        path,
        {
            **{key: info[key] for key in kept},
            **{key: record[key] for key in _KEPT},
            "protocols": {
                label: record["results"]["test"][label]["protocol"]["description"] for label in LABELS
            },
            "test": run.metrics,
            "validation": [epoch["metrics"] for epoch in run.history],
        },
    )
    return path


def page(folder: Path = RESULTS) -> str:
    """The table of all results, as Markdown."""
    results: list[tuple[str, dict[str, Any]]] = [
        (path.name, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))
    ]
    lines = [
        "# Results",
        "",
        "Test metrics of runs of this code, the epoch chosen on validation. Each links to a file with its command,",
        "settings, data fingerprint, library versions and duration. U keeps the items of the user's history as",
        "candidates, F drops them. Made by `scripts/publish.py`; do not edit.",
        "",
        f"| data | model | seed | protocol | {' | '.join(_METRICS)} | best epoch | minutes of training, threads |",
        "| --- " * (len(_METRICS) + 6) + "|",
    ]
    for name, result in results:
        for label in LABELS:
            values = " | ".join(f"{result['test'][label][metric]:.4f}" for metric in _METRICS)
            lines.append(
                f"| {result['data']['name']} | [{_system(result)}]({name}) | {result['seed']} | {label} | {values} "
                f"| {result['best_epoch'] or '-'} | {result['training_seconds'] / 60:.1f}, {result['threads']} |"
            )
    return "\n".join([*lines, *_expected(results, folder)]) + "\n"


def _system(result: dict[str, Any]) -> str:
    """The model, with the section of its recipes if it is not the data set's own."""
    section = result["recipe"]["section"]
    return (
        result["model"]
        if section in ("default", result["data"]["name"])
        else f"{result['model']} ({section})"
    )


def _expected(results: list[tuple[str, dict[str, Any]]], folder: Path) -> list[str]:
    """Each result beside the interval of its recipe, with what was tried where it falls short."""
    notes = tomllib.loads((folder / "notes.toml").read_text(encoding="utf-8"))
    lines = [
        "",
        "## Beside what was to be expected",
        "",
        "Intervals are for the mean of several seeds, from published reproductions (`mclrec models NAME`);",
        "one seed has 5 % more room in HR and 7 % in NDCG. Where only a lowest value is demanded, it goes up to 1.",
        "",
        "| data | model | protocol | metric | interval | reached | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in results:
        recipe = resolve(result["model"], result["data"]["name"], result["recipe"]["section"])
        if recipe.expect is None:
            continue
        for metric, (low, high) in recipe.expect.intervals.items():
            value = result["test"][recipe.expect.protocol][metric.upper()]
            room = _ROOM[metric.split("@")[0]]
            verdict = (
                "inside"
                if low * (1 - room) <= value <= high * (1 + room)
                else "above"
                if value > high
                else "SHORT"
            )
            lines.append(
                f"| {result['data']['name']} | [{_system(result)}]({name}) | {recipe.expect.protocol} "
                f"| {metric.upper()} | {low:g} to {high:g} | {value:.4f} | {verdict} |"
            )
    told = [f"- {name}: {notes[Path(name).stem]}" for name, _ in results if Path(name).stem in notes]
    return [*lines, *(["", *told] if told else [])]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(publish(Path(argument)))
    write_text(RESULTS / "README.md", page())
