"""Backtesting: each cut is the split it names, models learn nothing from later rows, and finished runs are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import run_main
from tests.helpers import at_random_times, tiny_data, write_log

import mclrec
from mclrec.data.intake import Intake
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.data.split import by_time, leave_one_out
from mclrec.data.split_rules import SplitRule
from mclrec.errors import ConfigError, DataError, EvaluationError
from mclrec.evaluation.metrics import Metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.significance import Interval
from mclrec.models import registry
from mclrec.runs.backtest_results import Backtest, Window
from mclrec.runs.backtesting import BacktestRequest, backtest, cut_rules, run_backtest
from mclrec.runs.run import Run
from mclrec.training.reporting import SilentReporter

READING = Reading(min_count=1)
MODELS = ("popularity", "markov")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(
        tmp_path_factory.mktemp("rolling") / "tiny.csv", at_random_times(tiny_data(users=120, shortest=6))
    )


@pytest.fixture(scope="module")
def data(log: Path) -> SequenceData:
    return mclrec.load(log, reading=READING)


@pytest.fixture(scope="module")
def found(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    out = tmp_path_factory.mktemp("out") / "runs"
    return backtest(log, MODELS, cuts=2, reading=READING, out=out, targets="all", progress=False)


def rows_between(data: SequenceData, rule: SplitRule) -> int:
    assert data.times is not None
    assert rule.test_from is not None
    end = np.inf if rule.test_until is None else int(rule.test_until)
    return int(((data.times >= int(rule.test_from)) & (data.times < end)).sum())


def test_cuts_follow_each_other_and_have_as_many_rows(data: SequenceData) -> None:
    rules = cut_rules(data, 4, "last")
    for one, other in pairwise(rules):
        assert (one.test_from, one.test_until) == (other.valid_from, other.test_from)
    assert rules[-1].test_until is None
    assert {rule.targets for rule in rules} == {"last"}
    assert data.times is not None
    assert (data.times < int(rules[0].valid_from or 0)).mean() == pytest.approx(0.5, abs=0.01)
    sizes = [rows_between(data, rule) for rule in rules]
    assert max(sizes) - min(sizes) <= 4
    assert sum(sizes) == pytest.approx(0.4 * data.num_interactions, abs=4)


def test_numbers_are_those_of_models_that_know_nothing_later(data: SequenceData, found: Backtest) -> None:
    assert found.models == list(MODELS)
    assert [window.name for window in found.windows] == ["leave-one-out", "cut 1", "cut 2"]
    seen = "drop" if found.label == "F" else "keep"
    metric = Metric("ndcg", 10)
    assert data.times is not None
    for number, window in enumerate(found.windows[1:], start=1):
        rule = SplitRule.of(window.split)
        assert rule.valid_from is not None
        assert rule.test_from is not None
        until = None if rule.test_until is None else int(rule.test_until)
        split = by_time(data, int(rule.valid_from), int(rule.test_from), until, "all")
        assert (window.targets, window.users) == (len(split.test), len(set(split.test.users.tolist())))
        unseen = split.training.popularity[split.test.items] == 0
        assert window.new_items == unseen.sum()
        # The rows after the cut are replaced before a counting model is fitted here.
        later = data.times >= int(rule.valid_from)
        noise = replace(data, items=np.where(later, 1, data.items).astype(np.int32))
        training = by_time(noise, int(rule.valid_from), int(rule.test_from), until, "all").training
        for name in MODELS:
            kind = registry.model_class(name)
            model = kind(kind.config_type(), data.num_items)
            model.on_fit_start(training)
            expected = metric.mean(rank_targets(model, split.test, seen=seen))  # type: ignore[arg-type]
            assert found.values[name][number].mean == pytest.approx(expected)


def test_leave_one_out_stands_beside_it(data: SequenceData, found: Backtest) -> None:
    window = found.windows[0]
    assert (window.targets, window.start, window.end) == (len(leave_one_out(data).test), None, None)
    assert found.over_time("markov") == pytest.approx(
        np.mean([one.mean for one in found.values["markov"][1:]])
    )
    assert found.tau in (-1, 1)


def test_a_run_by_another_recipe_is_refused(log: Path, data: SequenceData, tmp_path: Path) -> None:
    """A run of an earlier version may have other settings than today's defaults."""
    rule = cut_rules(data, 1, "first")[0]
    mclrec.train(
        log,
        "itemknn",
        reading=READING,
        split=str(rule),
        out=tmp_path / "cut-1-itemknn",
        neighbours=3,
    )
    with pytest.raises(
        ConfigError, match=r"cut-1-itemknn: holds a run with other settings: neighbours = 3, now "
    ):
        backtest(log, ["itemknn"], cuts=1, reading=READING, out=tmp_path, progress=False)


