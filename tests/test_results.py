"""Published pages agree with the files that they are made from."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import tiny_data, write_log

import mclrec
from mclrec.data.datasets import _DATASETS, is_dataset, register_dataset
from mclrec.errors import MclrecWarning
from mclrec.experiments.reproduction import reproduce
from mclrec.experiments.target import Scope
from mclrec.files import sha256_file
from mclrec.runs.final import finalize
from mclrec.runs.request import TrainRequest
from mclrec.runs.saved_settings import has_settings_of
from mclrec.runs.training_run import train
from scripts import publish, row_identity
from scripts.campaign_files import check_replaced, publish_campaign
from scripts.publish import figures, main, outdated, outdated_figures, pages
from scripts.results_page import reproduce_command, summary
from scripts.row_commands import decided_command, portable_command, recipe_of
from scripts.row_identity import NotPublishableError
from scripts.run_files import publish_run

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
    with pytest.raises(SystemExit, match=r"docs/results/yelp\.md: not what results/ gives"):
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
    validated = [
        next(iter(epoch.values())) for epoch in result["validation"] if epoch
    ]  # pre-training has none
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
    assert {"config", "training"} <= run.keys()
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
    assert all({"config", "training"} <= run.keys() for run in found["runs"].values())
    assert {row["row"] for row in found["measurements"]} == {"markov"}
    assert "Partial: 1 run not done." in json.dumps(found["sheets"])
    with pytest.warns(MclrecWarning, match="its tables had markov too and are replaced"):
        reproduce("table3", Scope(("complete-journey",), models=("recency",)), place)
    with pytest.raises(
        NotPublishableError,
        match=r"table3-complete-journey\.json: is published with 1 row more, such as markov",
    ):
        publish_campaign(place, tmp_path / "results")
    models = ("markov", "recency")
    reproduce("table3", Scope(("complete-journey",), models=models, settings={"max_length": 9}), place)
    with pytest.raises(NotPublishableError, match=r"is published with settings {}, not {'max_length': 9}"):
        publish_campaign(place, tmp_path / "results")
    reproduce("table3", Scope(("complete-journey",), models=models), place)
    assert publish_campaign(place, tmp_path / "results") == [path]
    with pytest.raises(SystemExit):
        main(["--unfinished"])
    assert "--unfinished needs --campaign" in capsys.readouterr().err


def test_a_campaign_is_refused_where_its_data_or_recipe_have_no_name(tmp_path: Path) -> None:
    log = write_log(tmp_path / "beauty.csv", tiny_data())
    for scope, said in (
        (Scope((str(log),), models=("popularity",)), "is not a named data set"),
        (
            Scope(("complete-journey",), models=("popularity",), recipe=str(recipe_file(tmp_path))),
            "is a file",
        ),
    ):
        place = tmp_path / said[-4:]
        reproduce("table3", scope, place)
        with pytest.raises(NotPublishableError, match=said):
            publish_campaign(place, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def recipe_file(folder: Path) -> Path:
    path = folder / "my.toml"
    path.write_text('source = "mine"\n')
    return path


ENCODERS = json.loads((ROOT / "results" / "campaigns" / "encoders-beauty-auto.json").read_text()) | {
    "missing": 0
}


def changed(**scope: Any) -> dict[str, Any]:
    return {**ENCODERS, "scope": ENCODERS["scope"] | scope}


OTHER_DATA = {"name": "beauty", "fingerprint": "0" * 64}


@pytest.mark.parametrize(
    ("campaign", "said"),
    [
        (changed(models=["cl4srec", "duorec", "mclrec"]), None),
        (changed(models=[]), None),
        (
            {
                **ENCODERS,
                "measurements": [*ENCODERS["measurements"], {**ENCODERS["measurements"][0], "row": "new"}],
            },
            None,
        ),
        (changed(models=["cl4srec"]), "1 model more, such as mclrec"),
        (changed(recipe={"mclrec": "auto"}), "recipe auto, not {'mclrec': 'auto'}"),
        (changed(settings={"epochs": 3}), "settings {}, not {'epochs': 3}"),
        ({**ENCODERS, "runs": {"a": {"data": OTHER_DATA}}}, "other data of the name beauty"),
        ({**ENCODERS, "measurements": ENCODERS["measurements"][:-16]}, "16 values more"),
        (
            {**ENCODERS, "measurements": [{**row, "seeds": []} for row in ENCODERS["measurements"]]},
            "values more, such as .* with seed 1",
        ),
    ],
)
def test_a_published_campaign_is_replaced_only_by_one_that_has_all_of_it(
    campaign: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "encoders-beauty-auto.json"
    path.write_text(json.dumps(ENCODERS))
    if said is None:
        check_replaced(path, campaign)
    else:
        with pytest.raises(NotPublishableError, match=said):
            check_replaced(path, campaign)


def published() -> list[dict[str, Any]]:
    """The record of each published run, including those of campaigns."""
    campaigns = [
        json.loads(path.read_text()) for path in sorted((ROOT / "results" / "campaigns").glob("*.json"))
    ]
    runs = [json.loads(path.read_text()) for path in FILES]
    return runs + [run for campaign in campaigns for run in campaign["runs"].values()]


@pytest.mark.parametrize("record", published(), ids=lambda record: record["command"])
def test_a_published_command_still_trains_by_the_published_settings(record: dict[str, Any]) -> None:
    recipe = recipe_of(record)
    if "config" not in record:  # campaigns of earlier versions record only the command
        return
    now = recipe.config.model_dump(mode="json", by_alias=True)
    saved = record["config"]
    common = now.keys() & saved.keys()
    assert common or not now
    assert {key: now[key] for key in common} == {key: saved[key] for key in common}


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
        (
            "mclrec train beauty --recipe sequences  # on users with 5 to 5 interactions",
            " --set precision=bf16  # on users with 5 to 5 interactions",
        ),
        ("mclrec train 'my  # beauty.csv' --recipe sequences", " --set precision=bf16"),
    ],
)
def test_a_published_command_says_what_was_decided_by_the_machine(command: str, expected: str | None) -> None:
    decided = decided_command(command, {"training": {"precision": "bf16"}})
    if expected is None:
        assert decided == command.replace("auto", "bf16")
    else:
        line = command.removesuffix(" --out runs/a").removesuffix("  # on users with 5 to 5 interactions")
        assert decided == line + expected


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
        ("/my/Beauty.txt", beauty, "", "Beauty.txt"),  # by name, another recipe would be used
    ):
        info: Any = SimpleNamespace(place=place, fingerprint=fingerprint)
        trained = portable_command(f"mclrec train {shlex.quote(place)}{more} --out /mnt/b", "b", info)
        assert trained == f"mclrec train {expected}{more} --out runs/b"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that is registered as the data set `tiny`."""
    log = write_log(tmp_path / "tiny.csv", tiny_data())
    registered(monkeypatch, "tiny", log)
    return log


