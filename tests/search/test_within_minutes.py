"""Training within minutes: an ordinary run, chosen by validation alone, in time, and resumable wherever it stopped."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import mostly_slow, tiny_data, write_log
from tests.runs.test_precision_choice import on_a_machine

import mclrec
from mclrec.cli import main
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, TrainingError
from mclrec.recipes import parse_setting
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train
from mclrec.search import epoch_clock, rungs, within_minutes
from mclrec.search.search_record import Candidate, Rung, SearchRecord
from mclrec.search.within_minutes import train_within
from mclrec.training.reporting import EpochRecord, EpochStart, SilentReporter

SETTINGS: dict[str, Any] = {"hidden_size": 8, "inner_size": 16, "max_length": 8, "epochs": 6, "patience": 2}
FIXED: dict[str, Any] = {"dropout": 0.1, "learning_rate": 0.01}
"""Settings that leave one candidate besides the recipe."""

AN_HOUR = 60.0


class Listener(SilentReporter):
    """Records the printed lines, and sends SIGINT before a given epoch."""

    def __init__(self, stop_before: int = 0) -> None:
        self.lines: list[str] = []
        self.epochs, self._stop_before = 0, stop_before

    def planned(self, lines: Sequence[str]) -> None:
        self.lines += lines

    def epoch_started(self, start: EpochStart) -> None:
        self.epochs += 1
        if self.epochs == self._stop_before:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def data(tmp_path: Path) -> SequenceData:
    return load(write_log(tmp_path / "tiny.csv", tiny_data(shortest=5)), min_count=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Listener]:
    """The run of an uninterrupted search, and its reporter."""
    folder, told = tmp_path_factory.mktemp("whole"), Listener()
    one = load(write_log(folder / "tiny.csv", tiny_data(shortest=5)), min_count=1)
    return train_within(request(one, folder / "run"), AN_HOUR, told), told


def request(data: Any, out: Path, **options: Any) -> TrainRequest:
    settings = {**SETTINGS, **options.pop("settings", {})}
    return TrainRequest(data, "sasrec", settings=settings, out=out, **options)


def essence(run: Run) -> tuple[Any, ...]:
    return (
        run.info.config,
        run.info.training,
        [one["metrics"] for one in run.history],
        run.metrics,
        run.record.weights,
    )


def found(out: Path) -> list[Any]:
    """The record of a search, without its times."""
    record = SearchRecord.load(out)
    return [record.winner, record.rungs, [(one.settings, one.curve, one.state) for one in record.candidates]]


def settings_in(command: str) -> dict[str, Any]:
    """The settings in a command that starts from the recipe `auto`."""
    words = shlex.split(command)
    return dict(parse_setting(word) for word in words[words.index("auto") + 2 :: 2])


def test_the_run_is_the_one_that_its_command_trains(tmp_path: Path, data: SequenceData) -> None:
    told = Listener()
    run = train_within(request(data, tmp_path / "run", settings={"dropout": 0.1}), AN_HOUR, told)
    record = SearchRecord.load(run.directory)
    assert record.finished
    assert len(record.candidates) > 2
    first = [one for one in record.rungs if one.round == 1]
    assert [one.epochs for one in first] == [2, 4, 6][: len(first)]
    assert all(1 in rung.values for rung in first)
    assert not (run.directory / "candidates").exists()
    assert shlex.split(run.info.command)[:2] == ["mclrec", "train"]
    settings = settings_in(run.info.command)
    assert settings == {**SETTINGS, "dropout": 0.1, **record.of(record.winner or 0).settings}
    again = train(TrainRequest(data, "sasrec", "auto", settings, 1, tmp_path / "again"))
    assert essence(again) == essence(run)
    card = (run.directory / "README.md").read_text(encoding="utf-8")
    assert record.verdict() in card
    assert "| 2 | attention_dropout=0.2 |" in card
    assert record.verdict() in told.lines
    assert any(
        line.startswith("candidate 2 (attention_dropout=0.2): validation ndcg@10 ") for line in told.lines
    )


def test_nothing_depends_on_the_test_items(tmp_path: Path, data: SequenceData) -> None:
    items = data.items.copy()
    last = data.offsets[1:] - 1
    items[last] = items[last] % data.num_items + 1
    for place, one in (("one", data), ("other", replace(data, items=items))):
        train_within(request(one, tmp_path / place, settings=FIXED), AN_HOUR)
    assert found(tmp_path / "one") == found(tmp_path / "other")


@pytest.mark.parametrize("stop", mostly_slow([1, 15, 25], [15]))
def test_an_interrupted_search_goes_on(
    tmp_path: Path, data: SequenceData, whole: tuple[Run, Listener], stop: int
) -> None:
    out, told = tmp_path / "parts", Listener(stop)
    with pytest.raises(KeyboardInterrupt):
        train_within(request(data, out), AN_HOUR, told)
    assert "--resume continues" in told.lines[-1]
    spent = SearchRecord.load(out).spent
    run = train_within(request(data, out, resume=True), AN_HOUR)
    assert (essence(run), found(out)) == (essence(whole[0]), found(whole[0].directory))
    assert SearchRecord.load(out).spent > spent


@pytest.mark.parametrize("bf16", [False, True])
def test_a_search_that_goes_on_on_another_machine_keeps_its_precision(
    bf16: bool, data: SequenceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine(monkeypatch, bf16=bf16)
    told, settings = Listener(stop_before=2), {**FIXED, "precision": "auto"}
    with pytest.raises(KeyboardInterrupt):
        train_within(request(data, tmp_path / "run", settings=settings), AN_HOUR, told)
    name = "bf16" if bf16 else "fp32"
    assert any(line.startswith(f"precision: {name}, ") for line in told.lines)
    on_a_machine(monkeypatch, bf16=not bf16)
    told = Listener()
    run = train_within(request(data, tmp_path / "run", settings=settings, resume=True), AN_HOUR, told)
    assert f"precision: {name}, as the run began" in told.lines
    assert run.info.training["precision"] == name
    assert f"--set precision={name}" in told.lines[-1]
    alike = train(replace(request(data, tmp_path / "alike"), settings=settings_in(run.info.command)))
    assert essence(alike) == essence(run)


def test_another_search_is_not_gone_on_with(tmp_path: Path, data: SequenceData) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_within(request(data, out, settings=FIXED), AN_HOUR, Listener(3))
    with pytest.raises(ConfigError, match="another setting dropout"):
        train_within(request(data, out, settings={**FIXED, "dropout": 0.2}, resume=True), AN_HOUR)
    with pytest.raises(ConfigError, match="is not empty"):
        train_within(request(data, out, settings=FIXED), AN_HOUR)
    with pytest.raises(ConfigError, match="continue with --minutes N --resume"):
        train(request(data, out, settings=FIXED, resume=True))
    train_within(request(data, out, settings=FIXED, resume=True), AN_HOUR)
    with pytest.raises(ConfigError, match="finished"):
        train_within(request(data, out, settings=FIXED, resume=True), AN_HOUR)
    plain = train(request(data, tmp_path / "plain", settings={"epochs": 1}))
    with pytest.raises(ConfigError, match="no search"):
        train_within(request(data, plain.directory, resume=True), AN_HOUR)


def test_epochs_that_the_time_shortened_are_not_given_again(
    tmp_path: Path, data: SequenceData, watch: _Watch
) -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "epochs"}
    wanted = TrainRequest(data, "sasrec", settings=settings, out=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_within(wanted, 1.0, Listener(2))
    fitting = SearchRecord.load(tmp_path / "run").epochs
    assert fitting is not None
    other = replace(wanted, settings={**settings, "epochs": fitting + 1}, resume=True)
    with pytest.raises(ConfigError, match=rf"another setting epochs: .*--set epochs={fitting}"):
        train_within(other, 1.0)
    run = train_within(replace(wanted, settings={**settings, "epochs": fitting}, resume=True), 1.0)
    assert run.info.training["epochs"] <= fitting


class _Watch:
    """A clock that advances only with epochs."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> _Watch:
    """A fake clock: an epoch takes ten seconds, and nothing else takes any time."""
    watch = _Watch()
    for module in (epoch_clock, within_minutes):
        monkeypatch.setattr(module, "time", watch)
    monkeypatch.setattr(
        "mclrec.search.search_job.longest_time", lambda split, recipe, *_: 10.0 * recipe.training.epochs
    )
    passed_on = epoch_clock.EpochClock.epoch_finished

    def finished(self: epoch_clock.EpochClock, record: EpochRecord) -> None:
        watch.now += 10
        passed_on(self, replace(record, seconds=9.0))

    monkeypatch.setattr(epoch_clock.EpochClock, "epoch_finished", finished)
    return watch


