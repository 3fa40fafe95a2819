"""Benchmark rows with mocked child processes: their requests, and the outcomes that they make of the answers."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ours import thread_steps
from benchmarks.outcome import write_result
from benchmarks.peers.log_lists import read_histories
from benchmarks.peers.stop_watch import Enough, StopWatch
from benchmarks.peers.training_part import training_part, training_prefixes
from benchmarks.processes import BenchmarkError, Child, Measurement, Place
from benchmarks.rows import ROWS
from benchmarks.rows.epochs import PREFIX_SIDES, measure_prefixes
from benchmarks.rows.evaluation import measure_evaluation
from benchmarks.rows.sequence_epochs import SEQUENCE_SIDES, measure_sequences
from benchmarks.rows.threads import measure_threads
from benchmarks.session import Session
from benchmarks.thread_table import thread_table


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.session.peer_python", lambda name, console: Path(name))


def _seconds(child: Child) -> float:
    """Seconds per batch: Transformers4Rec is the fastest peer in fp32, RecTools' flat network the fastest in bf16."""
    request = child.request
    if child.module.startswith("benchmarks.ours"):
        return 1.0 if request["settings"]["precision"] == "fp32" else 0.5
    return {"transformers4rec_training": 3.0, "rectools_flat_training": 4.0}.get(
        child.module.rpartition(".")[2], 9.0
    ) / (2.0 if request.get("precision") == "bf16" else 1.0)


def _answer_training(child: Child, **_: Any) -> Measurement:
    if "export" in child.module:
        return Measurement({}, 1.0, 1.0, 1)
    document = {
        "work": {"batch": 128},
        "threads": 1,
        "classes": 100,
        "first_loss": math.log(100),
        "batch_seconds": [_seconds(child)] * 3,
        "batches_per_epoch": 10,
    }
    return Measurement(document, 1.0, 1.0, 1)


