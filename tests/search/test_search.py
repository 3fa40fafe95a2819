"""The journal: trials are drawn by their number, run once, resumed, and never use the test items."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from tests.search.conftest import job_for

from mclrec.data.sequences import SequenceData
from mclrec.data.split import make_split
from mclrec.errors import ConfigError, OutputError, TrainingError
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.storage import load_model
from mclrec.recipes import write_recipe
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.run_directory import run_lock
from mclrec.runs.training_run import train
from mclrec.search import study as journal
from mclrec.search import tuning, worker
from mclrec.search.study import Search
from mclrec.search.worker import Job, do_trials


def trials(job: Job) -> list[optuna.trial.FrozenTrial]:
    return Search(job.storage, job.plan).trials()


def essence(job: Job) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.state, trial.value, trial.intermediate_values) for trial in trials(job)]


def test_the_first_trial_is_the_recipe(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 2)
    assert do_trials(job)
    first, second = trials(job)
    assert first.params == {"dropout": 0.5, "learning_rate": 1e-3, "batch_size": 256}
    assert second.params != first.params
    for trial in (first, second):
        run = Run(Search(job.storage, job.plan).directory(trial.number))
        assert trial.value == run.record.best_validation == max(trial.intermediate_values.values())
        assert run.info.training["learning_rate"] == trial.params["learning_rate"]
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert not (run.directory / "checkpoint").exists()


def test_what_only_counts_is_compared_by_its_one_validation(tmp_path: Path, data: SequenceData) -> None:
    job = job_for(tmp_path / "one.journal", data, "default", 4, "itemknn")
    assert do_trials(job)
    first, *others = trials(job)
    assert first.params == {"neighbours": 100, "shrink": 0.0, "max_length": 100_000}
    assert {trial.state for trial in others} == {TrialState.COMPLETE}
    split = make_split(data, "leave-one-out")
    for trial in trials(job):
        run = Run(Search(job.storage, job.plan).directory(trial.number))
        ranks = rank_targets(load_model(run.directory).model, split.validation, seen="drop")
        assert trial.value == run.record.best_validation == parse_metric("ndcg@10").mean(ranks)
    write_recipe(tmp_path / "best.toml", job.plan.recipe_with(first.params), "a search")
    again = train(TrainRequest(data, "itemknn", tmp_path / "best.toml", out=tmp_path / "again"))
    assert again.record.best_validation == first.value


@pytest.mark.slow
def test_a_continued_search_equals_one_without_a_stop(
    tmp_path: Path, data: SequenceData, recipe: Path
) -> None:
    whole = job_for(tmp_path / "whole.journal", data, recipe, 8)
    parts = job_for(tmp_path / "parts.journal", data, recipe, 3)
    assert do_trials(whole)
    assert do_trials(parts)
    assert len(trials(parts)) == 3
    assert do_trials(replace(parts, trials=8))
    assert essence(whole) == essence(replace(parts, trials=8))
    assert len({str(trial.params) for trial in trials(whole)}) == 8


def test_nothing_depends_on_the_test_items(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    """Two logs that differ only in every user's last item, which is held out for the test, give the same search."""
    items = data.items.copy()
    last = data.offsets[1:] - 1
    items[last] = items[last] % data.num_items + 1
    other = replace(data, items=items)
    jobs = [
        job_for(tmp_path / f"{number}.journal", one, recipe, 6) for number, one in enumerate((data, other))
    ]
    assert all(do_trials(job) for job in jobs)
    assert other.fingerprint != data.fingerprint
    assert essence(jobs[0]) == essence(jobs[1])
    for job in jobs:
        runs = [Run(Search(job.storage, job.plan).directory(number)) for number in range(6)]
        assert all(run.record.results == {} for run in runs if (run.directory / "metrics.json").exists())
        assert not list(job.storage.parent.rglob("ranks-*"))
    # This check can fail: the same change to the validation items moves the values.
    items = data.items.copy()
    items[last - 1] = items[last - 1] % data.num_items + 1
    moved = job_for(tmp_path / "moved.journal", replace(data, items=items), recipe, 1)
    assert do_trials(moved)
    assert essence(moved)[0] != essence(jobs[0])[0]


