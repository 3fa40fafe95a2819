"""Metrics beyond accuracy of a run: computed from its lists, beside the baselines, on the same targets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mclrec.cli import main
from mclrec.errors import ConfigError, DataError
from mclrec.evaluation.beyond_accuracy import coverage, repeat_share, vector_diversity
from mclrec.evaluation.further_metrics import MEASURES, FurtherMetrics
from mclrec.evaluation.protocol import load_ranks
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import load_model
from mclrec.runs import baselines
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.run import Run


@pytest.fixture
def trained(trained: Run, tmp_path: Path) -> Run:
    """A copy of the run, because evaluation writes ranks into it and other tests check the files of a training."""
    return Run(Path(shutil.copytree(trained.directory, tmp_path / "trained")))


def further(run: Run, **options: object) -> FurtherMetrics:
    found = evaluate_run(run, metrics="all", **options).further  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture
def categories(trained: Run, tmp_path: Path) -> Path:
    """A table with two categories of items: even and odd numbers."""
    path = tmp_path / "categories.csv"
    path.write_text(
        "item,category\n" + "".join(f"item {n:03d},{n % 2}\n" for n in range(1, 17)), encoding="utf-8"
    )
    return path


def test_values_are_those_of_the_lists_that_the_model_answers_with(trained: Run) -> None:
    found = further(trained, seen="drop", ks=(3,))
    assert (found.k, list(found.systems)) == (3, ["sasrec", "markov", "popularity"])
    result = evaluate_run(trained, seen="drop", ks=(3,))
    targets = result.targets
    histories = targets.histories(np.arange(len(targets)))
    ids, model = targets.data.item_ids, trained.model
    lists = np.array(
        [
            ids.dense_all(
                [one.item for one in model.recommend([ids[item] for item in history.tolist()], k=3)]
            )
            for history in (histories[row] for row in range(len(histories)))
        ]
    )
    own = found.systems["sasrec"]
    assert own["coverage"] == coverage(lists, targets.data.num_items)
    assert own["repeat_share"] == repeat_share(lists, histories) == 0
    loaded = load_model(trained.directory).model
    assert isinstance(loaded, VectorRecommender)
    vectors = loaded.items().weight.detach().numpy()
    assert own["vector_diversity"] == pytest.approx(vector_diversity(lists, vectors))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_popularity_recommends_the_same_to_everybody(trained: Run, part: str) -> None:
    found = further(trained, part=part)
    popularity = found.systems["popularity"]
    assert popularity["coverage"] == pytest.approx(10 / 15)
    assert popularity["gini"] == pytest.approx(1 - 10 / 15)
    lifts = [values["popularity_lift"] for values in (*found.systems.values(), found.targets)]
    assert max(lift for lift in lifts if lift is not None) == popularity["popularity_lift"]


def test_accuracy_alone_has_nothing_further_and_ranks_are_the_same(trained: Run) -> None:
    plain = evaluate_run(trained)
    ranks = (
        trained.directory / "ranks-test-U.parquet",
        load_ranks(trained.directory / "ranks-test-U.parquet"),
    )
    assert plain.further is None
    assert "further" not in plain.to_json()
    evaluate_run(trained, metrics="all")
    again = load_ranks(ranks[0])
    assert again.ranks.tolist() == ranks[1].ranks.tolist()
    assert "further" not in again.about


def test_categories_are_measured_and_told(trained: Run, categories: Path) -> None:
    found = further(trained, categories=categories)
    assert found.notes == (
        "2 categories for 15 of 15 items, from the column 'category'; 1 item of the table is not in the data",
    )
    for values in found.systems.values():
        assert values["category_diversity"] is not None
        assert values["miscalibration"] is not None
    without = further(trained)
    assert [measure.key for measure in found.measures] == [measure.key for measure in MEASURES]
    missing = {measure.key for measure in MEASURES} - {measure.key for measure in without.measures}
    assert missing == {"category_diversity", "miscalibration"}


def test_progress_ends_with_all(trained: Run) -> None:
    calls: list[tuple[int, int]] = []
    evaluate_run(trained, metrics="all", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (240, 240)  # 40 targets: ranks and lists of three systems


def test_baselines_that_would_take_long_are_left_out_and_told(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "_MOST_CELLS", 100)
    found = further(trained)
    assert list(found.systems) == ["sasrec"]
    assert found.notes[0].startswith("popularity and Markov were not measured: 40 targets among 15 items")


def test_what_cannot_be_right_is_refused_before_the_work(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="categories are used only for metrics beyond accuracy"):
        evaluate_run(trained, categories=tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="metrics"):
        evaluate_run(trained, metrics="every")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none\.csv: categories cannot be read: No such file"):
        evaluate_run(trained, metrics="all", categories=tmp_path / "none.csv")


def test_on_the_command_line(trained: Run, categories: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*more: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "evaluate",
                    str(trained.directory),
                    "--metrics",
                    "all",
                    "--categories",
                    str(categories),
                    *more,
                ]
            )
        assert ended.value.code == 0
        return capsys.readouterr().out

    printed = say()
    assert "test, what is in lists of 10 (U)" in printed
    assert "test, what is in lists of 10 (F)" in printed
    for measure in MEASURES:
        assert printed.count(f"\n{measure.title}: {measure.note}\n") == 1
    assert "2 categories for 15 of 15 items" in printed
    found = json.loads(say("--json"))["further"]
    assert found == further(trained, categories=categories).to_json()
