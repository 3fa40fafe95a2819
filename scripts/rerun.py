"""Train published rows again with their commands, and record how close their metrics come in results/reruns.csv.

python -m scripts.rerun lastfm-sasrec-auto-seed1 beauty-markov-seed1
python -m scripts.rerun beauty-sasrec-auto-seed1 --runs runs/again   # keeps the run; if interrupted, it continues
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError, MclrecError, TrainingError, unknown_name
from mclrec.files import write_text
from mclrec.json_files import read_json
from mclrec.models.directory import METRICS
from mclrec.runs.run import LABELS, Run
from mclrec.runs.saved_settings import check_settings
from scripts.row_commands import recipe_of

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
RERUNS = "reruns.csv"
COLUMNS = (
    "row",
    "processor",
    "threads",
    "mclrec",
    "torch",
    "metrics",
    "alike",
    "farthest",
    "published",
    "again",
)
_DIGITS = 4


def again(name: str, row: Mapping[str, Any], folder: Path) -> Run:
    """Train a row again with its command and the same number of threads.

    Args:
        name: name of the row, and of the run's directory.
        row: the published row.
        folder: parent of the run's directory, which may be new, interrupted (its training is resumed) or finished (it
            is used as it is).

    Raises:
        MclrecError: a finished run does not match the row, or the training fails.
    """
    words = shlex.split(row["command"])
    if "--out" in words:
        del words[(place := words.index("--out")) : place + 2]
    out = folder / name
    if (out / METRICS).exists() and Run(out).record.finished:
        return _checked_run(Run(out), row)
    words += ["--out", str(out), *(["--resume"] if (out / "checkpoint").exists() else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(row["threads"]), "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([sys.executable, "-m", *words], env=environment)  # noqa: S603 - our own command
    if ended.returncode:
        raise TrainingError(f"{name}: its training ended with status {ended.returncode}; the reason is above")
    return Run(out)


def _checked_run(run: Run, row: Mapping[str, Any]) -> Run:
    """A finished run, after a check that it is one of the row's command."""
    info = run.info
    found = (info.model, info.seed, info.split, info.data.fingerprint)
    if found != (row["model"], row["seed"], row["split"], row["data"]["fingerprint"]):
        raise ConfigError(
            f"{run.directory}: holds another run than the row's; remove it, or give another --runs"
        )
    check_settings(run, recipe_of(row))
    return run


def comparison(name: str, row: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Compare the metrics of a run with those of a row, both to four decimals.

    Args:
        name: name of the row.
        row: the published row.
        run: a run of the same command.
    """
    then, now = _metrics(row["test"]), _metrics(run.metrics)
    texts = {metric: (_text(then[metric]), _text(now[metric])) for metric in then}
    other = [metric for metric, (published, measured) in texts.items() if published != measured]
    farthest = max(other, key=lambda metric: abs(then[metric] - now[metric]), default=None)
    published, measured = texts[farthest] if farthest else ("", "")
    record = run.record
    return {
        "row": name,
        "processor": record.processor,
        "threads": record.threads,
        "mclrec": run.info.versions["mclrec"],
        "torch": run.info.versions["torch"],
        "metrics": len(then),
        "alike": len(then) - len(other),
        "farthest": farthest or "",
        "published": published,
        "again": measured,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """A comparison in words: how many metrics are equal, and the one that differs most."""
    text = f"{found['alike']} of {found['metrics']} metrics alike to {_DIGITS} digits"
    if not found["farthest"]:
        return text
    return f"{text}; {found['farthest']} was {found['published']} and is {found['again']}"


def read_reruns(folder: Path) -> list[dict[str, str]]:
    """The recorded comparisons, in the order of the rows' names."""
    path = folder / RERUNS
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else []


def write_down(found: Mapping[str, Any], folder: Path) -> None:
    """Record a comparison, in place of an earlier one of the row on the same processor."""
    key = (found["row"], found["processor"])
    kept = [old for old in read_reruns(folder) if (old["row"], old["processor"]) != key]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted([*kept, found], key=lambda one: (one["row"], one["processor"])))
    write_text(folder / RERUNS, text.getvalue())


def _metrics(test: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metrics of both protocols, by names such as ``HR@20 U``."""
    return {f"{metric} {label}": value for label in LABELS for metric, value in test[label].items()}


def _text(value: float) -> str:
    return f"{value:.{_DIGITS}f}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", metavar="ROW", help="name of a file in results/, without .json")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the runs there; else they are removed")
    given = parser.parse_args(words)
    known = [path.stem for path in sorted(RESULTS.glob("*.json"))]
    for name in given.rows:
        if name not in known:
            parser.error(unknown_name("row", name, known))
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.rows:
            row = read_json(RESULTS / f"{name}.json")
            try:
                found = comparison(name, row, again(name, row, given.runs or Path(scratch)))
            except MclrecError as problem:
                sys.exit(f"error: {problem}")
            write_down(found, RESULTS)
            print(f"{name}: {in_words(found)}")


if __name__ == "__main__":
    main()
