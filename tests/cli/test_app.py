"""Every command does what its help says, on a tiny log."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.cli.conftest import ODD, SMALL, Cli, write_log

from mclrec import Model, __version__
from mclrec.cli.terminal import _score_text
from mclrec.data.columns import Columns
from mclrec.data.datasets import dataset_names
from mclrec.data.origin import Reading
from mclrec.evaluation.significance import p_text

COMMANDS = (
    "train",
    "tune",
    "inspect",
    "prepare",
    "evaluate",
    "recommend",
    "export",
    "serve",
    "compare",
    "report",
    "reproduce",
    "convert",
    "models",
    "datasets",
    "demo",
)


def quoted(*ids: str) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(ids)
    return text.getvalue().strip()


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"mclrec {__version__}\n"
    alone, asked = cli(), cli("--help")
    assert alone == asked
    assert asked.status == 0
    assert all(name in asked.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_a_narrow_terminal(
    cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = cli(command, "-h")
    assert found.status == 0
    assert max(map(len, found.out.splitlines())) <= 80
    assert "…" not in found.out
    if command != "demo":
        assert "Examples:" in found.out


def test_module_runs_and_a_closed_pipe_is_no_error(world: Path) -> None:
    program = [sys.executable, "-m", "mclrec", "models", "mclrec"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""


# -------------------------------------------------------------------------------- train


def test_train_prints_its_metrics(cli: Cli, world: Path) -> None:
    found = cli("train", "log.csv", "--model", "sasrec", *SMALL, "--seed", 3)
    assert found.status == 0
    directory = Path("runs/log-sasrec-seed3")
    assert str(directory) in found.out.splitlines()[-1]
    lines = [line.split() for line in found.err.splitlines()]
    assert [line[0] for line in lines[:9]] == [
        *("log", "read", "dropped", "left", "histories", "popularity", "returns", "warning:", "recipe")
    ]
    assert [line[:3] for line in lines[-2:]] == [["train", "epoch", str(n)] for n in (1, 2)]
    config = json.loads((directory / "config.json").read_text())
    assert config["command"] == "mclrec train log.csv --model sasrec " + " ".join(SMALL) + " --seed 3"
    assert config["config"]["hidden_size"] == 8
    assert config["seed"] == 3
    assert cli("train", "log.csv", "--model", "markov", "--seed", 3, "-q").err.startswith(
        "warning: metrics are means"
    )
    assert (
        cli("train", "log.csv", "--model", "markov", "--seed", 3, "-q")
        .out.splitlines()[-1]
        .startswith("runs/log-markov-seed3-2")
    )


def test_train_reads_named_columns_without_time(cli: Cli, world: Path) -> None:
    text = Path("log.csv").read_text(encoding="utf-8").replace("user,item,time", "who,what,n", 1)
    Path("other.csv").write_text(text, encoding="utf-8")
    words = ["--user-column", "who", "--item-column", "what", "--file-order", "--min-count", 1]
    assert cli("train", "other.csv", *words, "--model", "markov", "--out", "r").status == 0
    about = json.loads(Path("r/config.json").read_text())["data"]
    columns = Columns(user="who", item="what", file_order=True)
    assert Reading.model_validate(about["reading"]) == Reading(min_count=1, columns=columns)
    # evaluate remembers the same columns, and recommend accepts their names.
    assert cli("evaluate", "r", "--json").status == 0
    named = ["--user-column", "who", "--item-column", "what", "--file-order"]
    assert cli("recommend", "r", "--users", "other.csv", *named, "--out", "r.parquet").status == 0


def test_recommend_says_that_users_return_to_items_that_it_leaves_out(cli: Cli, world: Path) -> None:
    Path("returns.csv").write_text(
        "user,item,time\n"
        + "".join(f"u{u},i{n % 3 if u % 2 else n},{n}\n" for u in range(8) for n in range(8)),
        encoding="utf-8",
    )
    assert cli("train", "returns.csv", "--model", "markov", "--min-count", 1, "--out", "r").status == 0
    asked = ("recommend", "r", "--history", "i0,i1", "--k", 1)
    assert cli(*asked).err == (
        "note: in this log, 50 % of next items are ones the user had before: --include-seen lists such items too\n"
    )
    assert cli(*asked, "--include-seen").err == cli(*asked, "--quiet").err == ""
    Path("r/intake.json").write_text("{", encoding="utf-8")
    assert cli(*asked) == (0, cli(*asked).out, "")
    assert (
        cli(
            "train", "returns.csv", "--model", "markov", "--min-count", 1, "--drop-repeats", "--out", "n"
        ).status
        == 0
    )
    assert cli("recommend", "n", *asked[2:]).err == ""


def test_train_starts_from_a_run(cli: Cli, world: Path) -> None:
    write_log(Path("newer.csv"), items=17, seed=1)
    words = ["train", "newer.csv", "--model", "sasrec", *SMALL, "--warm-start", "sasrec", "--out", "next"]
    assert cli(*words).status == 0
    assert json.loads(Path("next/config.json").read_text())["warm_start"] == "sasrec"


def test_resume_of_a_finished_run_changes_no_number(cli: Cli, world: Path) -> None:
    before = json.loads(Path("sasrec/metrics.json").read_text())["results"]["test"]["U"]["metrics"]
    words = ["train", world / "log.csv", "--model", "sasrec", *SMALL, "--out", "sasrec", "--resume"]
    assert cli(*words).status == 0
    config = json.loads(Path("sasrec/config.json").read_text())
    assert "--resume" not in config["command"]
    after = json.loads(Path("sasrec/metrics.json").read_text())["results"]["test"]["U"]["metrics"]
    assert after == before


# -------------------------------------------------------------------------------- evaluate, compare


@pytest.mark.parametrize(("seen", "label"), [("keep", "U"), ("drop", "F")])
def test_evaluate_repeats_the_numbers_of_training(cli: Cli, world: Path, seen: str, label: str) -> None:
    found = cli("evaluate", "sasrec", "--seen", seen, "--json")
    assert (found.status, found.err) == (0, "")
    result = json.loads(found.out)
    kept = json.loads(Path("sasrec/metrics.json").read_text())["results"]["test"][label]
    assert result | {"seconds": 0} == kept | {"seconds": 0}


def test_evaluate_prints_cuts_and_protocol(cli: Cli, world: Path) -> None:
    found = cli("evaluate", "sasrec", "--part", "validation", "--k", 1, "--k", 3)
    assert found.err == ""
    title, header, row, note, about = found.out.split("\n\n")[0].splitlines()
    assert title.rstrip() == "validation, history items kept as candidates (U)"  # many return in this log
    assert header.split()[:4] == ["HR@1", "HR@3", "NDCG@1", "NDCG@3"]
    assert row.split()[0] == "sasrec"
    assert note.startswith("Items that the user has had may be recommended again")
    assert about.startswith("U: validation targets")
    assert "F: validation targets" in found.out.split("\n\n")[1]
    assert Path("sasrec/ranks-validation-U.parquet").exists()
    alone = cli("evaluate", "sasrec", "--seen", "drop").out
    assert [line.split()[0] for line in alone.splitlines()[2:5]] == ["sasrec", "markov", "popularity"]
    assert "(U)" not in alone


def test_evaluate_accepts_moved_data(cli: Cli, world: Path) -> None:
    Path("log.csv").rename("moved.csv")
    assert cli("evaluate", "sasrec").status == 2
    assert cli("evaluate", "sasrec", "--data", "moved.csv").status == 0


def test_compare(cli: Cli, world: Path) -> None:
    found = cli("compare", "markov", "sasrec", "--seen", "drop", "--metric", "hr@5", "--json")
    assert found.err == ""
    first, second = json.loads(found.out)
    kept = json.loads(Path("sasrec/metrics.json").read_text())["results"]["test"]["F"]["metrics"]
    assert (first["system"], first["difference"], first["p"]) == ("markov", None, None)
    assert second["system"] == "sasrec"
    assert second["metrics"]["HR@5"] == kept["HR@5"]
    assert second["difference"] == pytest.approx(kept["HR@5"] - first["metrics"]["HR@5"])
    assert 0 < second["p"] == second["p_holm"] <= 1
    assert (second["baseline"], second["comparisons"], second["varies"]) == ("markov", 1, ["users"])
    below, above = second["difference_interval"]
    assert below <= second["difference"] <= above
    assert second["detectable"] > 0
    text = cli("compare", "markov", "sasrec", "--seen", "drop", "--metric", "hr@5").out
    title, header, _, row, baseline, claim, seeds, note = text.splitlines()
    assert title.rstrip() == "test, history items excluded (F)"
    assert "difference HR@5" in header
    assert row.split()[-1] == p_text(second["p"])
    low, high = second["interval"]
    assert f"{low:.4f} to {high:.4f}" in row
    assert low <= second["metrics"]["HR@5"] <= high
    assert baseline.split()[0] == "popularity"  # Markov is compared itself
    assert claim == f"{second['claim']}."
    assert (
        seeds == "One seed of sasrec: intervals and p reflect the sample of users only, not other trainings."
    )
    assert note.startswith("Items that the user has had are not recommended")
    both = cli("compare", "markov", "sasrec").out
    assert both.index("(U)") < both.index("(F)")
    assert "difference NDCG@10" in both
    assert "nan" not in both


# -------------------------------------------------------------------------------- recommend


def test_recommend_answers_as_the_model_does(cli: Cli, world: Path) -> None:
    history = ["i2", ODD[3], ODD[7]]
    expected = Model.load("sasrec").recommend(history, 4)
    found = cli("recommend", "sasrec", "--history", quoted(*history), "--k", 4, "--json", "-q")
    assert (found.status, found.err) == (0, "")
    assert json.loads(found.out) == [item._asdict() for item in expected]
    table = cli("recommend", "sasrec", "--history", quoted(*history), "--k", 4).out.splitlines()[1:]
    assert [line.split(maxsplit=1)[1].rsplit(maxsplit=1)[0] for line in table] == [
        item for item, _ in expected
    ]


def test_recommend_prints_ids_as_they_are(cli: Cli, world: Path) -> None:
    shown = cli("recommend", "sasrec", "--history", "i1", "--k", 14).out
    assert all(name in shown for name in ODD.values())


def test_recommend_drops_what_was_seen_unless_asked(cli: Cli, world: Path) -> None:
    def items(*words: object) -> set[str]:
        found = cli("recommend", "sasrec", "--history", "i1,i2,i4", "--json", *words)
        return {row["item"] for row in json.loads(found.out)}

    assert len(items("--k", 15)) == 12
    assert not {"i1", "i2", "i4"} & items("--k", 15)
    assert {"i1", "i2", "i4"} < items("--k", 15, "--include-seen")


def test_recommend_skips_unknown_items_and_says_so(cli: Cli, world: Path) -> None:
    found = cli("recommend", "sasrec", "--history", "i2,nothing,i4", "--json", "-q")
    assert found.err == "warning: item 'nothing' is not in the model's catalogue and is skipped\n"
    assert found.out == cli("recommend", "sasrec", "--history", "i2,i4", "--json").out


@pytest.mark.parametrize("history", ["", " , ", "nothing"])
def test_recommend_popular_items_to_nobody(cli: Cli, world: Path, history: str) -> None:
    found = cli("recommend", "sasrec", "--history", history, "--k", 3, "--json")
    assert found.status == 0
    assert found.err.endswith("warning: 1 history without a known item gets the popular items\n")
    counts = pq.read_table("sasrec/items.parquet").to_pydict()
    best = sorted(zip(counts["count"], counts["id"], strict=True), reverse=True)[:3]
    assert [row["score"] for row in json.loads(found.out)] == [count for count, _ in best]


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("recommend markov --users all", "log.csv"),
        ("recommend markov --users *.csv", "log.csv"),
        ("recommend markov --users . --allow a.csv", "a.csv"),
        ("recommend markov --users log.csv --items i.csv", "i.csv"),
        ("recommend markov --users log.csv --exclude i.csv", "i.csv"),
        ("recommend markov --users log.csv --allow i.csv", "i.csv"),
        ("recommend markov --users log.csv", "markov/items.parquet"),
        ("inspect log.csv", "log.csv"),
    ],
)
def test_no_output_replaces_what_the_command_reads(words: str, out: str, cli: Cli, world: Path) -> None:
    for name in ("i.csv", "a.csv"):
        Path(name).write_text("id,price\ni1,1\n")
    before = Path(out).read_bytes()
    found = cli(*words.split(), "--out", out)
    assert (found.status, Path(out).read_bytes()) == (2, before)
    assert f"{out}: is read by the same command, and would be lost; give another file" in found.err


def test_recommend_to_every_user_of_the_run(cli: Cli, world: Path) -> None:
    found = cli("recommend", "sasrec", "--users", "all", "--out", "all.parquet", "--k", 3)
    assert (found.status, found.out) == (0, "all.parquet: up to 3 items for each of 30 users\n")
    cli("recommend", "sasrec", "--users", "log.csv", "--out", "log.parquet", "--k", 3)
    found = cli("recommend", "sasrec", "--users", "log.csv", "--out", "log.parquet", "--k", 3, "--json")
    assert json.loads(found.out) == {"out": "log.parquet", "users": 40, "k": 3}
    everyone = {tuple(row.values()) for row in pq.read_table("log.parquet").to_pylist()}
    kept = {tuple(row.values()) for row in pq.read_table("all.parquet").to_pylist()}  # by the k-core
    assert len(kept) == 90
    assert {row[:3] for row in kept} < {row[:3] for row in everyone}
    Path("log.csv").unlink()
    found = cli("recommend", "sasrec", "--users", "all", "--out", "all.parquet")
    assert found.status == 2
    assert found.err.endswith("was trained on it: if it is elsewhere, give it as --users LOG\n")


def test_users_of_a_named_data_set_are_read_by_its_own_columns(cli: Cli, world: Path) -> None:
    found = cli("recommend", "markov", "--users", "complete-journey", "--out", "recs.csv", "--k", 3)
    assert (found.status, found.out) == (0, "recs.csv: up to 3 items for each of 2,447 users\n")


def test_export_vectors(cli: Cli, world: Path) -> None:
    found = cli("export", "sasrec", "--format", "vectors", "--users", "log.csv")
    assert (found.status, found.out) == (0, "sasrec/vectors: vectors written\n")
    assert pq.read_table("sasrec/vectors/items.parquet").num_rows == 15
    assert pq.read_table("sasrec/vectors/users.parquet").num_rows == 40
    assert "markov has no vectors" in cli("export", "markov").err
    assert "--users goes with --format vectors" in cli("export", "sasrec", "--users", "log.csv").err
    assert "unknown index 'x'" in cli("export", "sasrec", "--index", "x").err


def test_recommend_to_every_user_of_a_log(cli: Cli, world: Path) -> None:
    found = cli("recommend", "sasrec", "--users", "log.csv", "--out", "new/recs.parquet", "--k", 3, "-q")
    assert (found.status, found.err) == (0, "")
    assert found.out == "new/recs.parquet: up to 3 items for each of 40 users\n"
    assert [path.name for path in Path("new").iterdir()] == ["recs.parquet"]
    rows = pq.read_table("new/recs.parquet").to_pylist()
    assert len(rows) == 40 * 3
    with Path("log.csv").open(encoding="utf-8", newline="") as file:
        history = [row["item"] for row in csv.DictReader(file) if row["user"] == "u7"]
    expected = Model.load("sasrec").recommend(history, 3)
    own = [row for row in rows if row["user"] == "u7"]
    assert [(row["rank"], row["item"]) for row in own] == [
        (place, item) for place, (item, _) in enumerate(expected, start=1)
    ]
    assert [row["score"] for row in own] == pytest.approx([score for _, score in expected], abs=1e-5)


# -------------------------------------------------------------------------------- datasets


def test_datasets_are_listed(cli: Cli) -> None:
    lines = cli("datasets").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == dataset_names()
    assert lines[2].split()[1:4] == ["22,363", "12,101", "198,502"]


def test_sizes_of_a_log(cli: Cli, world: Path) -> None:
    (header, row) = cli("datasets", "complete-journey").out.splitlines()
    assert header.split() == ["data", "set", "#users", "#items", "#actions", "avg.length", "sparsity"]
    assert row.split() == ["complete-journey", "2447", "1509", "92285", "37.7", "97.50%"]
    groups = cli("datasets", "log.csv", "--groups").out.splitlines()
    assert groups[0].strip() == "log"
    assert [line.split()[0] for line in groups[2:]] == ["=5", "6-8", ">8"]


PAPER = {
    "beauty": ["22363", "12101", "198502", "8.9", "99.93%"],
    "sports": ["35598", "18357", "296337", "8.3", "99.95%"],
    "yelp": ["30431", "20033", "316354", "10.4", "99.95%"],
}
GROUPS = {
    "sports": [["11416", "18357", "57080"], ["14209", "18357", "95564"], ["9973", "18357", "143693"]],
    "yelp": [["8076", "20032", "40380"], ["11109", "20030", "75082"], ["11246", "20033", "200892"]],
}


@pytest.mark.parametrize("name", PAPER)
def test_sizes_are_those_of_the_paper(cli: Cli, name: str) -> None:
    found = cli("datasets", name)
    if "download failed" in found.err:
        pytest.skip(f"no {name} in MCLREC_DATA")
    assert found.out.splitlines()[1].split() == [name, *PAPER[name]]
    if name in GROUPS:
        rows = cli("datasets", name, "--groups").out.splitlines()[2:]
        assert [row.split()[1:4] for row in rows] == GROUPS[name]


@pytest.mark.parametrize("option", ["--datasets", "--models"])
def test_a_list_without_names_is_not_the_default(option: str, cli: Cli, world: Path) -> None:
    result = cli("reproduce", "table4", option, " , ", "--dry-run")
    assert result.status == 2
    assert "' , ' has no names; separate names by commas" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("train", ""),
        ("train", "log.csv", "--warm-start="),
        ("tune", "log.csv", "--storage", ""),
        ("prepare", "log.csv", "--out", " "),
        ("evaluate", ""),
        ("recommend", "sasrec", "--history", "i1", "--exclude", ""),
        ("export", "sasrec", "--out="),
        ("serve", "sasrec", "--host", ""),
        ("compare", "sasrec", ""),
        ("report", "sasrec", "--out", ""),
        ("reproduce", "table4", "--datasets", ""),
        ("models", ""),
        ("demo", "--out", ""),
    ],
    ids=" ".join,
)
def test_an_empty_word_is_refused(cli: Cli, world: Path, words: tuple[str, ...]) -> None:
    """An unset shell variable must mean neither the working directory nor a default."""
    before = sorted(path.name for path in world.iterdir())
    result = cli(*words)
    assert result.status == 2
    assert "is empty; give a value, or leave it out" in result.err
    assert sorted(path.name for path in world.iterdir()) == before


@pytest.mark.parametrize(
    ("score", "shown"),
    [(7.0959, "7.096"), (0.0, "0.000"), (0.123456, "0.123"), (-0.0123456, "-0.0123"), (3e-9, "3e-09")],
)
def test_a_score_is_short_but_not_zero(score: float, shown: str) -> None:
    assert _score_text(score) == shown
