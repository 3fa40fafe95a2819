"""Reports on runs are correct about histories, system names, significance and numbers of systems."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import at_random_times, tiny_data, write_log

from mclrec.data.split import make_split
from mclrec.errors import EvaluationError
from mclrec.evaluation.significance import SAMPLES, holm, p_text, paired_bootstrap
from mclrec.report.example_lists import draw_examples
from mclrec.report.page import write_report
from mclrec.report.systems import open_study
from mclrec.report.verdict import advice, pairs
from mclrec.runs.remeasure import run_data
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which users return to items after their test target."""
    return write_log(
        tmp_path_factory.mktemp("log") / "tiny.csv", at_random_times(tiny_data(items=6, longest=20))
    )


@pytest.fixture(scope="module")
def by_time(log: Path) -> dict[str, Run]:
    """Runs under the split by time, in folders with the same name."""
    return {
        model: train(
            TrainRequest(log, model, split="time", settings=settings, out=log.parent / model / "run")
        )
        for model, settings in (("markov", {}), ("bpr", {"epochs": 2, "hidden_size": 4}))
    }


def test_a_history_ends_where_the_target_stands(by_time: dict[str, Run]) -> None:
    study = open_study([run.directory for run in by_time.values()])
    for system in study.systems:
        run, table = system.first, system.ranks["F"][0]
        data = run_data(run)
        targets = make_split(data, "time").test
        examples = draw_examples(study, system)
        users = [str(user) for user in table.users]
        for example in examples:
            place = users.index(example.user)
            history = [data.item_ids[item] for item in targets.histories(np.array([place])).items.tolist()]
            assert list(example.history) == [str(item) for item in history[-10:]]
            assert example.left_out == max(len(history) - 10, 0)
            # The list agrees with the ranks, and uses the user's own vector if the model has one.
            hits = [number for number, (_, hit) in enumerate(example.recommended, start=1) if hit]
            rank = int(table.ranks[place])
            assert hits == ([rank] if rank <= len(example.recommended) else [])


def test_histories_of_the_log_do_go_beyond_some_targets(by_time: dict[str, Run]) -> None:
    """Otherwise the test above would prove nothing."""
    targets = make_split(run_data(by_time["markov"]), "time").test
    beyond = 0
    for user, place, item in zip(targets.users, targets.places, targets.items, strict=True):
        later = targets.data.items[place + 1 : targets.data.offsets[user + 1]]
        beyond += int(item in later)
    assert beyond


def test_runs_in_folders_of_one_name_are_all_there(log: Path, tmp_path: Path) -> None:
    places = []
    for window in (1, 2, 3):
        out = tmp_path / f"window{window}" / "run"
        train(TrainRequest(log, "markov", settings={"window": window}, out=out))
        places.append(out)
    study = open_study(places)
    assert list(study.runs) == ["window1/run", "window2/run", "window3/run"]
    assert [system.label for system in study.systems] == [
        "markov window=1",
        "markov window=2",
        "markov window=3",
    ]
    text = write_report(places, tmp_path / "report.html").read_text()
    for number in (1, 2, 3):
        assert f"<td>window{number}/run</td>" in text


def test_one_run_given_twice_is_refused(by_time: dict[str, Run]) -> None:
    with pytest.raises(EvaluationError, match="leave one of them out"):
        open_study([by_time["bpr"].directory, by_time["bpr"].directory])


@pytest.mark.parametrize("items", [3, 6, 9])
def test_a_catalogue_of_fewer_than_ten_items(items: int, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tiny.csv", tiny_data(items=items))
    runs = [
        train(TrainRequest(log, name, out=tmp_path / name)).directory for name in ("markov", "popularity")
    ]
    text = write_report(runs, tmp_path / "report.html").read_text()
    assert ("HR@5" in text) == (items >= 5)
    assert "HR@10" not in text  # every list of ten holds everything
    assert text.count("<article>") == 5


def test_what_p_a_bootstrap_can_show() -> None:
    ones, zeros = np.ones(50), np.zeros(50)
    smallest = paired_bootstrap(ones, zeros, np.random.default_rng(0)).p
    assert smallest == 2 / (SAMPLES + 1)
    assert p_text(smallest) == "\u2264 0.0002"
    assert [p_text(p) for p in (4 / (SAMPLES + 1), 0.05, 0.050001, 1.0)] == [
        "0.0004",
        "0.0500",
        "0.0501",
        "1.0000",
    ]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_advice_is_as_sure_as_the_ranks(by_time: dict[str, Run]) -> None:
    study = open_study([run.directory for run in by_time.values()])
    one, other = study.systems

    def with_ranks(first: Any, second: Any) -> str:
        def at(system: Any, ranks: Any) -> Any:
            tables = [replace(table, ranks=np.resize(ranks, len(table))) for table in system.ranks["F"]]
            return replace(system, ranks={"F": tables})

        systems = replace(study, systems=[at(one, first), at(other, second)])
        return advice(systems, pairs(systems, "F"), "F")

    assert "take markov: its NDCG@5 of 1.0000 is significantly above that of bpr" in with_ranks([1], [6])
    assert "take bpr" in with_ranks([6], [1])
    assert "its lead over bpr may be chance: take any of them" in with_ranks([1, 2, 3, 4], [2, 1, 4, 3])
    alone = replace(study, systems=[one])
    assert "there is no other system to compare it with" in advice(alone, [], "F")


def test_baselines_above_the_best_system_are_named(by_time: dict[str, Run]) -> None:
    study = open_study([by_time["bpr"].directory])
    [system] = study.systems
    tables = [replace(table, ranks=np.full(len(table), 99)) for table in system.ranks["F"]]
    behind = replace(study, systems=[replace(system, ranks={"F": tables})])
    assert re.search(
        r"compare it with\. But .*markov \(0\.\d+\).*, which only counts?, (is|are) above",
        advice(behind, [], "F"),
    )
    tables = [replace(table, ranks=np.ones(len(table), np.int64)) for table in system.ranks["F"]]
    ahead = replace(study, systems=[replace(system, ranks={"F": tables})])
    assert advice(ahead, [], "F").endswith("there is no other system to compare it with.")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_cut_at_any_width(page: Any, by_time: dict[str, Run], tmp_path: Path, width: int) -> None:
    path = write_report([run.directory for run in by_time.values()], tmp_path / "report.html")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tables = page.evaluate(
        "[...document.querySelectorAll('.table')].map(one => [one.scrollWidth, one.clientWidth, "
        "getComputedStyle(one).overflowX])"
    )
    assert len(tables) == 15
    for whole, shown, overflow in tables:
        assert whole <= shown if width == 1440 else overflow == "auto"


def test_a_report_says_where_it_does_not_know_what_was_taken(by_time: dict[str, Run], tmp_path: Path) -> None:
    place = Path(shutil.copytree(by_time["markov"].directory, tmp_path / "run"))
    (place / "intake.json").unlink()
    page = write_report([place], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "run has no intake.json, like runs of earlier versions" in page