def test_finished_runs_are_kept_and_others_are_refused(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    first = backtest(log, ["markov"], cuts=1, reading=READING, out=out, progress=False)
    ended = Run(out / "cut-1-markov").record.ended
    (out / "cut-1-markov" / "kept").write_text("as it was", encoding="utf-8")
    again = backtest(log, MODELS, cuts=1, reading=READING, out=out, progress=False)
    assert again.values["markov"] == first.values["markov"]
    assert Run(out / "cut-1-markov").record.ended == ended
    assert (out / "cut-1-markov" / "kept").exists()
    with pytest.raises(ConfigError, match="holds a run with another log, seed or cut"):
        backtest(log, ["markov"], cuts=2, reading=READING, out=out, progress=False)
    with pytest.raises(ConfigError, match="holds a run with another log, seed or cut"):
        backtest(log, ["markov"], cuts=1, seed=2, reading=READING, out=out, progress=False)


@pytest.mark.filterwarnings("ignore:.*starts from the beginning")  # markov, which has no checkpoint
@pytest.mark.parametrize("model", ["markov", "sasrec"])
def test_a_run_that_was_killed_while_it_was_measured_is_continued(
    log: Path, tmp_path: Path, model: str
) -> None:
    settings = {} if model == "markov" else {"epochs": 1, "hidden_size": 8, "max_length": 5}

    def found() -> Backtest:
        return backtest(
            log, [model], cuts=1, reading=READING, out=tmp_path / "runs", progress=False, settings=settings
        )

    before = found()
    (tmp_path / "runs" / f"cut-1-{model}" / "metrics.json").unlink()
    assert found() == before


def test_finished_runs_of_other_times_are_refused(data: SequenceData, tmp_path: Path) -> None:
    """The order and the cuts are the same, but a row has another time, and a window might have other targets."""
    assert data.times is not None
    later = data.times.copy()
    rule = cut_rules(data, 1, "first")[0]
    inside = (later >= int(rule.valid_from or 0)) & (later < int(rule.test_from or 0))
    last = np.flatnonzero(inside & np.isin(np.arange(len(later)), data.offsets[1:] - 1))[0]
    later[last] -= 1
    backtest(data, ["popularity"], cuts=1, out=tmp_path, progress=False)
    moved = replace(data, times=later, origin=None)
    assert (moved.fingerprint, cut_rules(moved, 1, "first")) == (data.fingerprint, [rule])
    with pytest.raises(ConfigError, match="cut-1-popularity: holds a run with another log"):
        backtest(moved, ["popularity"], cuts=1, out=tmp_path, progress=False)


def test_what_cannot_be_cut(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    users = tmp_path / "users.txt"
    users.write_text("".join(f"{user} 1 2 3 4 5\n" for user in range(9)), encoding="utf-8")
    with pytest.raises(DataError, match="has no times"):
        backtest(users, MODELS, reading=READING, out=out, progress=False)
    days = replace(tiny_data(), times=np.arange(tiny_data().num_interactions) // 100)
    with pytest.raises(DataError, match="has too few different times for 9 cuts"):
        backtest(
            write_log(tmp_path / "days.csv", days), MODELS, cuts=9, reading=READING, out=out, progress=False
        )
    for options, said in (
        ({"models": ["markof"]}, "markov"),
        ({"models": []}, "at least one model"),
        ({"cuts": 0}, "cuts"),
        ({"targets": "some"}, "targets"),
        ({"metric": "hits"}, "metric"),
        ({"metric": "hr@16"}, "k = 16 is more than the catalogue's 15 items"),
    ):
        with pytest.raises((ConfigError, EvaluationError), match=said):
            backtest(log, **{"models": MODELS, "reading": READING, "out": out, **options})  # type: ignore[arg-type]
    assert not out.exists()


def test_what_was_taken_of_the_log_is_told_once(log: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Listening(SilentReporter):
        def data_taken(self, intake: Intake) -> None:
            told.append(f"data {intake.left.rows}")

        def planned(self, lines: Sequence[str]) -> None:
            told.append("plan")

    request = BacktestRequest(log, MODELS, cuts=1, reading=READING, out=tmp_path / "runs")
    run_backtest(request, lambda: nullcontext(Listening()))
    assert [line.partition(" ")[0] for line in told].count("data") == 1
    assert told[0].startswith("data ")
    assert told.count("plan") >= 4  # two models, each with leave-one-out and one cut


def a_table(values: dict[str, tuple[float, ...]]) -> Backtest:
    windows = tuple(Window(str(number), "time", None, None, 9, 9, 0, 0) for number in range(3))
    intervals = {name: tuple(Interval(one, one, one) for one in row) for name, row in values.items()}
    return Backtest("log", "0", "F", "NDCG@10", 1, "first", windows, intervals)


def test_the_verdict_in_words() -> None:
    same = a_table({"a": (0.1, 0.2, 0.3), "b": (0.2, 0.3, 0.4)})
    assert same.verdict == "Leave-one-out and time order the models alike (Kendall's tau 1.00)."
    other = a_table({"a": (0.3, 0.1, 0.1), "b": (0.2, 0.3, 0.0), "c": (0.1, 0.0, 0.0)})
    assert other.changed == [("a", "b")]
    assert "differently (Kendall's tau 0.33): only leave-one-out has a before b" in other.verdict
    assert a_table({"a": (0.3, 0.1, 0.1)}).verdict == "A single model has no rank to change: name several."
    tied = a_table({"a": (0.1, 0.1, 0.1), "b": (0.1, 0.1, 0.1)})
    assert (tied.tau, tied.tau_of(1)) == (None, None)


def test_the_command(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "backtest",
        str(log),
        "--models",
        "popularity,markov",
        "--cuts",
        "2",
        "--out",
        str(tmp_path / "runs"),
    ]
    words += ["--min-count", "3", "--quiet"]
    assert run_main(*words) == 0
    shown = capsys.readouterr().out
    assert "tiny: test NDCG@10 (U), with 95 % intervals over users" in shown
    assert "Kendall's tau" in shown
    assert any(line.startswith("cut 2") and "the end" in line for line in shown.splitlines())
    assert run_main(*[*words, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values["models"]) == ["popularity", "markov"]
    assert len(values["windows"]) == 3
    assert values["windows"][0]["tau"] is None


def test_models_take_the_settings_that_they_have(log: Path, tmp_path: Path) -> None:
    models = ("markov", "bpr")
    out, small = tmp_path / "runs", {"epochs": 1, "hidden_size": 4, "seen": "keep"}
    given = {"cuts": 1, "reading": READING, "out": out, "progress": False}
    found = backtest(log, models, settings=small, **given)  # type: ignore[arg-type]
    told = (
        "epochs = 1: taken by bpr; markov does not have it",
        "hidden_size = 4: taken by bpr; markov does not have it",
    )
    assert found.notes == told
    for window in ("leave-one-out", "cut-1"):
        bpr, markov = (Run(out / f"{window}-{model}").info for model in ("bpr", "markov"))
        assert (bpr.training["epochs"], bpr.config["hidden_size"], bpr.training["seen"]) == (1, 4, "keep")
        assert not small.keys() & markov.config.keys()
        assert markov.training["seen"] == "keep"
    with pytest.raises(ConfigError, match="holds a run with other settings: hidden_size = 4, now 8"):
        backtest(log, models, settings={**small, "hidden_size": 8}, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown setting of markov, bpr 'epoch'; did you mean 'epochs'"):
        backtest(log, models, settings={"epoch": 1}, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"epochs has no effect on models that only count \(markov\)"):
        backtest(log, ["markov"], settings={"epochs": 1}, **given)  # type: ignore[arg-type]
    for wrong in (["epochs=1"], {1: 2}, "epochs=1"):
        with pytest.raises(ConfigError, match="should be a mapping"):
            backtest(log, models, settings=wrong, **given)  # type: ignore[arg-type]
