"""The files of a run: read into frozen types, and a one-line error for a damaged file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.helpers import edit_sealed
from tests.runs.conftest import start

import mclrec
from mclrec.errors import ConfigError, ModelFileError
from mclrec.json_files import write_json
from mclrec.models.directory import weights_checksum
from mclrec.runs.run import Run, open_run
from mclrec.sealed_json import read_sealed, sealed


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of a run that tests may damage."""
    shutil.copytree(trained.directory, tmp_path / "run")
    return Run(tmp_path / "run")


def test_what_a_run_says_cannot_be_changed(trained: Run) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        trained.info.seed = 2
    with pytest.raises(ValidationError, match="frozen"):
        trained.record.status = "interrupted"
    assert trained.record.finished
    assert trained.record.test["U"].protocol.label == "U"


def test_the_files_hold_what_the_types_say(trained: Run) -> None:
    config = json.loads((trained.directory / "config.json").read_text())
    weights = weights_checksum(trained.directory / "model.safetensors")
    assert config == sealed({**trained.info.model_dump(mode="json"), "weights": weights})
    metrics = json.loads((trained.directory / "metrics.json").read_text())
    assert metrics == sealed(trained.record.model_dump(mode="json"))


def keys_of(value: dict[str, Any], open_tables: set[str]) -> list[tuple[str, ...]]:
    """Paths of all keys, without the keys inside open tables."""
    paths: list[tuple[str, ...]] = []
    for key, inner in value.items():
        paths.append((key,))
        if isinstance(inner, dict) and key not in open_tables:
            paths += [(key, *path) for path in keys_of(inner, open_tables)]
    return paths


def test_no_key_may_be_missing(run: Run) -> None:
    """A default never replaces a lost key. Keys inside ``reading`` are exempt: only the given options are written."""
    path = run.directory / "config.json"
    whole = read_sealed(path)
    for keys in keys_of(whole, {"config", "training", "versions", "reading"}):
        damaged = json.loads(json.dumps(whole))
        table = damaged
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]
        write_json(path, sealed(damaged))
        with pytest.raises(ModelFileError) as caught:
            _ = run.info
        assert str(path) in str(caught.value)
        assert keys[-1] in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("epochs"), r"metrics\.json: epochs is missing"),
        (
            lambda record: record.update(status="lost"),
            r"metrics\.json: status = 'lost': should be 'finished'",
        ),
        (lambda record: record.update(speed=3), r"metrics\.json: unknown key 'speed'"),
        (lambda record: record.update(seconds="long"), r"metrics\.json: seconds = 'long': should be a valid"),
        (
            lambda record: record["results"]["test"]["U"].pop("metrics"),
            r"metrics\.json: results\.test\.U\.metrics is missing",
        ),
    ],
)
def test_a_damaged_record_is_told(run: Run, change: Callable[[Any], object], message: str) -> None:
    edit_sealed(run.directory / "metrics.json", change)
    with pytest.raises(ModelFileError, match=message):
        _ = run.metrics


def test_a_run_is_opened_by_text_too(run: Run) -> None:
    assert Run(str(run.directory)) == Run(run) == run
    assert Run(str(run.directory)).record == run.record
    for wrong in (None, 3, b"run", " ", "a\0b"):
        with pytest.raises(ConfigError, match=r"^directory = "):
            Run(wrong)  # type: ignore[arg-type]


def test_what_is_no_table_is_told(run: Run) -> None:
    (run.directory / "metrics.json").write_text("[]")
    with pytest.raises(ModelFileError, match=r"metrics\.json: "):
        _ = run.record
    (run.directory / "metrics.json").unlink()
    with pytest.raises(ModelFileError, match=r"metrics\.json: no such file"):
        _ = run.record


def test_another_file_of_the_run_is_no_record(run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.directory, tmp_path / "copy"))
    shutil.copy(copy / "config.json", copy / "metrics.json")
    for read in (mclrec.Model.load, lambda place: Run(place).record):
        with pytest.raises(ModelFileError, match=r"metrics\.json: is not the record of a training"):
            read(copy)


def test_numbers_are_of_the_weights_beside_them(run: Run, log: Path, tmp_path: Path) -> None:
    other = start(log, tmp_path / "other", seed=2)
    shutil.copy(other.directory / "model.safetensors", run.directory)
    with pytest.raises(
        ModelFileError, match=r"metrics\.json: was made from different weights than model\.safetensors"
    ):
        _ = run.metrics
    with pytest.raises(ModelFileError, match=r"ranks-test-F\.parquet: was made from different weights"):
        run.ranks(label="F")
    with pytest.raises(ModelFileError, match=r"config\.json: was made from different weights"):
        _ = run.model


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"phase": "train", "ep', r"history\.jsonl:3:1: not valid JSON"),
        ("[" * 5000, r"history\.jsonl:3: not valid JSON: nested too deeply"),
        ("[]", r"history\.jsonl:3: holds list where"),
        ('{"phase": "train", "epoch": 3}', r"history\.jsonl:3: damaged or edited"),
        (
            json.dumps(sealed({"phase": "train", "epoch": "x"})),
            r"history\.jsonl:3: .* is missing|epoch = 'x'",
        ),
    ],
)
def test_a_damaged_history_is_told(run: Run, line: str, message: str) -> None:
    with (run.directory / "history.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ModelFileError, match=message):
        _ = run.history


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([0], r"has 1 epoch, and metrics\.json says 2"),
        ([], "has 0 epochs"),
        ([1, 0], "epoch 1 follows epoch 2: lines"),
    ],
)
def test_a_history_that_lost_lines_is_told(run: Run, kept: list[int], message: str) -> None:
    path = run.directory / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[place] for place in kept))
    with pytest.raises(ModelFileError, match=message):
        _ = run.history
    path.unlink()
    with pytest.raises(ModelFileError, match="has 0 epochs"):
        _ = run.history


def test_an_edited_number_is_told(run: Run) -> None:
    for name in ("metrics.json", "history.jsonl", "config.json"):
        path = run.directory / name
        whole = path.read_text()
        path.write_text(whole.replace("0.", "0.9", 1))
        with pytest.raises(ModelFileError, match=f"{name}.* damaged or edited: its checksum differs"):
            _ = run.info, run.metrics, run.history
        path.write_text(whole)


def test_a_run_is_taken_wherever_a_path_is(trained: Run) -> None:
    assert Path(trained) == trained.directory
    for given in (trained, trained.directory, str(trained.directory)):
        assert open_run(given) == trained


@pytest.mark.parametrize("given", [None, 3, ["run"], b"run", ""])
def test_what_is_no_run_is_told(given: object) -> None:
    with pytest.raises(ConfigError, match="expected a run or the directory of one, not"):
        open_run(given)
