import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.cli.commands.reproduce import _timed
from mclrec.errors import MclrecWarning
from mclrec.experiments import planned_runs
from mclrec.experiments.campaign import Progress, distinct, run_campaign, state_of
from mclrec.experiments.planned_runs import ERROR_FILE, PlannedRun, RunStore, do_runs
from mclrec.experiments.results_table import Measurement, PlannedRow, measure
from mclrec.locks import Lock
from mclrec.runs import training_run
from mclrec.runs.request import TrainRequest
from mclrec.runs.run_directory import run_lock

SMALL = {"epochs": 2, "hidden_size": 8, "batch_size": 16}


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(write_log(tmp_path / "tiny.csv", tiny_data(shortest=5)))


def test_a_run_is_done_once(log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "sasrec", settings=SMALL)
    assert do_runs(store, [planned, planned])
    assert state_of(store, planned).state == "done"
    monkeypatch.setattr(planned_runs, "train", lambda *_, **__: pytest.fail("was done already"))
    assert do_runs(RunStore(tmp_path / "cells"), [planned])


def test_a_run_that_another_worker_holds_is_left_to_it(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "popularity")
    waited = []
    lock = run_lock(store.directory(planned)).acquire()

    def let_go(_: float) -> None:
        waited.append(store.is_complete(planned))
        lock.release()

    monkeypatch.setattr("time.sleep", let_go)
    assert do_runs(store, [planned])
    assert waited == [False]
    assert store.is_complete(planned)


def test_after_an_interruption_no_other_run_begins(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def interrupted(store: RunStore, planned: PlannedRun, directory: Path, lock: Lock) -> bool:
        begun.append(planned.seed)
        return False

    monkeypatch.setattr(planned_runs, "_train", interrupted)
    assert not do_runs(
        RunStore(tmp_path / "cells"), [PlannedRun(log, "markov", seed=seed) for seed in (1, 2)]
    )
    assert begun == [1]


def test_a_failed_run_is_reported_and_the_others_continue(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path / "cells")
    good, bad = PlannedRun(log, "markov"), PlannedRun(log, "popularity")
    train = training_run.train

    def fail_for_popularity(request: TrainRequest, lock: Lock) -> object:
        if request.model == "popularity":
            raise ZeroDivisionError("on purpose")
        return train(request, lock=lock)

    monkeypatch.setattr(planned_runs, "train", fail_for_popularity)
    assert do_runs(store, [bad, good])
    assert [state_of(store, planned).state for planned in (bad, good)] == ["failed", "done"]
    assert "on purpose" in state_of(store, bad).problem


def test_a_run_that_fails_while_another_worker_looks_is_not_tried_again(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = iter([None, "on purpose"])
    monkeypatch.setattr(planned_runs, "failure_of", lambda _: next(reasons))
    monkeypatch.setattr(planned_runs, "train", lambda *_, **__: pytest.fail("has failed already"))
    assert do_runs(RunStore(tmp_path / "cells"), [PlannedRun(log, "popularity")])


def test_a_campaign_tries_failed_runs_again(log: str, tmp_path: Path) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "popularity")
    store.directory(planned).mkdir(parents=True)
    (store.directory(planned) / ERROR_FILE).write_text("no space left")
    assert run_campaign(store, [planned]).complete


def test_a_dry_run_counts_a_failed_run_as_open(log: str, tmp_path: Path) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "sasrec", settings=SMALL)
    store.directory(planned).mkdir(parents=True)
    (store.directory(planned) / ERROR_FILE).write_text("no space left")
    [(_, state, seconds)] = _timed([planned], store)
    assert state == "open"
    assert seconds > 0


@pytest.mark.slow
def test_a_run_that_always_kills_its_process_fails(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "popularity")

    def dying(*_: object) -> bool:  # SIGKILL runs no `finally` either
        attempts.append(file.read_bytes())
        raise SystemExit

    attempts: list[bytes] = []
    file = planned_runs._attempts_file(store.directory(planned))
    with monkeypatch.context() as patch:
        patch.setattr(planned_runs, "_train", dying)
        for number in range(3):
            with pytest.raises(SystemExit):
                do_runs(store, [planned])
            file.write_bytes(attempts[number])
    assert do_runs(store, [planned])
    assert "its process died 3 times; check its memory use" in state_of(store, planned).problem
    assert run_campaign(store, [planned]).complete


def test_a_run_whose_record_is_damaged_is_done_again(log: str, tmp_path: Path) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "sasrec", settings=SMALL)
    assert do_runs(store, [planned])
    before = store.run(planned).metrics
    for name in ("metrics.json", "history.jsonl"):
        (store.directory(planned) / name).write_bytes(b"\xff")
    assert state_of(store, planned).state == "open"
    with pytest.warns(MclrecWarning, match="its record cannot be read, and the run is repeated"):
        assert do_runs(store, [planned])
    assert store.run(planned).metrics == before


def test_an_empty_reason_is_a_reason(log: str, tmp_path: Path) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "popularity")
    store.directory(planned).mkdir(parents=True)
    (store.directory(planned) / ERROR_FILE).touch()
    assert state_of(store, planned).problem == "no reason was kept"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")
def test_a_killed_worker_is_replaced(log: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "cells")
    planned = [
        PlannedRun(log, "sasrec", settings={**SMALL, "epochs": 6, "patience": 9}, seed=seed)
        for seed in (1, 2)
    ]
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.count("running"):
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            for child in map(int, children):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    killed.append(child)
                    os.kill(child, signal.SIGKILL)

    assert run_campaign(store, planned, workers=1, show=kill_once).complete
    assert len(killed) == 1
    assert not list(store.folder.glob(".*"))