@pytest.mark.parametrize("minutes", [0.4, 2, 12])
def test_never_over_time(tmp_path: Path, data: SequenceData, watch: _Watch, minutes: float) -> None:
    run = train_within(request(data, tmp_path / "run", settings={"epochs": 12, "dropout": 0.1}), minutes)
    record = SearchRecord.load(tmp_path / "run")
    assert watch.now + 6 <= 60 * minutes
    assert record.spent == watch.now
    assert run.metrics
    assert len(run.history) <= 12
    if run.info.training["epochs"] < 12:  # cut short by the time limit, and its command says so
        assert len(run.history) == run.info.training["epochs"]
        assert f"--set epochs={len(run.history)}" in run.info.command
    assert (len(record.candidates) > 1) == (minutes == 12)
    if len(record.candidates) == 1:
        assert record.verdict().startswith("trained the recipe alone")


def test_what_time_is_left_is_used(whole: tuple[Run, Listener]) -> None:
    """If trainings end early, the remaining time goes to further rounds around the best so far."""
    run, told = whole
    record = SearchRecord.load(run.directory)
    assert record.round > 2
    assert any(line.startswith("round 2, around ") for line in told.lines)
    tried = [repr(sorted(one.settings.items())) for one in record.candidates]
    assert len(set(tried)) == len(tried) > 5
    assert "| round 2, 2 epochs |" in (run.directory / "README.md").read_text(encoding="utf-8")
    best = max(max(one.curve) for one in record.candidates if one.curve)
    assert run.record.best_validation is not None
    assert run.record.best_validation >= 0.9 * best
    before = record.of(1)
    for move in record.moves:
        assert record.of(move.over) is before
        before = record.of(move.number)
    assert before.number == record.winner