def test_hopeless_trials_are_pruned(
    tmp_path: Path, data: SequenceData, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_STARTUP", 1)
    monkeypatch.setattr(journal, "_OTHERS", 1)
    job = job_for(tmp_path / "one.journal", data, recipe, 8, epochs=8)
    assert do_trials(job)
    states = [trial.state for trial in trials(job)]
    assert states[0] == TrialState.COMPLETE
    assert TrialState.PRUNED in states
    for trial in trials(job):
        epochs = len(trial.intermediate_values)
        assert epochs == 8 if trial.state == TrialState.COMPLETE else 4 <= epochs <= 8


def test_settings_that_cannot_be_trained_fail_and_the_search_continues(
    tmp_path: Path, data: SequenceData, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 3)

    def failing(request: Any, reporter: Any, lock: Any) -> Run:
        if request.out.name == "0001":
            raise TrainingError("the loss is not finite")
        return train(request, reporter, lock)

    monkeypatch.setattr(worker, "train", failing)
    assert do_trials(job)
    assert [trial.state.name for trial in trials(job)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials(job)[1].user_attrs["problem"] == "the loss is not finite"


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "not enough memory"),
        (ZeroDivisionError("a fault"), "a bug in mclrec, ZeroDivisionError"),
    ],
)
def test_an_exception_that_is_not_ours_fails_its_trial_alone(
    problem: Exception,
    reason: str,
    tmp_path: Path,
    data: SequenceData,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 3)

    def failing(request: Any, reporter: Any, lock: Any) -> Run:
        if request.out.name == "0001":
            raise problem
        return train(request, reporter, lock)

    monkeypatch.setattr(worker, "train", failing)
    assert do_trials(job)
    assert [trial.state.name for trial in trials(job)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert reason in trials(job)[1].user_attrs["problem"]


@pytest.mark.parametrize("problem", [OutputError("no room left on the disk"), KeyboardInterrupt()])
def test_what_is_not_the_trials_fault_leaves_it_open(
    problem: BaseException,
    tmp_path: Path,
    data: SequenceData,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)

    def failing(*_: object) -> Run:
        raise problem

    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(worker, "train", failing)
            with pytest.raises(type(problem)):
                do_trials(job)
    assert do_trials(job)
    assert [trial.state.name for trial in trials(job)] == ["COMPLETE"]


def test_the_recipe_is_tried_even_if_the_search_ended_before_it_was_stored(
    tmp_path: Path, data: SequenceData, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Search(job.storage, job.plan)
    assert [trial.state.name for trial in trials(job)] == ["WAITING"]
    assert len(trials(job)) == 1


def test_half_a_line_of_the_journal_is_not_added_to(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    Search(job.storage, job.plan)
    with job.storage.open("ab") as file:
        file.write(b'{"op_code":6,"worker_id":"half')
    assert do_trials(job)
    assert [trial.state.name for trial in trials(job)] == ["COMPLETE"]


def test_a_trial_that_always_kills_its_process_fails(
    tmp_path: Path, data: SequenceData, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)

    def dying(*_: object) -> Run:
        raise SystemExit

    monkeypatch.setattr(worker, "train", dying)
    for _ in range(3):
        with pytest.raises(SystemExit):
            do_trials(job)
        assert [trial.state.name for trial in trials(job)] == ["RUNNING"]
    assert do_trials(job)
    [trial] = trials(job)
    assert trial.state.name == "FAIL"
    assert "its process died 3 times" in trial.user_attrs["problem"]


def test_a_claimed_trial_is_left_to_its_worker(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 2)
    one, two = Search(job.storage, job.plan), Search(job.storage, job.plan)
    first, second = one.claim(2), two.claim(2)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert one.claim(2) is None
    assert not one.over(2)
    one.report(first, 1, 0.5)
    one.leave(first)
    again = two.claim(2)
    assert again is not None
    assert (again.number, again.settings, again.reported) == (0, first.settings, {1})
    two.finish(again, 0.5)
    two.finish(second, 0.25)
    assert one.over(2)


def test_a_trial_that_ends_while_another_worker_looks_is_not_claimed(
    tmp_path: Path, data: SequenceData, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    one, two = Search(job.storage, job.plan), Search(job.storage, job.plan)
    first, before = one.claim(1), two.trials()
    assert first is not None
    one.finish(first, 0.5)
    now = two.trials
    stale = iter([before])
    monkeypatch.setattr(Search, "trials", lambda _: next(stale, None) or now())
    assert two.claim(1) is None
    assert two.over(1)
    with run_lock(first.directory).acquire(0):
        pass


def test_of_two_calls_at_once_one_prepares_the_data(
    tmp_path: Path, data: SequenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = SequenceData.save, []

    def slow(self: SequenceData, directory: Path) -> None:
        saved.append(directory)
        time.sleep(0.7)  # more than the patience with a lock
        save(self, directory)

    monkeypatch.setattr(SequenceData, "save", slow)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(tuning._prepared, data, tmp_path / "data") for _ in range(2)]
    assert [call.result() for call in calls] == [tmp_path / "data"] * 2 == saved * 2


def test_a_search_of_an_earlier_version_goes_on(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    Search(job.storage, job.plan)
    text = job.storage.read_text(encoding="utf-8")
    older = text.replace('"setting graphs":false,', "")
    assert older != text
    job.storage.write_text(older, encoding="utf-8")
    Search(job.storage, job.plan)


def test_another_search_is_refused(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    Search(job.storage, job.plan)
    with pytest.raises(
        ConfigError, match=r"one.journal: belongs to a search with another seed: 1 there, but 2 here"
    ):
        Search(job.storage, replace(job.plan, seed=2))
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("high = 0.6", "high = 0.7"), encoding="utf-8")
    with pytest.raises(ConfigError, match="another space of dropout"):
        Search(job.storage, job.plan)
    recipe.write_text(text, encoding="utf-8")
    with job.storage.open("a", encoding="utf-8") as file:
        file.write("half a li\nand more\n")
    with pytest.raises(ConfigError, match=r"one.journal: damaged, or not the journal of a search"):
        Search(job.storage, job.plan)


def test_the_journal_is_lines_of_json(tmp_path: Path, data: SequenceData, recipe: Path) -> None:
    job = job_for(tmp_path / "one.journal", data, recipe, 1)
    assert do_trials(job)
    assert all(json.loads(line) for line in job.storage.read_text(encoding="utf-8").splitlines())
    assert np.isfinite(trials(job)[0].value or np.nan)
