"""Published pages agree with the files that they are made from."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.data.datasets import is_dataset
from mclrec.experiments.reproduction import reproduce
from mclrec.experiments.target import Scope
from mclrec.runs.request import TrainRequest
from mclrec.runs.saved_settings import has_settings_of
from mclrec.runs.training_run import train
from scripts.publish import figures, main, outdated, outdated_figures, pages, publish_campaign, publish_run
from scripts.results_page import reproduce_command, summary
from scripts.row_commands import decided_command, portable_command, recipe_of

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "results").glob("*.json"))


def test_the_pages_are_made_from_the_files() -> None:
    made = pages()
    assert outdated(made) == [], "run: python -m scripts.publish"
    text = "".join(made.values())
    for path in [*FILES, *(ROOT / "results" / "campaigns").glob("*.json")]:
        assert f"/{path.relative_to(ROOT)})" in text
    assert len(summary(ROOT / "results").splitlines()) > 13


def test_links_of_the_pages_lead_to_files_and_headings() -> None:
    for page, text in pages().items():
        for address in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / address).exists(), (page.name, address)
    overview = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    headings = {
        line[4:].lower().replace(" ", "-") for line in overview.splitlines() if line.startswith("### ")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", overview)) == headings


def test_a_check_names_pages_that_differ_or_are_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--check"])
    made = pages()
    page = next(path for path in made if path.name == "yelp.md")
    assert outdated({**made, page: made[page] + "typed by hand"}) == [page]
    assert outdated({path: text for path, text in made.items() if path != page}) == [page]
    assert outdated({**made, tmp_path / "new.md": ""}) == [tmp_path / "new.md"]
    monkeypatch.setattr("scripts.publish.pages", lambda: {**made, page: ""})
    with pytest.raises(SystemExit, match=r"docs/results/yelp\.md: not what results/ makes"):
        main(["--check"])
    with pytest.raises(SystemExit):
        main(["--check", "--campaign", "runs/reproduce"])
    assert "--check publishes nothing" in capsys.readouterr().err


def test_pictures_are_drawn_from_the_numbers_of_their_campaign(tmp_path: Path) -> None:
    made = figures()
    assert outdated_figures(made) == [], "run: python -m scripts.publish"
    shown = re.findall(r"\]\(figures/([^)]+)\)", "".join(pages().values()))
    assert sorted(shown) == sorted(path.name for path in made)
    for path, picture in made.items():
        numbers = [{**row, "seed": 5} for row in picture.campaign["clouds"]]
        rows = [{**row, "mean": row["mean"] / 2} for row in picture.campaign["measurements"]]
        other = replace(picture, campaign={**picture.campaign, "measurements": rows, "clouds": numbers})
        assert outdated_figures({**made, path: other}) == [path]
    assert outdated_figures({**made, tmp_path / "new.svg": picture}) == [tmp_path / "new.svg"]
    assert outdated_figures({name: picture for name, picture in made.items() if name != path}) == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("figure3-beauty-sequences-hr20-u", ["HR@20 (U)", "MCLRec-J"]),
        ("figure5-beauty-sequences", ["h1", "beauty, MCLRec-J"]),
        ("figure7-beauty-recipes-ndcg20-f", ["NDCG@20 (F)", "srma"]),
    ],
)
def test_a_picture_shows_the_rows_of_its_campaign(name: str, words: list[str]) -> None:
    [picture] = [picture for path, picture in figures().items() if path.stem == name]
    text = picture.svg()
    assert all(f">{word}</" in text for word in words)
    assert text == picture.svg()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_result_says_what_it_depends_on(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["status"] == "finished"
    assert result["command"].startswith("mclrec train ")
    assert is_dataset(result["data"]["name"])
    assert len(result["data"]["fingerprint"]) == 64
    assert result["versions"].keys() >= {"mclrec", "python", "torch"}
    assert result["test"].keys() == {"U", "F"}
    validated = [next(iter(epoch.values())) for epoch in result["validation"] if epoch]  # pre-training is not
    assert result["best_epoch"] == (validated.index(max(validated)) + 1 if validated else 0)


def test_the_command_of_a_campaign_has_all_of_its_scope() -> None:
    scope = {"datasets": ["beauty", "my log.csv"], "models": ["sasrec", "mclrec"], "seeds": 3, "points": 4}
    scope |= {
        "settings": {"precision": "auto", "shared_augmenter": True},
        "recipe": {"mclrec": "sequences", "sasrec": "bce"},
    }
    assert reproduce_command("figure7", scope) == (
        "mclrec reproduce figure7 --datasets 'beauty,my log.csv' --models sasrec,mclrec --seeds 3 "
        "--recipe mclrec=sequences,sasrec=bce --points 4 --set precision=auto --set shared_augmenter=true"
    )
    earlier = {"datasets": ["beauty"], "models": [], "seeds": 1, "settings": {}}
    assert reproduce_command("table4", earlier) == "mclrec reproduce table4 --datasets beauty --seeds 1"


@pytest.mark.slow
def test_a_campaign_is_published_but_for_targets_that_are_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope = Scope(("complete-journey",), models=("markov",))
    reproduce("table3", scope, tmp_path / "campaign")
    reproduce("figure4", Scope(scope.datasets), tmp_path / "campaign", minutes=0)
    [path] = publish_campaign(tmp_path / "campaign", tmp_path / "results")
    assert path.name == "table3-complete-journey.json"
    [run] = json.loads(path.read_text(encoding="utf-8"))["runs"].values()
    assert run["command"].startswith("mclrec train complete-journey --model markov")
    assert "figure4 lacks " in capsys.readouterr().err


def test_a_campaign_that_is_not_finished_is_published_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "campaign"
    reproduce("table3", Scope(("complete-journey",), models=("markov",)), place)
    reproduce("table3", Scope(("complete-journey",), models=("markov", "bpr")), place, minutes=0)
    assert publish_campaign(place, tmp_path / "results") == []
    assert "table3 lacks 1 run\n" in capsys.readouterr().err
    [path] = publish_campaign(place, tmp_path / "results", unfinished=True)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["missing"] == 1
    assert {row["row"] for row in found["measurements"]} == {"markov"}
    assert "Partial: 1 run not done." in json.dumps(found["sheets"])
    reproduce("table3", Scope(("complete-journey",), models=("recency",)), place)
    with pytest.raises(
        SystemExit, match=r"table3-complete-journey\.json: is published with 1 row more, such as markov"
    ):
        publish_campaign(place, tmp_path / "results")
    models = ("markov", "recency")
    reproduce("table3", Scope(("complete-journey",), models=models, settings={"max_length": 9}), place)
    with pytest.raises(SystemExit, match=r"is published with settings {}, not {'max_length': 9}"):
        publish_campaign(place, tmp_path / "results")
    reproduce("table3", Scope(("complete-journey",), models=models), place)
    assert publish_campaign(place, tmp_path / "results") == [path]
    with pytest.raises(SystemExit):
        main(["--unfinished"])
    assert "goes with --campaign" in capsys.readouterr().err


def published() -> list[dict[str, Any]]:
    """The record of each published run, those of campaigns too."""
    campaigns = [
        json.loads(path.read_text()) for path in sorted((ROOT / "results" / "campaigns").glob("*.json"))
    ]
    runs = [json.loads(path.read_text()) for path in FILES]
    return runs + [run for campaign in campaigns for run in campaign["runs"].values()]


@pytest.mark.parametrize("record", published(), ids=lambda record: record["command"])
def test_a_published_command_still_trains_by_the_published_settings(record: dict[str, Any]) -> None:
    recipe = recipe_of(record)
    now = recipe.config.model_dump(mode="json", by_alias=True)
    saved = record.get("config", {})
    assert {key: now[key] for key in now if key in saved} == {key: saved[key] for key in now if key in saved}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("bf16", [False, True], ids=["quicker in fp32", "quicker in bf16"])
def test_a_published_run_is_found_again_by_its_command_on_every_machine(
    path: Path, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    monkeypatch.setattr("mclrec.training.config.quicker_in_bf16", lambda device: bf16)
    recipe = recipe_of(result)
    saved = (result["config"], result["training"], result["device"])
    assert has_settings_of(recipe, *saved)
    other = replace(recipe, training=recipe.training.model_copy(update={"batch_size": 7}))
    assert not has_settings_of(other, *saved)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("mclrec train beauty --recipe sequences --out runs/a", " --set precision=bf16 --out runs/a"),
        ("mclrec train beauty --recipe sequences", " --set precision=bf16"),
        ("mclrec train beauty --set precision=auto --set epochs=3", None),
        ("mclrec train beauty --recipe sequences --set precision=fp32", ""),
        ("mclrec train beauty --model markov", ""),
        ("mclrec train beauty", ""),  # its own recipe is the paper's, in fp32
    ],
)
def test_a_published_command_says_what_was_decided_by_the_machine(command: str, expected: str | None) -> None:
    decided = decided_command(command, {"training": {"precision": "bf16"}})
    if expected is None:
        assert decided == command.replace("auto", "bf16")
    else:
        assert decided == command.removesuffix(" --out runs/a") + expected


def test_a_published_command_names_no_folder_of_the_machine_that_ran_it() -> None:
    command = portable_command(
        "mclrec train beauty --out '/mnt/my runs/a' --set lambda=0.1", "beauty-mclrec-seed1"
    )
    assert command == "mclrec train beauty --out runs/beauty-mclrec-seed1 --set lambda=0.1"
    assert portable_command("mclrec train beauty --seed 1", "any") == "mclrec train beauty --seed 1"
    beauty = "e6116fa4e0bec9c1a2a9616dd4948f045dd921a92c869a551fd4a0233d25e41d"
    for place, fingerprint, more, expected in (
        ("/my data/a.csv", "0" * 64, "", "a.csv"),
        ("https://host/log.csv", "0" * 64, "", "https://host/log.csv"),
        ("beauty", beauty, "", "beauty"),
        ("/my/Beauty.txt", beauty, " --recipe auto", "beauty"),
        ("/my/Beauty.txt", beauty, "", "Beauty.txt"),  # by its name it would be trained by another recipe
    ):
        info: Any = SimpleNamespace(place=place, fingerprint=fingerprint)
        trained = portable_command(f"mclrec train {shlex.quote(place)}{more} --out /mnt/b", "b", info)
        assert trained == f"mclrec train {expected}{more} --out runs/b"


def test_a_published_run_names_no_folder_of_the_machine_that_ran_it(tmp_path: Path) -> None:
    log = write_log(tmp_path / "tiny.csv", tiny_data())
    run = train(TrainRequest(log, "popularity", out=tmp_path / "run")).directory
    assert str(tmp_path) not in publish_run(run, tmp_path).read_text(encoding="utf-8")


def test_runs_of_one_name_have_the_same_settings(tmp_path: Path) -> None:
    def trained(seed: int, dropout: float) -> Path:
        log = write_log(tmp_path / "tiny.csv", tiny_data())
        settings = {"epochs": 1, "hidden_size": 4, "dropout": dropout}
        place = tmp_path / f"run-{seed}-{dropout}"
        return train(TrainRequest(log, "sasrec", seed=seed, settings=settings, out=place)).directory

    first = publish_run(trained(1, 0.5), tmp_path)
    assert publish_run(trained(2, 0.5), tmp_path) != first
    for seed in (1, 3):
        with pytest.raises(
            SystemExit, match=r"dropout = 0\.4, in tiny-sasrec-auto-seed1\.json 0\.5: .* give these a section"
        ):
            publish_run(trained(seed, 0.4), tmp_path)
    first.unlink()
    (tmp_path / "tiny-sasrec-auto-seed2.json").unlink()
    publish_run(trained(4, 0.4), tmp_path)
