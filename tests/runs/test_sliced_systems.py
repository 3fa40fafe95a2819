"""Metrics by slice of a run's targets, beside the baselines, in Python and on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import run_main
from tests.helpers import at_random_times, tiny_data
from tests.runs.conftest import start

from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, DataError
from mclrec.evaluation.metrics import Metric
from mclrec.evaluation.slices import Slices
from mclrec.runs import baselines
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.run import Run


def write_countries(path: Path, data: SequenceData) -> Path:
    """Write a log with a further column, country: north or south, and empty in every fifth row."""
    assert data.times is not None
    users = np.repeat(np.arange(1, data.num_users + 1), data.lengths)
    rows = ["user,item,time,country"]
    for place, (user, item, time) in enumerate(zip(users, data.items, data.times, strict=True)):
        country = "" if place % 5 == 0 else "north" if user % 2 else "south"
        rows.append(f"{data.user_ids[int(user)]},{data.item_ids[int(item)]},{time},{country}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("sliced")
    return start(write_countries(folder / "log.csv", at_random_times(tiny_data())), folder / "run", "markov")


@pytest.fixture
def run(measured: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(measured.directory, tmp_path / "run")))


def slices(run: Run, **options: object) -> Slices:
    found = evaluate_run(run, **options).slices  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_slices_of_a_run_and_of_its_baselines(run: Run) -> None:
    result = evaluate_run(run, slices=True, slice_by="country")
    found = result.slices
    assert found is not None
    assert found.systems == ("markov", "popularity")
    assert found.metrics == ("NDCG@10", "HR@10")
    keys = [slicing.key for slicing in found.slicings]
    assert keys == ["country", "history", "popularity", "repeat", "time", "item", "user"]
    assert set(found.slicings[0].names) == {"north", "south", "no value"}
    popularity = baselines.read_baselines(run.directory)
    assert popularity is not None
    means = {"markov": result.metrics["NDCG@10"], "popularity": popularity.scores["U"][0].metrics["NDCG@10"]}
    for name, mean in means.items():
        own = [
            one for one in found.values if (one.by, one.system, one.metric) == ("country", name, "NDCG@10")
        ]
        assert sum(one.targets * (one.mean or 0) for one in own) / result.num_targets == pytest.approx(mean)


def test_what_the_ranks_in_the_run_know(run: Run) -> None:
    result = evaluate_run(run, slices=True, part="validation", seen="drop")
    table = run.ranks("validation", "F")
    targets = result.targets
    assert targets.gaps is not None
    assert table.gaps is not None
    assert table.user_counts is not None
    assert table.gaps.tolist() == targets.gaps.tolist()
    assert min(table.gaps.tolist()) >= 0
    assert table.user_counts.tolist() == (targets.data.lengths[targets.users] - 2).tolist()
    assert table.units_per_second is None  # times below 10,000 have no known epoch
    assert "slices" not in table.about


def test_cutoffs(run: Run) -> None:
    assert slices(run, slices=True, ks=(3, 5)).metrics == ("NDCG@3", "HR@3")
    assert slices(run, slices=True, ks=(5, 10)).metrics == ("NDCG@10", "HR@10")


def test_progress_counts_every_ranking(run: Run) -> None:
    calls: list[tuple[int, int]] = []
    evaluate_run(run, slices=True, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (80, 80)


def test_baselines_that_would_take_long_are_left_out_and_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "_MOST_CELLS", 100)
    found = slices(run, slices=True)
    assert found.systems == ("markov",)
    assert found.notes[-1].startswith("popularity and Markov were not measured")


def test_nothing_is_sliced_unless_it_is_asked_for(run: Run) -> None:
    assert evaluate_run(run).slices is None
    assert evaluate_run(run, slice_by=()).slices is None


@pytest.mark.parametrize(
    ("given", "said"),
    [(3, "slice_by|columns"), ([""], "empty one"), (["a", "a"], "given twice"), ([1], "slice_by")],
)
def test_what_is_no_column(run: Run, given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate_run(run, slice_by=given)


def test_a_column_that_is_not_there_is_found_out_before_anything_is_ranked(run: Run) -> None:
    calls: list[int] = []
    with pytest.raises(DataError, match="country"):
        evaluate_run(run, slice_by="county", progress=lambda done, total: calls.append(done))
    assert not calls


def test_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(*["evaluate", str(run.directory), "--slice", "country", "--seen", "keep"]) == 0
    shown = capsys.readouterr().out
    assert "test, by country (U)" in shown
    assert "test, by time since the last interaction, in the log's unit (U)" in shown
    assert "markov NDCG@10" in shown
    assert "popularity NDCG@10" in shown
    row = next(line for line in shown.splitlines() if line.startswith("never in training"))
    assert row.split()[4] == "0"
    assert "none" in row
    assert run_main(*["evaluate", str(run.directory), "--slices", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["slices"]["values"]
    assert {value["by"] for value in values} == {"history", "popularity", "repeat", "time", "item", "user"}
    assert Metric("ndcg", 10).mean(run.ranks("test", "U").ranks) == pytest.approx(
        sum(
            value["targets"] * value["mean"]
            for value in values
            if (value["by"], value["system"], value["metric"]) == ("repeat", "markov", "NDCG@10")
            and value["targets"]
        )
        / 40
    )
