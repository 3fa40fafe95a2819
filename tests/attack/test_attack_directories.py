"""Reading a damaged directory returns what it held before or raises an MclrecError, and never returns other numbers."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.helpers import at_random_times, tiny_data, write_log
from tests.runs.conftest import start

from mclrec.data.loading import load
from mclrec.errors import MclrecError, MclrecWarning
from mclrec.experiments.reproduction import Outcome, load_outcomes, write_outcome
from mclrec.experiments.results_table import Measurement, pivot
from mclrec.experiments.target import Scope
from mclrec.inference.exporter import export_onnx
from mclrec.inference.model import Model
from mclrec.inference.vector_exporter import export_vectors
from mclrec.locks import LOCK_FILE
from mclrec.report.page import write_report
from mclrec.runs.comparison import compare_runs
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.run import Run
from mclrec.sealed_json import read_sealed, sealed

pytestmark = pytest.mark.attack

LONGEST = 300
UNTIED = "history.jsonl"
"""A file that nothing ties to its run: one from another run with the same settings cannot be told apart."""


@dataclass(frozen=True)
class Runs:
    """A run, the same run with another seed, and the log that both were trained on."""

    log: Path
    run: Path
    other: Path

    def copy(self, place: Path) -> Path:
        """Copy the run to `place`, to be damaged there."""
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.run, place))


Reader = Callable[[Runs, Path], Any]


def _info(runs: Runs, directory: Path) -> Any:
    return Run(directory).info.model_dump()


def _record(runs: Runs, directory: Path) -> Any:
    return Run(directory).record.model_dump()


def _history(runs: Runs, directory: Path) -> Any:
    _ = Run(directory).record  # without the record, the number of epochs is unknown
    return Run(directory).history


def _ranks(runs: Runs, directory: Path) -> Any:
    return [
        [table.users, table.items, table.ranks.tolist(), table.in_history.tolist(), table.about]
        for table in (Run(directory).ranks("test", label) for label in ("U", "F"))
    ]


def _answers(runs: Runs, directory: Path) -> Any:
    model = Model.load(directory)
    answers, card = list(model.recommend(["item 003", "item 004"], 5)), dict(model.info)
    if not (directory / "metrics.json").exists():  # the card of a model that was not measured has no results
        card = _answers(runs, runs.run)[1] | {key: value for key, value in card.items() if value}
    return answers, card


def _evaluated(runs: Runs, directory: Path) -> Any:
    return evaluate_run(directory, seen="drop").metrics


def _compared(runs: Runs, directory: Path) -> Any:
    return [asdict(row) for row in compare_runs([runs.other, directory], metric="hr@5")]


def _exported(runs: Runs, directory: Path) -> Any:
    return (export_vectors(directory) / "vectors.npy").read_bytes()


def _resumed(runs: Runs, directory: Path) -> Any:
    run = start(runs.log, directory, resume=True)
    record = run.record.model_dump(exclude={"seconds", "training_seconds", "ended"})
    for results in record["results"]["test"].values():
        del results["seconds"]
    return record, [(epoch["losses"], epoch["metrics"]) for epoch in run.history]


def _followed(runs: Runs, directory: Path) -> Any:
    out = directory.with_name("next")
    shutil.rmtree(out, ignore_errors=True)
    return start(runs.log, out, warm_start=directory, settings={"epochs": 1}).metrics


def _reported(runs: Runs, directory: Path) -> Any:
    page = write_report([directory], directory.with_name("report.html")).read_text(encoding="utf-8")
    sections = dict(re.findall(r'<h2 id="s\d+">(.*?)</h2>(.*?)(?=<h2|\Z)', page, re.DOTALL))
    assert len(sections) > 5
    found = {title: (text.count("<table"), text.count("<svg")) for title, text in sections.items()}
    # A section that needs more than ranks states why it is missing, which counts as a refusal.
    told = {title for title, text in sections.items() if "<p>None: " in text}
    whole = _reported(runs, runs.run) if told else {}
    return found | {title: whole[title] for title in told}


READERS: dict[Reader, int] = {
    _info: 6,
    _record: 6,
    _history: 6,
    _ranks: 10,
    _answers: 10,
    _evaluated: 4,
    _compared: 4,
    _exported: 4,
    _resumed: 4,
    _followed: 2,
    _reported: 1,
}
"""Relative frequency with which each reader is drawn."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("damaged")
    log = write_log(folder / "small.csv", at_random_times(tiny_data()))
    places = [folder / "run", folder / "other"]
    for seed, place in enumerate(places, start=1):
        start(log, place, seed=seed)
    return Runs(log, *places)