def test_sequences_are_compared_with_the_fastest_peer(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.session.run_child", _answer_training)
    outcome = measure_sequences(session)
    assert tuple(outcome.sides) == SEQUENCE_SIDES == ROWS["epoch-sequences"].sides
    first, second, *others = [finding.what for finding in outcome.findings]
    assert first == "epoch, fastest peer: Transformers4Rec 23.12 GPT-2, fp32 / SASRec, fp32"
    assert (
        second
        == "epoch, fastest peer: RecTools 0.19 FlatSASRecNet, loss at targets alone, bf16 / SASRec, bf16"
    )
    assert [finding.value for finding in outcome.findings[:2]] == [3.0, 4.0]
    assert len(others) == 6  # the other peers in our precision, and for bf16 the one with a target


def test_prefixes_are_compared_with_the_fastest_peer_and_recbole(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.session.run_child", _answer_training)
    outcome = measure_prefixes(session)
    assert tuple(outcome.sides) == PREFIX_SIDES == ROWS["epoch-prefixes"].sides
    first, *_ = outcome.findings
    assert first.what == "epoch, fastest peer: MCLRec, fp32 / Transformers4Rec 23.12 GPT-2, fp32"
    assert (round(first.value, 3), first.sense, first.target) == (0.333, "at most", None)
    targets = {finding.what: finding.target for finding in outcome.findings if finding.target}
    assert targets["epoch: MCLRec, fp32 / RecBole 1.2.1 SASRec, fp32"] == 0.25
    assert targets["epoch: RecBole 1.2.1 SASRec, fp32 / SASRec, bf16"] == 15


def test_a_peer_that_does_other_work_is_no_peer(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(child: Child, **_: Any) -> Measurement:
        run = _answer_training(child)
        if "transformers4rec" in child.module:
            run.document["work"]["batch"] = 64
        return run

    monkeypatch.setattr("benchmarks.session.run_child", answer)
    with pytest.raises(BenchmarkError, match="did not do the same work"):
        measure_sequences(session)


def test_the_first_pass_of_an_evaluation_does_not_count(
    session: Session, monkeypatch: pytest.MonkeyPatch, started: list[Child]
) -> None:
    asked: list[int] = []

    def turns(children: dict[str, Child], passes: int, place: Place) -> dict[str, Measurement]:
        asked.append(passes)
        seconds = {"ours, fp32": 1.0, "RecBole 1.2.1, batches of 256, fp32": 5.0}
        return {
            side: Measurement(
                {
                    "work": {"users": 100},
                    "threads": 1,
                    "pass_seconds": [99.0] + [seconds.get(side, 8.0)] * (passes - 1),
                },
                1.0,
                1.0,
                1,
            )
            for side in children
        }

    monkeypatch.setattr("benchmarks.session.run_in_turns", turns)
    outcome = measure_evaluation(replace(session, budget=replace(session.budget, passes=4)))
    assert asked == [5]
    [found] = outcome.findings
    assert found.what.endswith("ours, fp32 / RecBole 1.2.1, batches of 256, fp32")
    assert (found.value, found.met) == (5.0, False)
    assert outcome.sides["ours, fp32"].values == (100.0,) * 4
    assert [child.module for child in started] == ["benchmarks.ours.export"]


def test_threads_on_a_free_and_on_a_busy_machine(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []

    @contextmanager
    def busy(cores: tuple[int, ...]) -> Any:
        loads.append(len(cores))
        yield

    def run(child: Child, **_: Any) -> Measurement:
        assert child.environment["KMP_BLOCKTIME"] in {"0", "1"}
        assert child.environment["OMP_NUM_THREADS"] == "2"
        slow = 3.0 if loads[-1] else 0.5  # seconds per step with two threads
        document = {"step_seconds": {"1": [1.0, 1.1, 0.9], "2": [slow] * 3}, "chosen": [2, 2, 1]}
        return Measurement(document, 1.0, 1.0, 1)

    monkeypatch.setattr("benchmarks.rows.threads.busy", busy)
    monkeypatch.setattr("benchmarks.session.run_child", run)
    outcome = measure_threads(replace(session, threads=2, cores=(0, 1)))
    assert loads == [0, 1, 2] * 4
    free, one_busy = outcome.findings[:2]
    assert free.what == "a step, SASRec, batch 16, free: the number of threads that the rule takes / the best"
    assert (free.value, free.met, free.ours) == (1.0, True, "500 ms by 2 threads")
    assert (one_busy.value, one_busy.met, one_busy.theirs) == (3.0, False, "1,000 ms by 1 thread")
    monkeypatch.setattr("benchmarks.outcome.FULL_FOLDER", tmp_path)
    written = json.loads(
        write_result("threads", "t", outcome, session, quick=False).read_text(encoding="utf-8")
    )
    text = thread_table(written)
    assert "| a step of | 1 thread | 2 threads | the rule takes | its choice / the best |" in text
    cell = "| SASRec, batch 16, one core busy | 1,000 ms (900 to 1,100) | 3,000 ms (3,000 to 3,000) "
    assert f"{cell}| 2 threads, 2 of 3 times | 3x |" in text
    assert thread_table(None).startswith("Not measured yet")
    with pytest.raises(BenchmarkError, match="nothing to choose"):
        measure_threads(session)


def test_steps_are_timed_by_each_number_of_threads() -> None:
    document = thread_steps.measure(
        {
            "data": {"users": 40, "items": 30, "length": 5},
            "model": "sasrec",
            "recipe": "default",
            "settings": {"precision": "fp32", "batch_size": 16, "hidden_size": 8, "inner_size": 16},
            "seed": 1,
            "counts": [1],
            "rounds": 2,
            "steps": 2,
            "choices": 1,
        }
    )
    assert len(document["step_seconds"]["1"]) == 2
    assert min(document["step_seconds"]["1"]) > 0
    assert document["chosen"][0] >= 1


@pytest.mark.parametrize("newest", [1, 3, 50])
def test_peers_train_on_the_newest_items(tmp_path: Path, newest: int) -> None:
    rng = np.random.default_rng(newest)
    path = tmp_path / "rows.inter"
    histories = [rng.choice(90, size=size, replace=False) + 1 for size in rng.integers(4, 9, size=20)]
    rows = [
        (user, item, place) for user, items in enumerate(histories, 1) for place, item in enumerate(items)
    ]
    path.write_text("a\tb\tc\n" + "\n".join("\t".join(map(str, row)) for row in rows), encoding="utf-8")
    found, whole = training_part(path, newest), read_histories(path)
    kept = [items[:-2][-newest:] for items in histories]
    known = sorted({item for items in kept for item in items.tolist()})
    assert whole.users == found.users == 20
    assert np.diff(found.offsets).tolist() == [len(items) for items in kept]
    assert [known[item - 1] for item in found.items.tolist()] == np.concatenate(kept).tolist()
    assert found.num_items == len(known)
    prefixes = training_prefixes(path, newest)
    expected = [items[: place + 1][-newest:] for items in histories for place in range(1, len(items) - 2)]
    assert np.split(prefixes.items, prefixes.offsets[1:-1]) == [pytest.approx(items) for items in expected]


def test_a_stop_watch_counts_batches_after_the_warm_up() -> None:
    watch = StopWatch(warmup=2, batches=3)
    for loss in (7.0, 6.0, 5.0, 4.0):
        watch.batch_ended(loss)
    with pytest.raises(Enough):
        watch.batch_ended(3.0)
    said = watch.timings(9)
    assert (said["first_loss"], len(said["batch_seconds"]), said["batches_per_epoch"]) == (7.0, 3, 9)