def record_of(curves: dict[int, tuple[list[float], bool]], rung: int = 2) -> SearchRecord:
    found = [
        Candidate(number, {"a": number}, curve, ended=ended) for number, (curve, ended) in curves.items()
    ]
    return SearchRecord({}, "ndcg@10", rung, found, 1, rungs=[Rung(rung, {})])


def test_what_was_trained_to_its_end_is_not_given_up_for_a_promise() -> None:
    whole = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4]
    assert record_of({1: (whole, True), 2: ([0.2, 0.3], False)}).settle() == 1
    assert record_of({1: (whole, False), 2: ([0.2, 0.3], False)}).settle() == 2
    one = record_of({1: (whole, True), 2: ([0.5, 0.5], False)})
    assert (one.settle(), one.settle()) == (2, 2)
    assert len(one.moves) == 1
    assert "a=2 is better than the recipe: validation ndcg@10 0.5000 against 0.4" in one.verdict()


def test_the_winner_goes_on_after_an_interruption(tmp_path: Path, data: SequenceData, watch: _Watch) -> None:
    settings, out = {"epochs": 12, "patience": 6}, tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_within(request(data, out, settings=settings), 1.5, Listener(8))
    assert (SearchRecord.load(out).winner, watch.now) == (1, 70)
    # Resuming does not restart the 1.5 minutes.
    run = train_within(request(data, out, settings=settings, resume=True), 1.5)
    assert (len(run.history), watch.now) == (8, 80)


def test_too_little_time_for_an_epoch(tmp_path: Path, data: SequenceData, watch: _Watch) -> None:
    with pytest.raises(ConfigError, match="an epoch alone takes about 10 seconds"):
        train_within(request(data, tmp_path / "run"), 0.1)
    assert watch.now == 0
    assert not (tmp_path / "run" / "candidates.json").exists()


def test_a_candidate_that_cannot_be_trained_fails_alone(
    tmp_path: Path, data: SequenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(request: TrainRequest, *more: Any) -> Run:
        if (request.settings or {}).get("attention_dropout") == 0.2:
            raise TrainingError("the loss is not finite")
        return train(request, *more)

    monkeypatch.setattr(rungs, "train", failing)
    run = train_within(request(data, tmp_path / "run", settings=FIXED), AN_HOUR)
    second = SearchRecord.load(run.directory).of(2)
    assert (second.state, second.problem) == ("failed", "the loss is not finite")
    assert run.record.finished


def test_what_does_not_go_with_it(
    tmp_path: Path, data: SequenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in ({"track": "tensorboard"}, {"warm_start": tmp_path}, {"shard_items": True}):
        name = next(iter(option)).replace("_", "-")
        with pytest.raises(ConfigError, match=f"--minutes does not go with --{name}:"):
            train_within(request(data, tmp_path / "run", **option), 1)
    for minutes in (0, float("nan"), float("inf"), -1):
        with pytest.raises(ConfigError, match="minutes"):
            mclrec.train(data, "sasrec", out=tmp_path / "run", minutes=minutes, progress=False)
    with pytest.raises(ConfigError, match="only counts"):
        mclrec.train(data, "markov", out=tmp_path / "run", minutes=1, progress=False)
    with pytest.raises(ConfigError, match="several phases"):
        mclrec.train(data, "s3rec", out=tmp_path / "run", minutes=1, progress=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="processes"):
        train_within(request(data, tmp_path / "run"), 1)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "log.csv", tiny_data())
    words = (
        f"train {log} --min-count 1 --model sasrec --out {tmp_path / 'run'} --minutes 60 --set dropout=0.1"
    )
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    with pytest.raises(SystemExit) as left:
        main([*shlex.split(words), *sets])
    assert left.value.code == 0
    told = capsys.readouterr()
    assert "of 60 minutes; without the search: mclrec train" in told.err
    assert "(F)" in told.out
    with pytest.raises(SystemExit):
        main(["train", str(log), "--minutes", "1", "--processes", "2"])
    assert "--minutes does not go with --processes" in capsys.readouterr().err
