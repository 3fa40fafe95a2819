"""Calibration after training: validation chooses how much to raise items of the history and co-occurring items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.helpers import at_random_times, sequences_of, write_log
from tests.runs.conftest import start

from mclrec.data.split import make_split
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import load_model
from mclrec.nn.co_occurrence import Nearness
from mclrec.runs.calibration import calibration_line, near_items_line
from mclrec.runs.final import finalize
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import Run
from mclrec.sealed_json import read_sealed

SETTINGS = {"repeat_bias": True, "seen": "drop"}
ITEMS = 60


@pytest.fixture(scope="module")
def returning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log without repeated items, except that every tenth user's last two items repeat the first one."""
    rng = np.random.default_rng(0)
    histories = [(rng.permutation(ITEMS)[:9] + 1).tolist() for _ in range(400)]
    for history in histories[::10]:
        history[-2:] = history[:1] * 2
    path = tmp_path_factory.mktemp("returning") / "log.csv"
    return write_log(path, at_random_times(sequences_of(histories, ITEMS)))


@pytest.fixture(scope="module")
def calibrated(returning: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start(returning, tmp_path_factory.mktemp("calibrated") / "run", settings=SETTINGS)


def test_returns_are_as_high_as_validation_likes_best(calibrated: Run) -> None:
    found = calibrated.record.calibration
    assert found is not None
    assert any(found.chosen.values())
    assert found.after > found.before
    model = load_model(calibrated.directory).model
    assert isinstance(model, VectorRecommender)
    targets = make_split(run_data(calibrated), calibrated.info.split).validation
    assert calibration_line(found) in (calibrated.directory / "README.md").read_text(encoding="utf-8")
    metric = parse_metric(found.metric)
    assert metric.mean(rank_targets(model, targets, seen="keep")) == pytest.approx(found.after)
    assert model.repeats is not None
    model.repeats.adopt(dict.fromkeys(found.chosen, 0.0))
    assert metric.mean(rank_targets(model, targets, seen="keep")) == pytest.approx(found.before)


def test_epochs_are_compared_as_they_will_be_calibrated(returning: Path, tmp_path: Path) -> None:
    keeping = SETTINGS | {"seen": "keep"}
    run = start(returning, tmp_path / "run", settings=keeping)
    found, best = run.record.calibration, run.record.best_validation
    assert found is not None
    assert best is not None
    assert found.before < best <= found.after
    half = start(returning, tmp_path / "half", settings=keeping | {"epochs": 1})
    assert half.record.epochs == 1
    # The checkpoint keeps what an epoch chose, so a resumed training equals an uninterrupted one.
    more = start(returning, tmp_path / "half", settings=keeping, resume=True)
    assert (more.record.weights, more.record.best_validation) == (run.record.weights, best)


def test_a_run_that_is_taken_up_again_chooses_the_same(calibrated: Run, returning: Path) -> None:
    before = calibrated.record
    again = start(returning, calibrated.directory, settings=SETTINGS, resume=True).record
    assert (again.calibration, again.weights) == (before.calibration, before.weights)


def test_a_final_model_takes_what_was_chosen_where_it_could_be(calibrated: Run, tmp_path: Path) -> None:
    final = finalize(calibrated, out=tmp_path / "final", progress=False)
    assert final.record.calibration == calibrated.record.calibration


def test_where_nobody_returns_nothing_is_chosen(log: Path, tmp_path: Path) -> None:
    run = start(log, tmp_path / "run", settings=SETTINGS)
    assert run.record.calibration is None
    # The file has no such key, as in versions before calibration, whose runs can still be read.
    assert "calibration" not in read_sealed(run.directory / "metrics.json")


TASTES = {"co_occurrence": 0.01, "seen": "drop", "epochs": 1}
"""Settings with hardly any training, so that counts predict better than the encoder."""


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a log in which each user has items of only one of six kinds, in random order."""
    rng, kind = np.random.default_rng(0), ITEMS // 6
    histories = [(rng.permutation(kind)[:7] + 1 + kind * rng.integers(6)).tolist() for _ in range(400)]
    folder = tmp_path_factory.mktemp("weighed")
    log = write_log(folder / "log.csv", at_random_times(sequences_of(histories, ITEMS)))
    return start(log, folder / "run", settings=TASTES)


def test_near_items_gain_what_validation_likes_best(weighed: Run) -> None:
    found = weighed.record.near_items
    assert found is not None
    assert found.chosen["weight"] > 0.01
    assert found.after > found.before
    assert near_items_line(found) in (weighed.directory / "README.md").read_text(encoding="utf-8")
    model = load_model(weighed.directory).model
    assert isinstance(model, VectorRecommender)
    assert model.co_occurrence is not None
    assert model.co_occurrence.chosen == Nearness(**found.chosen)
    targets, metric = make_split(run_data(weighed), weighed.info.split).validation, parse_metric(found.metric)
    assert metric.mean(rank_targets(model, targets, seen="drop")) == pytest.approx(found.after)
    model.co_occurrence.adopt({"weight": 0.01, "decay": 0.8})
    assert metric.mean(rank_targets(model, targets, seen="drop")) == pytest.approx(found.before)


def test_near_items_gain_the_same_in_a_run_that_is_taken_up_again_and_in_a_final_model(
    weighed: Run, tmp_path: Path
) -> None:
    before = weighed.record
    final = finalize(weighed, out=tmp_path / "final", progress=False)
    assert final.record.near_items == before.near_items
    model = load_model(final.directory).model
    assert isinstance(model, VectorRecommender)
    assert model.co_occurrence is not None
    assert before.near_items is not None
    assert model.co_occurrence.chosen == Nearness(**before.near_items.chosen)
    log = weighed.directory.parent / "log.csv"
    again = start(log, weighed.directory, settings=TASTES, resume=True).record
    assert (again.near_items, again.weights) == (before.near_items, before.weights)


def test_without_co_occurrence_there_is_nothing_to_weigh(calibrated: Run) -> None:
    assert calibrated.record.near_items is None
    assert "near_items" not in read_sealed(calibrated.directory / "metrics.json")


@pytest.mark.parametrize("seen", ["drop", "keep"])
def test_nothing_is_chosen_where_that_is_not_wanted(returning: Path, tmp_path: Path, seen: str) -> None:
    """The requested weight is the model's weight, and also that of the final model."""
    settings = {"repeat_bias": True, "co_occurrence": 2.5, "seen": seen, "calibrate_scores": False}
    run = start(returning, tmp_path / "run", settings=settings)
    for found in (run, finalize(run, out=tmp_path / "final", progress=False)):
        assert found.record.near_items is found.record.calibration is None
        model = load_model(found.directory).model
        assert model.co_occurrence is not None
        assert model.co_occurrence.chosen.weight == 2.5
        assert model.repeats is not None
        assert not any(model.repeats.chosen)