def test_the_end_of_the_budget_keeps_finished_runs(log: str, tmp_path: Path) -> None:
    store, planned = (
        RunStore(tmp_path / "cells"),
        PlannedRun(log, "sasrec", settings={**SMALL, "epochs": 5000}),
    )
    seen: list[Progress] = []
    progress = run_campaign(store, [planned], minutes=0.5 / 60, show=seen.append)
    assert not progress.complete
    assert progress.count("failed") == 0
    assert seen


def _wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _reproduce(log: str, out: Path, epochs: int) -> subprocess.Popen[str]:
    words = [
        "reproduce",
        "table3",
        "--datasets",
        log,
        "--models",
        "sasrec",
        "--seeds",
        "2",
        "--out",
        str(out),
    ]
    words += [
        "--set",
        f"epochs={epochs}",
        "--set",
        "batch_size=16",
        "--set",
        "patience=99",
        "--set",
        "hidden_size=8",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "mclrec", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_a_killed_campaign_resumes(log: str, tmp_path: Path) -> None:
    out, epochs = tmp_path / "out", 15
    first = _reproduce(log, out, epochs)
    _wait(lambda: any((out / "cells").glob("*/checkpoint/state.safetensors")))
    begun = next((out / "cells").glob("*/history.jsonl"), None)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = _reproduce(log, out, epochs)
    text, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert "sasrec" in text
    runs = sorted((out / "cells").glob("*/metrics.json"))
    assert [json.loads(run.read_text())["status"] for run in runs] == ["finished", "finished"]
    assert begun is None or begun.parent.joinpath("metrics.json").exists()


@pytest.mark.slow
def test_two_campaigns_at_once_share_the_runs(log: str, tmp_path: Path) -> None:
    both = [_reproduce(log, tmp_path / "out", 3) for _ in range(2)]
    texts = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert texts[0][0] == texts[1][0]


def test_noise_is_measured_without_training_again(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, planned = RunStore(tmp_path / "cells"), PlannedRun(log, "recency")
    noisy = replace(planned, noise=(0.5,))
    assert do_runs(store, [planned])
    assert not store.is_complete(noisy)
    monkeypatch.setattr(planned_runs, "train", lambda *_, **__: pytest.fail("was done already"))
    assert do_runs(store, [noisy])
    assert store.is_complete(noisy)
    plain, disturbed = (store.run(planned).ranks(part, "U") for part in ("test", "test-noise-0.5"))
    assert plain.same_targets(disturbed)
    assert (disturbed.history_lengths >= plain.history_lengths).all()
    assert (disturbed.ranks != plain.ranks).any()
    assert distinct(store, [planned, noisy]) == [noisy]


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
@pytest.mark.parametrize(
    "name",
    [
        "ranks-test-U.parquet",
        "ranks-test-noise-0.5-F.parquet",
        "metrics.json",
        "model.safetensors",
        "items.parquet",
        "config.json",
    ],
)
def test_what_is_damaged_is_made_again(
    name: str, damage: str, log: str, tmp_path: Path, worn: tuple[Path, list[Measurement]]
) -> None:
    shutil.copytree(worn[0], tmp_path / "cells")
    store, planned = RunStore(tmp_path / "cells"), _needing_all(log)
    path = store.directory(planned) / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\xff" * len(whole))
    assert state_of(store, planned).state == "open"
    assert measure(store, _rows_of(planned)) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MclrecWarning)
        assert do_runs(store, [planned])
    assert state_of(store, planned).state == "done", state_of(store, planned).problem
    assert measure(store, _rows_of(planned)) == worn[1]


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Measurement]]:
    """The store of a finished run that was also evaluated with noise, and its measurements."""
    folder = tmp_path_factory.mktemp("worn")
    planned = _needing_all(str(write_log(folder / "tiny.csv", tiny_data(shortest=5))))
    store = RunStore(folder / "cells")
    assert do_runs(store, [planned])
    return store.folder, measure(store, _rows_of(planned))


def _needing_all(log: str) -> PlannedRun:
    return PlannedRun(log, "sasrec", settings=SMALL, noise=(0.5,), views=True)


def _rows_of(planned: PlannedRun) -> list[PlannedRow]:
    return [PlannedRow("tiny", part, [planned], part=part) for part in ("test", "test-noise-0.5")]


@pytest.mark.parametrize("name", ["state.safetensors", "best-*.safetensors"])
def test_a_damaged_checkpoint_is_discarded(
    name: str, log: str, tmp_path: Path, worn: tuple[Path, list[Measurement]]
) -> None:
    shutil.copytree(worn[0], tmp_path / "cells")
    store, planned = RunStore(tmp_path / "cells"), _needing_all(log)
    (store.directory(planned) / "metrics.json").unlink()
    [path] = (store.directory(planned) / "checkpoint").glob(name)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(MclrecWarning, match="its checkpoint is discarded and the run is trained from scratch"):
        assert do_runs(store, [planned])
    assert measure(store, _rows_of(planned)) == worn[1]


def test_a_damaged_model_is_told(log: str, tmp_path: Path, worn: tuple[Path, list[Measurement]]) -> None:
    shutil.copytree(worn[0], tmp_path / "cells")
    store, planned = RunStore(tmp_path / "cells"), _needing_all(log)
    path = store.directory(planned) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(MclrecWarning, match="its model cannot be read, and the run is repeated"):
        assert do_runs(store, [planned])
