"""The scoreboard of a run: the suitable protocol first, with popularity and Markov beside it, and intervals."""

from pathlib import Path

import numpy as np
import pytest
from tests.helpers import tiny_data, write_log

from mclrec.data.returns import share_of_returns
from mclrec.data.split import make_split
from mclrec.errors import ModelFileError
from mclrec.evaluation.metrics import main_metric, per_user
from mclrec.evaluation.significance import paired_bootstrap
from mclrec.randomness import Stream, generator
from mclrec.runs import baselines
from mclrec.runs.baselines import BASELINES, Score, measure_baselines, read_baselines
from mclrec.runs.further_systems import further_of_runs
from mclrec.runs.intake_file import INTAKE
from mclrec.runs.remeasure import evaluate_run, run_data
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.scoreboard import Scoreboard, scoreboard, scoreboards, skipped_baselines
from mclrec.runs.training_run import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("scores")
    log = write_log(folder / "tiny.csv", tiny_data(shortest=5))
    return {
        name: train(TrainRequest(log, name, out=folder / name))
        for name in ("recency", "markov", "popularity")
    }


def test_baselines_are_the_systems_themselves(runs: dict[str, Run]) -> None:
    for board in scoreboards(runs["recency"]):
        assert [score.model for score in board.scores] == ["recency", "markov", "popularity"]
        for score in board.scores:
            assert score.metrics == runs[score.model].metrics[board.label]
            assert score.low <= score.metrics[board.metric] <= score.high
        own, other = (
            per_user(runs[name].ranks("test", board.label).ranks, "ndcg", 10)
            for name in ("recency", "markov")
        )
        assert board.scores[1].p == paired_bootstrap(own, other, generator(0, Stream.BOOTSTRAP)).p
        assert board.scores[0].p is None
    assert [score.model for score in scoreboards(runs["markov"])[0].scores] == ["markov", "popularity"]


def test_a_baseline_stands_beside_its_model_by_other_settings(runs: dict[str, Run], tmp_path: Path) -> None:
    """Markov with windows of two items and of one have different names in every table of a run."""
    log = runs["markov"].directory.parent / "tiny.csv"
    run = train(TrainRequest(log, "markov", out=tmp_path / "two", settings={"window": 2}))
    names = ["markov window=2", "markov", "popularity"]
    board = scoreboards(run)[0]
    assert [score.model for score in board.scores] == names
    assert board.scores[1].metrics == runs["markov"].metrics[board.label]
    result = evaluate_run(run, metrics="all", slices=True)
    assert [score.model for score in scoreboard(run, result).scores] == names
    assert result.further is not None
    assert result.slices is not None
    assert list(result.further.systems) == names
    assert list(result.slices.systems) == names
    found = further_of_runs({"a": run}, make_split(run_data(run), "leave-one-out"), "keep")
    assert list(found.systems) == ["a", "markov", "popularity"]
    both = further_of_runs(
        {"a": run, "b": runs["markov"]}, make_split(run_data(run), "leave-one-out"), "keep"
    )
    assert list(both.systems) == ["a", "b", "popularity"]


def test_the_protocol_that_suits_comes_first(runs: dict[str, Run]) -> None:
    run = runs["recency"]
    assert run.intake is not None
    validation = make_split(run_data(run), "leave-one-out").validation
    histories = validation.histories(np.arange(len(validation)))
    share = np.mean([item in histories[row] for row, item in enumerate(validation.items)])
    assert run.intake.left.returns == share_of_returns(validation) == pytest.approx(share)
    assert share > 0.1
    assert [board.label for board in scoreboards(run)] == ["U", "F"]
    assert scoreboards(run)[0].title == "test, history items kept as candidates (U)"


def test_an_evaluation_has_baselines_where_they_rank_the_same(runs: dict[str, Run]) -> None:
    run = runs["recency"]
    assert scoreboard(run, evaluate_run(run, seen="drop")) == scoreboards(run)[1]
    assert len(scoreboard(run, evaluate_run(run, seen="drop", ks=(3,))).scores) == 1
    assert len(scoreboard(run, evaluate_run(run, part="validation")).scores) == 1


def test_large_logs_skip_baselines(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs["recency"]
    monkeypatch.setattr(baselines, "_MOST_CELLS", 10)
    found = measure_baselines(make_split(run_data(run), "leave-one-out"), "recency", {}, 1)
    assert found.scores == {}
    assert found.skipped is not None
    assert "more than a few seconds" in found.skipped


def test_runs_of_earlier_versions_and_damaged_ones(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["popularity"]
    kept = {name: (run.directory / name).read_text() for name in (BASELINES, INTAKE)}
    try:
        for name in kept:
            (run.directory / name).unlink()
        assert (run.intake, read_baselines(run.directory), skipped_baselines(run)) == (None, None, None)
        assert [len(board.scores) for board in scoreboards(run)] == [1, 1]
        for name, text in kept.items():
            (run.directory / name).write_text(text.replace("0.", "1.", 1))
            with pytest.raises(ModelFileError, match=f"{name}: damaged or edited"):
                scoreboards(run)
            (run.directory / name).write_text(text)
    finally:
        for name, text in kept.items():
            (run.directory / name).write_text(text)


@pytest.mark.parametrize(
    ("items", "metric"), [(3, "NDCG@3"), (7, "NDCG@5"), (10, "NDCG@10"), (500, "NDCG@10")]
)
def test_main_metric(items: int, metric: str) -> None:
    assert str(main_metric(items)) == metric


def test_who_is_surely_ahead_is_said() -> None:
    def one(model: str, value: float, p: float | None = None) -> Score:
        return Score(model=model, metrics={"NDCG@10": value}, low=value, high=value, p=p)

    def verdict(*scores: Score) -> str | None:
        return Scoreboard("U", "test", "NDCG@10", list(scores)).verdict

    assert verdict(one("mclrec", 0.1)) is None
    told = "p: for the difference in NDCG@10 from mclrec, paired over users."
    assert verdict(one("mclrec", 0.1), one("markov", 0.2, 0.3), one("popularity", 0.05, 0.001)) == told
    ahead = verdict(one("mclrec", 0.1), one("markov", 0.2, 0.01), one("popularity", 0.3, 0.001))
    assert ahead == f"{told} markov and popularity are significantly ahead of mclrec."
