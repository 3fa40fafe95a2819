"""MCLRec on Beauty from the command line, until early stopping or within given minutes: time and test metrics."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.processes import Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["RECIPE", "accuracy_outcome", "measure_accuracy", "measure_accuracy_within"]

_SEEDS = (1, 2, 3)
_MINUTES = 4.0
_WITHIN = 3.5
RECIPE = "auto"
"""Recipe of the accuracy rows if none is named."""

_HR20, _NDCG20 = 0.1206, 0.0517


def measure_accuracy(session: Session) -> Outcome:
    """Measure the minutes of the whole command, and test metrics of the selected weights under protocol U."""
    return accuracy_outcome(session, "cpu", _SEEDS, _MINUTES, session.recipe or RECIPE)


def measure_accuracy_within(session: Session) -> Outcome:
    """Measure the same for `mclrec train --minutes`, which ends before early stopping would."""
    return accuracy_outcome(session, "cpu", _SEEDS, _MINUTES, session.recipe or RECIPE, within=_WITHIN)


def accuracy_outcome(
    session: Session,
    device: str,
    seeds: tuple[int, ...],
    minutes: float,
    recipe: str,
    limit: float | None = None,
    within: float | None = None,
) -> Outcome:
    """Measure time and accuracy for a device and a recipe, with one run per seed.

    Args:
        session: session of the benchmark.
        device: where to train.
        seeds: seeds of the runs.
        minutes: target time of the whole command.
        recipe: recipe of MCLRec.
        limit: seconds after which a run is killed; None for no limit.
        within: minutes that the command is given; None to train until early stopping.
    """
    runs = [_train(session, seed, device, recipe, limit, within) for seed in seeds]
    tests = [run.document["metrics"]["results"]["test"]["U"]["metrics"] for run in runs]
    wall = Spread(tuple(run.seconds / 60 for run in runs), "min")
    precision = runs[0].document["training"]["precision"]
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "1 seed"
    given = "" if within is None else f", --minutes {within:g}"
    label = f"MCLRec on Beauty, recipe {recipe}{given}, {precision}, {device}, {count}"
    what = (
        "time until early stopping has ended the run, and the test" if within is None else "the whole command"
    )
    findings = [Finding(f"{label}: {what}", wall.median, "min", minutes)]
    for name, least in (("HR@20", _HR20), ("NDCG@20", _NDCG20)):
        values = [test[name] for test in tests]
        each = ", ".join(f"{value:.4f}" for value in values)
        findings.append(
            Finding(f"{label}: {name} on test (U), mean", fmean(values), "", least, "at least", ours=each)
        )
    peak = max(run.peak_bytes for run in runs) / 1e9
    findings.append(Finding(f"{label}: peak memory", peak, "GB"))
    return Outcome(findings=findings, sides={label: wall}, runs={label: runs})


def _train(
    session: Session, seed: int, device: str, recipe: str, limit: float | None, within: float | None
) -> Measurement:
    """Train once, and keep what the run recorded."""
    directory = session.scratch / f"accuracy-{device}-{seed}"
    words = [sys.executable, "-m", "mclrec", "train", "beauty", "--model", "mclrec"]
    words += ["--recipe", recipe, "--seed", str(seed), "--device", device]
    words += [] if within is None else ["--minutes", f"{within:g}"]
    words += ["--out", str(directory)]
    measured = session.run_command(f"mclrec train, seed {seed}", words, limit)
    info, record = (_read(directory / name) for name in ("config.json", "metrics.json"))
    kept = {key: info[key] for key in ("recipe", "config", "training", "data", "seed", "versions")}
    return replace(measured, document={"command": ["mclrec", *words[3:-2]], **kept, "metrics": record})


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
