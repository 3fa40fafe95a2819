"""The Python interface, in the few lines that the README promises."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.helpers import tiny_data

import mclrec
from mclrec.errors import ConfigError, DataError

DATA = tiny_data()
SMALL: dict[str, Any] = {"hidden_size": 8, "inner_size": 8, "epochs": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mclrec.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return mclrec.train(DATA, "mclrec", out=out, seed=2, progress=False, beta=0.05, lambda_=0.2, **SMALL)


def test_everything_that_is_promised_exists() -> None:
    assert all(getattr(mclrec, name) is not None for name in mclrec.__all__)
    assert dir(mclrec) == mclrec.__all__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        mclrec.trian  # noqa: B018 - the access is the test


def test_a_handful_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        (DATA.user_ids[user + 1], DATA.item_ids[int(item)], place)
        for user in range(DATA.num_users)
        for place, item in enumerate(DATA.sequence(user))
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    data = mclrec.load(frame, min_count=1, name="frame")
    run = mclrec.train(data, model="mclrec", beta=0.05, progress=False, **SMALL)
    assert run.directory == Path("runs/frame-mclrec-seed1")
    assert 0 <= run.metrics["U"]["HR@10"] <= 1
    model = mclrec.Model.load(run.directory)
    found = model.recommend(["item 003", "item 004"], k=10)
    assert len({item for item, _ in found}) == 10
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_settings_reach_model_and_training(run: mclrec.Run) -> None:
    assert (run.info.config["beta"], run.info.config["lambda"]) == (0.05, 0.2)
    assert run.info.training["epochs"] == 2
    assert run.info.seed == 2
    assert "--set lambda=0.2" in run.info.command
    assert [record["epoch"] for record in run.history] == [1, 2]
    assert {"encoder/cl1", "encoder/cl2", "augmenters/cl2"} <= run.history[0]["losses"].keys()


def test_progress_is_on_the_error_stream_and_can_be_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for progress in (True, False):
        mclrec.train(DATA, "sasrec", out=tmp_path / str(progress), progress=progress, **SMALL)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("epoch   2" in err) == progress


def test_evaluate_and_compare(run: mclrec.Run, tmp_path: Path) -> None:
    DATA.save(tmp_path / "data")
    kept = json.loads((run.directory / "metrics.json").read_text())["results"]["test"]["F"]["metrics"]
    for data in (DATA, tmp_path / "data"):
        assert mclrec.evaluate(str(run.directory), seen="drop", data=data).metrics == kept
    with pytest.raises(DataError, match=r"give its place with data$"):
        mclrec.evaluate(run.directory)
    markov = mclrec.train(DATA, "markov", out=tmp_path / "markov")
    rows = mclrec.compare([markov.directory, run.directory], seen="drop")
    assert [row.label for row in rows] == ["markov", "mclrec"]
    assert rows[1].metrics["HR@10"] == kept["HR@10"]


def test_seeds_of_one_system_are_one_row(tmp_path: Path) -> None:
    runs = [
        mclrec.train(DATA, "sasrec", out=tmp_path / str(seed), seed=seed, progress=False, **SMALL)
        for seed in (1, 2)
    ]
    markov = mclrec.train(DATA, "markov", out=tmp_path / "markov")
    _, row = mclrec.compare([markov.directory, *(run.directory for run in runs)])
    assert row.seeds == (1, 2)
    means = [run.metrics["U"]["NDCG@10"] for run in runs]
    assert row.metrics["NDCG@10"] == pytest.approx(sum(means) / 2)
    assert means[0] != means[1]


def test_training_twice_gives_the_same_numbers(run: mclrec.Run, tmp_path: Path) -> None:
    again = mclrec.train(
        DATA, "mclrec", out=tmp_path / "again", seed=2, progress=False, beta=0.05, lambda_=0.2, **SMALL
    )
    assert again.metrics == run.metrics


def test_threads_share_a_model(run: mclrec.Run) -> None:
    model = run.model
    histories = [
        [str(DATA.item_ids[int(item)]) for item in DATA.sequence(user)] for user in range(DATA.num_users)
    ]
    alone = [model.recommend(history, k=3) for history in histories]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            together = list(pool.map(lambda history: model.recommend(history, k=3), histories))
            assert together == alone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "mclerc"}, "did you mean 'mclrec'"),
        ({"btea": 1}, "did you mean 'beta'"),
        ({"settings": {"epochs": 3}}, r"settings: each setting is a separate argument: give epochs=3"),
        ({"device": "tpu"}, "auto, cpu, cuda"),
        ({"split": "times"}, "did you mean 'time'"),
    ],
)
def test_mistakes_are_told(words: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        mclrec.train(DATA, **{"out": tmp_path / "new", "progress": False, **words})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"recipe": 3}, "recipe = 3: should be"),
        ({"recipe": {"mclrec": 3}}, "recipe of mclrec = 3: should be a string"),
        ({"datasets": []}, "datasets: the list is empty"),
        ({"models": ["sasrec", "sasrec"]}, "models: sasrec is given twice"),
    ],
)
def test_mistakes_about_a_campaign_are_told(words: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        mclrec.reproduce("table3", out=tmp_path / "new", **{"datasets": ["complete-journey"], **words})
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_reproduce_as_a_data_frame_and_report(tmp_path: Path) -> None:
    DATA.save(tmp_path / "data")
    found = mclrec.reproduce(
        "table3", datasets=[str(tmp_path / "data")], models=["markov", "popularity"], out=tmp_path / "out"
    )
    frame = found.frame().to_pandas()
    assert set(frame["target"]) == {"table3"}
    assert {"markov", "popularity"} <= set(frame["row"])
    assert set(frame["protocol"]) == {"U", "F"}
    assert found.progress.complete
    assert "markov" in mclrec.write_report(tmp_path / "out").read_text()
    with pytest.raises(ConfigError, match="directory of a run"):
        mclrec.write_report()