def refused(read: Callable[[], Any]) -> Any:
    """What a reader returns; None if it refuses, with a message of at most two short lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MclrecWarning)
        try:
            return read()
        except MclrecError as error:
            text = str(error)
    assert len(text.splitlines()) <= 2, text
    place = next((word for word in text.split(": ") if "/" in word), "")
    assert len(text) <= LONGEST + len(place) + 2, text
    return None


@pytest.mark.attack(share=4)
def test_a_damaged_run(attack: Attack, runs: Runs, tmp_path: Path) -> None:
    expected: dict[Reader, Any] = {}
    chances = np.array(list(READERS.values())) / sum(READERS.values())
    for rng in attack.inputs():
        reader = list(READERS)[rng.choice(len(READERS), p=chances)]
        if reader not in expected:
            expected[reader] = reader(runs, runs.copy(tmp_path / "run"))
        directory = runs.copy(tmp_path / "run")
        told = [_injured(directory, runs.other, rng) for _ in range(rng.integers(1, 3))]
        found = refused(lambda reader=reader, directory=directory: reader(runs, directory))  # type: ignore[misc]
        assert found is None or found == expected[reader], (reader.__name__, told)


@pytest.mark.attack(share=1)
def test_a_run_of_another_version(attack: Attack, runs: Runs, tmp_path: Path) -> None:
    """JSON with a valid checksum and contents that this version would not write is read or refused."""
    names = ("config.json", "metrics.json", "history.jsonl")
    for rng in attack.inputs():
        directory = runs.copy(tmp_path / "run")
        path = directory / names[rng.integers(len(names))]
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [json.dumps(read_sealed(path))]
        number = rng.integers(len(lines))
        value = json.loads(lines[number])
        value.pop("checksum", None)
        lines[number] = _written(_changed(value, rng))
        path.write_text("".join(f"{line}\n" for line in lines))
        reader = (_info, _record, _history, _ranks, _answers, _evaluated, _compared)[rng.integers(7)]
        refused(lambda reader=reader, directory=directory: reader(runs, directory))  # type: ignore[misc]


def test_a_damaged_export(attack: Attack, runs: Runs, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    whole, other = (export_onnx(run, tmp_path / run.name).directory for run in (runs.run, runs.other))

    def answers(place: Path) -> Any:
        model = Model.load(place)
        return list(model.recommend(["item 003", "item 004"], 5)), model.info

    expected = answers(whole)
    for rng in attack.inputs():
        shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
        place = Path(shutil.copytree(whole, tmp_path / "damaged"))
        told = [_injured(place, other, rng) for _ in range(rng.integers(1, 3))]
        found = refused(lambda place=place: answers(place))  # type: ignore[misc]
        assert found is None or found == expected or found == answers(other), told


def test_damaged_outcomes(attack: Attack, tmp_path: Path) -> None:
    row = Measurement(
        "beauty", "sasrec", None, "U", "HR@5", 0.1, 0.0, 0.2, "users", (1,), ("abc",), "test", None
    )
    outcome = Outcome("table3", [row], [pivot("a table", [row], ["a note"])], 0)
    write_outcome(outcome, Scope(["beauty"]), tmp_path / "table3")
    path = tmp_path / "table3" / "outcome.json"
    whole, expected = path.read_bytes(), load_outcomes(tmp_path)
    for rng in attack.inputs():
        if rng.random() < 0.5:
            path.write_bytes(damaged(whole, rng))
            found = refused(lambda: load_outcomes(tmp_path))
            assert found is None or found == expected
        else:
            value = json.loads(whole)
            del value["checksum"]
            path.write_text(_written(_changed(value, rng)))
            refused(lambda: load_outcomes(tmp_path))


def test_a_damaged_journal(attack: Attack, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from tests.search.conftest import RECIPE, job_for

    from mclrec.search.study import Search
    from mclrec.search.worker import do_trials

    recipe, storage = tmp_path / "space.toml", tmp_path / "one.journal"
    recipe.write_text(RECIPE, encoding="utf-8")
    data = load(write_log(tmp_path / "tiny.csv", tiny_data(shortest=5)), min_count=1)
    job = job_for(storage, data, recipe, 3, epochs=1)
    assert do_trials(job)
    whole = storage.read_bytes()
    for rng in attack.inputs():
        storage.write_bytes(damaged(whole, rng))
        refused(lambda: Search(storage, job.plan).trials())


def _written(value: Any) -> str:
    return json.dumps(sealed(value) if isinstance(value, dict) else value)


def _injured(directory: Path, other: Path, rng: np.random.Generator) -> str:
    """Damage one file of a run and return a description of the damage."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    name = str(path.relative_to(directory))
    kind = rng.choice(["damaged", "gone", "empty", "mixed up", "another", "a folder", "a lock"], p=_KINDS)
    if kind == "mixed up" and name == UNTIED:
        kind = "gone"
    if kind == "damaged":
        path.write_bytes(damaged(path.read_bytes(), rng))
    elif kind == "gone":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "mixed up" and (other / name).exists():
        shutil.copy(other / name, path)
    elif kind == "another":
        shutil.copy(files[rng.integers(len(files))], directory / "copied")
        (directory / "copied").replace(path)
    elif kind == "a folder":
        path.unlink()
        path.mkdir()
    elif kind == "a lock":
        (directory / LOCK_FILE).write_bytes(damaged(b'{"pid": 1, "host": "here"}', rng))
    return f"{name} {kind}"


_KINDS = [0.6, 0.08, 0.05, 0.12, 0.05, 0.05, 0.05]
_VALUES: tuple[Any, ...] = (
    None,
    "",
    "x" * 500,
    0,
    -1,
    1e308,
    10**400,
    True,
    [],
    {},
    [[]],
    {"a": {"b": 1}},
    "\x1b[31m",
)


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one key or member removed, added or replaced by another type, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        if isinstance(value[key], dict | list) and rng.random() < 0.6:
            return {**value, key: _changed(value[key], rng)}
        choice = rng.integers(3)
        if choice == 0:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, (key if choice == 1 else "more"): _VALUES[rng.integers(len(_VALUES))]}
    if isinstance(value, list) and value:
        place = int(rng.integers(len(value)))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    return _VALUES[rng.integers(len(_VALUES))]