def registered(monkeypatch: pytest.MonkeyPatch, name: str, log: Path) -> None:
    monkeypatch.setattr("mclrec.data.datasets._DATASETS", dict(_DATASETS))
    fingerprint = mclrec.load(log).fingerprint
    register_dataset(name, address=log, sha256=sha256_file(log), fingerprint=fingerprint, auto=True)


def trained(log: Any, out: Path, model: str = "popularity", **request: Any) -> Path:
    return train(TrainRequest(log, model, out=out, **request)).directory


def test_a_published_run_names_no_folder_of_the_machine_that_ran_it(named: Path, tmp_path: Path) -> None:
    run = trained(named, tmp_path / "run")
    assert str(tmp_path) not in publish_run(run, tmp_path).read_text(encoding="utf-8")


SETTINGS = {"epochs": 1, "hidden_size": 4}


def test_runs_of_one_name_have_the_same_settings(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_sasrec(seed: int, dropout: float) -> Path:
        settings, place = SETTINGS | {"dropout": dropout}, tmp_path / f"run-{seed}-{dropout}"
        return trained(named, place, "sasrec", seed=seed, settings=settings)

    with monkeypatch.context() as patched:
        patched.setattr(row_identity, "_check_section", lambda run: None)
        first = publish_run(of_sasrec(1, 0.5), tmp_path)
    assert publish_run(of_sasrec(2, 0.5), tmp_path) != first
    for seed in (1, 3):
        with pytest.raises(
            NotPublishableError,
            match=r"dropout = 0\.4, in tiny-sasrec-auto-seed1\.json 0\.5: .* give these a section",
        ):
            publish_run(of_sasrec(seed, 0.4), tmp_path)
    first.unlink()
    (tmp_path / "tiny-sasrec-auto-seed2.json").unlink()
    with pytest.raises(
        NotPublishableError, match=r"not trained with the settings of the section auto: .* = "
    ):
        publish_run(of_sasrec(4, 0.4), tmp_path)


def refused_runs(log: Path, folder: Path) -> dict[str, Path]:
    """Runs that cannot be published as rows, keyed by a pattern of the refusal."""
    (folder / "other").mkdir()
    other = write_log(folder / "other" / "tiny.csv", tiny_data(seed=7))
    renamed = write_log(folder / "Tiny-2.csv", tiny_data())
    private = write_log(folder / "private.csv", tiny_data(seed=7))
    recipe = folder / "my.toml"
    recipe.write_text('source = "mine"\n[training]\nepochs = 1\n')
    first = trained(log, folder / "first", "sasrec", settings=SETTINGS)
    return {
        "'tiny' are not those of the data set": trained(other, folder / "a"),
        "'Tiny-2' are those of tiny": trained(renamed, folder / "b"),
        "'private' are not a named data set": trained(private, folder / "c"),
        "its split is time": trained(log, folder / "d", split="time"),
        "rows are trained from scratch": trained(
            log, folder / "e", "sasrec", settings=SETTINGS, warm_start=first
        ),
        r"my\.toml' is not a section": trained(log, folder / "f", "sasrec", recipe=recipe),
        "is a final model": finalize(trained(log, folder / "g"), out=folder / "h", progress=False).directory,
        "no such model directory": folder / "nothing",
    }


def test_what_is_no_row_is_refused_and_leaves_everything_as_it_was(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "results", tmp_path / "site" / "results")
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "site" / "docs" / "results")
    for name, path in (("RESULTS", "results"), ("DOCS", "docs"), ("FIRST_PAGE", "README.md")):
        monkeypatch.setattr(publish, name, tmp_path / "site" / path)
    (tmp_path / "site" / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    before = contents(tmp_path / "site")
    good = trained(named, tmp_path / "good")
    for said, run in refused_runs(named, tmp_path).items():
        for words in (
            [str(good), str(run)],
            ["--weights", str(tmp_path / "w"), "--address", "https://a.b", str(run)],
        ):
            with pytest.raises(SystemExit, match=rf"error: .*{said}"):
                main(words)
    for campaign in ("nothing", "good"):
        with pytest.raises(SystemExit, match=r"error: .*neither a run nor an output of `mclrec reproduce`"):
            main(["--campaign", str(tmp_path / campaign), str(good)])
    assert contents(tmp_path / "site") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
