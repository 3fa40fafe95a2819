"""Judge another system beside ours, end to end, with real commands: ``make test-judge``.

Exports the split of the log that comes with the package, trains RecTools' SASRec on it in its own environment, has
RecTools and RePlay measure RecTools' lists, and judges the same lists with ``mclrec judge`` beside runs of Markov and
SASRec. Fails if their value of a metric that they define as we do differs from ours by more than 1e-9.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.environments import peer_python
from benchmarks.processes import BenchmarkError, Child, Place, run_child

LOG = "complete-journey"
CUTS = (5, 10, 20)
SEEN = {"F": "drop", "U": "keep"}
AGREE = 1e-9
LIMIT = 900.0
"""Seconds after which a peer counts as hung; RecTools needs a minute of one core."""


def mclrec(*words: str, quiet: bool = False) -> str:
    """Run a command of ours, print it, and return its standard output."""
    print(f"\n$ {shlex.join(['mclrec', *words])}", flush=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", "mclrec", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own words
    if not quiet:
        print(done.stdout, end="")
    print(f"({time.perf_counter() - started:.1f} s)", flush=True)
    if done.returncode:
        sys.exit(f"mclrec {shlex.join(words)} ended with status {done.returncode}")
    return done.stdout


def peer_lists(folder: Path, epochs: int, place: Place) -> tuple[dict[str, Path], dict[str, Any]]:
    """Lists of RecTools' SASRec by protocol, and RecTools' metrics on them."""
    lists = {label: folder / f"rectools-{label}.csv" for label in SEEN}
    request = {
        "split": str(folder / "split"),
        "lists": {label: str(path) for label, path in lists.items()},
        "listed": max(CUTS),
        "cuts": CUTS,
        "seed": 1,
        "epochs": epochs,
        "factors": 64,
        "session": 50,
    }
    child = Child("benchmarks.peers.rectools_lists", request, peer_python("rectools", Console()), LIMIT)
    print(f"\n== RecTools' SASRec, {epochs} epochs", flush=True)
    found = run_child(child, place)
    print(f"({found.seconds:.1f} s) {found.document['versions']}", flush=True)
    return lists, found.document["metrics"]


def replay_metrics(folder: Path, lists: Mapping[str, Path], place: Place) -> dict[str, Any]:
    """RePlay's metrics on the same lists."""
    request = {
        "lists": {label: str(path) for label, path in lists.items()},
        "targets": str(folder / "split" / "test-targets.csv"),
        "cuts": CUTS,
    }
    child = Child("benchmarks.peers.replay_metrics", request, peer_python("replay-metrics", Console()), LIMIT)
    found = run_child(child, place)
    print(f"\n== RePlay's metrics ({found.seconds:.1f} s) {found.document['versions']}", flush=True)
    return dict(found.document["metrics"])


def compare(name: str, label: str, theirs: Mapping[str, float], ours: Mapping[str, float]) -> None:
    """Check that all shared metrics are equal; RecTools' default NDCG is ours with another ideal list."""
    shared = [metric for metric in ours if metric in theirs]
    if len(shared) < 2 * len(CUTS):
        sys.exit(f"{name} and mclrec share {shared} only")
    for metric in shared:
        line = f"{label} {metric:8} mclrec {ours[metric]:.12f}  {name} {theirs[metric]:.12f}"
        print(line)
        if abs(ours[metric] - theirs[metric]) > AGREE:
            sys.exit(f"they differ: {line}")
    for k in CUTS:
        if (other := theirs.get(f"default NDCG@{k}")) is not None:
            ideal = sum(1 / math.log2(place + 1) for place in range(1, k + 1))
            if abs(other * ideal - ours[f"NDCG@{k}"]) > AGREE:
                sys.exit(f"{label}: {name}'s default NDCG@{k} is not ours over {ideal:.6f}")


def main(words: Sequence[str] | None = None) -> None:
    """Export, train, recommend, judge, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="of RecTools' SASRec")
    parser.add_argument("--keep", type=Path, help="folder that keeps lists, runs and the report")
    given = parser.parse_args(words)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="judge-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        place = Place(1, Path(temporary))
        mclrec("prepare", LOG, "--export-split", str(folder / "split"), "--export-format", "csv")
        for model, settings in (("markov", []), ("sasrec", ["--set", "epochs=1"])):
            mclrec("train", LOG, "--model", model, *settings, "--out", str(folder / model), "--quiet")
        lists, rectools = peer_lists(folder, given.epochs, place)
        replay = replay_metrics(folder, lists, place)
        for label, seen in SEEN.items():
            entries = [f"rectools={lists[label]}", str(folder / "markov"), str(folder / "sasrec")]
            judged = ["judge", *entries, "--data", str(folder / "split"), "--seen", seen]
            mclrec(*judged)
            found = json.loads(mclrec(*judged, "--json", quiet=True))
            ours = found["systems"][0]["metrics"]
            compare("RecTools", label, rectools[label], ours)
            compare("RePlay", label, replay[label], ours)
    print(f"\nall agree to {AGREE:g}; {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as problem:
        sys.exit(str(problem))
