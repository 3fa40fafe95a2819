"""The leaderboard: generation from the published files, its rows and sort keys, and what is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from tests.helpers import tiny_data

from mclrec.data.split import make_split
from mclrec.errors import DataError
from mclrec.evaluation.metrics import MISS, summarise
from mclrec.json_files import write_json
from scripts.leaderboard import BoardRow, board_rows, leaderboard
from scripts.publish import DOCS, RESULTS, pages
from scripts.rank_files import TargetSet, write_ranks
from scripts.results_page import METRICS
from scripts.submissions import FOLDER

LEADERBOARD = DOCS / "leaderboard.html"
SPLIT = make_split(tiny_data(), "leave-one-out")
TARGETS = TargetSet.of(SPLIT)
RULE = "leave-one-out"
HOSTILE = "<script>alert(1)</script> & \"x\" 'y'"


class Table(HTMLParser):
    """Parser of the page's table: attributes of each row, and attributes and text of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.rows: list[tuple[dict[str, str | None], list[tuple[dict[str, str | None], str]]]] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self._inside = {"thead": "head", "tbody": "body"}.get(tag, self._inside)
        if tag == "a":
            self.links.append(str(found["href"]))
        elif self._inside == "head" and tag == "th":
            self.heads.append("")
        elif self._inside == "body" and tag == "tr":
            self.rows.append((found, []))
        elif self._inside == "body" and tag in ("td", "th"):
            self.rows[-1][1].append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("thead", "tbody"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "head" and self.heads:
            self.heads[-1] += data.strip()
        elif self._inside == "body" and self.rows and self.rows[-1][1]:
            attributes, text = self.rows[-1][1].pop()
            self.rows[-1][1].append((attributes, text + data.strip()))


def random_ranks(seed: int, missing: float = 0.3) -> Any:
    rng = np.random.default_rng(seed)
    ranks = rng.integers(1, TARGETS.items, size=TARGETS.targets, endpoint=True)
    return np.where(rng.random(len(ranks)) < missing, MISS, ranks)


def write_targets(folder: Path, name: str = "tiny") -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in TARGETS.model_dump().items()]
    (folder / "targets.toml").write_text("\n".join([f'[{json.dumps(name)}."{RULE}"]', *lines]))


def write_run(folder: Path, model: str, seed: int, **changes: Any) -> dict[str, Any]:
    """Write a published run on tiny data, with metrics of random ranks under both protocols, and return its record."""
    ranks = random_ranks(seed)
    record = {
        "model": model,
        "command": f"mclrec train tiny --model {model} --seed {seed}",
        "seed": seed,
        "split": RULE,
        "recipe": {"section": "default", "source": "ours"},
        "config": {"unit": "sequences", "loss": "softmax"},
        "data": {"name": "tiny", "fingerprint": TARGETS.fingerprint},
        "training_seconds": 90.0,
        "threads": 2,
        "device": "cpu",
        "test": {label: summarise(ranks) for label in ("U", "F")},
        **changes,
    }
    write_json(folder / f"{record['data']['name']}-{model}-seed{seed}.json", record)
    return record


def write_submission(
    folder: Path, stem: str = "theirs", *, seed: int = 7, ranks: Any = None, **changes: Any
) -> Path:
    """Write a submission that passes the checks except for the changes."""
    (folder / FOLDER).mkdir(exist_ok=True)
    ranks = random_ranks(seed) if ranks is None else ranks
    write_ranks(folder / FOLDER / f"{stem}.parquet", SPLIT.test, ranks)
    record = {
        "system": "Theirs",
        "data": "tiny",
        "fingerprint": TARGETS.fingerprint,
        "protocol": "U",
        "link": "https://example.org/theirs",
        "trainings": [{"ranks": f"{stem}.parquet", "seed": 1, "core_minutes": 4.5}],
        "metrics": {"HR@10": summarise(ranks)["HR@10"]},
        **changes,
    }
    path = folder / FOLDER / f"{stem}.json"
    write_json(path, record)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_targets(tmp_path)
    for seed in (1, 2):
        write_run(tmp_path, "sasrec", seed)
    write_run(tmp_path, "markov", 1, config={}, training_seconds=0.0)
    return tmp_path


def rows_of(folder: Path, system: str, protocol: str = "U") -> BoardRow:
    [found] = [row for row in board_rows(folder) if (row.system, row.protocol) == (system, protocol)]
    return found


def test_the_page_is_made_from_the_files() -> None:
    assert LEADERBOARD.read_text(encoding="utf-8") == leaderboard(RESULTS), "run: python -m scripts.publish"


def test_every_file_is_behind_a_row_and_every_link_leads_to_a_file() -> None:
    links = Table(LEADERBOARD.read_text(encoding="utf-8")).links
    ours = [link for link in links if link.startswith("../results/")]
    assert {f"../results/{path.name}" for path in RESULTS.glob("*.json")} <= set(ours)
    assert [link for link in ours if not (LEADERBOARD.parent / link).exists()] == []


def test_the_page_loads_nothing() -> None:
    text = LEADERBOARD.read_text(encoding="utf-8")
    assert not re.search(r"<(link|img|iframe|object|script\s)|@import|url\(|fetch\(|\bsrc=", text)


def test_the_check_of_the_pages_holds_it_too() -> None:
    assert LEADERBOARD in pages()


def test_seeds_of_a_system_are_one_row(folder: Path) -> None:
    row = rows_of(folder, "sasrec")
    assert (row.seeds, row.interval, row.minutes) == ((1, 2), "2 seeds", 3.0)
    both = [summarise(random_ranks(seed))["NDCG@10"] for seed in (1, 2)]
    value = row.values["NDCG@10"]
    assert value.mean == pytest.approx(np.mean(both))
    assert (value.low, value.high) == (min(both), max(both))
    counted = rows_of(folder, "markov")
    assert (counted.seeds, counted.interval, counted.values["HR@5"].low) == ((), "none", None)


def test_ranks_beside_runs_give_intervals_over_users(folder: Path) -> None:
    (folder / "ranks").mkdir()
    for seed in (1, 2):
        write_ranks(folder / "ranks" / f"tiny-sasrec-seed{seed}-U.parquet", SPLIT.test, random_ranks(seed))
    row = rows_of(folder, "sasrec")
    assert row.interval == "bootstrap"
    value = row.values["HR@10"]
    assert value.low is not None
    assert value.high is not None
    assert value.low < value.mean < value.high
    assert [file.place for file in row.files][-1] == "ranks/tiny-sasrec-seed2-U.parquet"
    assert rows_of(folder, "sasrec", "F").interval == "2 seeds"


def test_ranks_of_another_run_are_refused(folder: Path) -> None:
    (folder / "ranks").mkdir()
    write_ranks(folder / "ranks" / "tiny-markov-seed1-U.parquet", SPLIT.test, random_ranks(99))
    with pytest.raises(
        DataError, match=r"tiny-markov-seed1-U.parquet: gives HR@\d+ .*, but tiny-markov-seed1"
    ):
        board_rows(folder)


def test_another_training_than_the_papers_is_said(folder: Path) -> None:
    write_run(folder, "mclrec", 1, config={"unit": "prefixes", "loss": "softmax"})
    write_run(folder, "caser", 1, config={})
    assert rows_of(folder, "sasrec").otherwise == "sequences, bce"
    assert rows_of(folder, "mclrec").otherwise == rows_of(folder, "markov").otherwise == ""
    caser = rows_of(folder, "caser")  # has only one kind of training, the paper's
    assert (caser.examples, caser.loss, caser.otherwise) == ("windows", "bce", "")
    assert "paper: sequences, bce" in leaderboard(folder)


def test_the_papers_value_is_shown_under_its_protocol_alone(tmp_path: Path) -> None:
    for model in ("sasrec", "mclrec"):
        write_run(tmp_path, model, 1, data={"name": "beauty"}, recipe={"section": "beauty"})
    assert rows_of(tmp_path, "mclrec", "U").paper["HR@20"] == 0.1243
    assert rows_of(tmp_path, "mclrec", "F").paper == rows_of(tmp_path, "sasrec", "U").paper == {}
    assert rows_of(tmp_path, "sasrec", "F").paper.keys() == {"HR@20", "NDCG@20"}


def test_cells_have_keys_by_which_they_are_sorted(folder: Path) -> None:
    ranks = np.where(random_ranks(7) <= 10, random_ranks(7), MISS)
    write_submission(folder, ranks=ranks, list_length=10)
    table = Table(leaderboard(folder))
    assert len(table.heads) == len(set(table.heads)) == 3 + len(METRICS) + 2 + 4 + 2
    for _, cells in table.rows:
        assert len(cells) == len(table.heads)
    for place, head in enumerate(table.heads):
        keyed = [cells[place][0].get("data-number") for _, cells in table.rows]
        assert all(key is None for key in keyed) or all(key is not None for key in keyed), head
        for (attributes, text), key in zip((cells[place] for _, cells in table.rows), keyed, strict=True):
            if head in METRICS:
                assert (text == "-") == (key == "")
                assert not key or text.startswith(f"{float(key):.4f}"), attributes
    [short] = [cells for row, cells in table.rows if row["data-origin"] == "submitted"]
    assert short[table.heads.index("HR@20")][0]["data-number"] == ""  # its lists end before 20


def test_rows_say_what_they_are_filtered_by(folder: Path) -> None:
    write_submission(folder, examples="windows", loss="bce")
    found = {
        tuple(row[f"data-{key}"] for key in ("data", "protocol", "examples", "loss", "origin"))
        for row, _ in Table(leaderboard(folder)).rows
    }
    ours = {
        ("tiny", label, *regime, "ours") for label in "UF" for regime in (("sequences", "softmax"), ("", ""))
    }
    assert found == ours | {("tiny", "U", "windows", "bce", "submitted")}
    text = leaderboard(folder)
    for choice in ("tiny", "U", "F", "windows", "sequences", "bce", "softmax", "submitted"):
        assert f"<option>{choice}</option>" in text


def test_hostile_names_are_text(folder: Path) -> None:
    tags = Table(leaderboard(folder)).tags
    write_submission(folder, system=HOSTILE, notes=[HOSTILE], examples="<b>", loss='"><i onload=x>')
    text = leaderboard(folder)
    table = Table(text)
    assert text.count("<script") == 1
    [cells] = [cells for row, cells in table.rows if row["data-origin"] == "submitted"]
    assert cells[0][1].count(HOSTILE) == 2
    assert [row for row, _ in table.rows if row["data-loss"] == '"><i onload=x>']
    assert set(table.tags) - set(tags) <= {"a", "small", "details", "summary", "ul", "li"}


def test_the_best_of_a_data_set_and_protocol_is_marked(folder: Path) -> None:
    for protocol in ("U", "F"):
        rows = [row for row in board_rows(folder) if row.protocol == protocol]
        for metric in METRICS:
            means = [row.values[metric].mean for row in rows]
            best = [row.values[metric].rank for row in rows].index(1)
            assert means[best] == max(means)
        assert [row.values["NDCG@20"].mean for row in rows] == sorted(
            (row.values["NDCG@20"].mean for row in rows), reverse=True
        )


@given(trainings=st.integers(1, 3), seed=st.integers(0, 2**32 - 1), missing=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_metrics_on_the_board_are_those_of_the_ranks(
    trainings: int, seed: int, missing: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("board")
    write_targets(folder)
    (folder / FOLDER).mkdir()
    drawn = [random_ranks(seed + number, missing) for number in range(trainings)]
    for number, ranks in enumerate(drawn):
        write_ranks(folder / FOLDER / f"r{number}.parquet", SPLIT.test, ranks)
    if len({ranks.tobytes() for ranks in drawn}) < trainings:
        return
    means = {name: float(np.mean([summarise(ranks)[name] for ranks in drawn])) for name in METRICS}
    write_submission(
        folder,
        trainings=[{"ranks": f"r{number}.parquet", "seed": number} for number in range(trainings)],
        metrics=means,
    )
    (folder / FOLDER / "theirs.parquet").unlink()
    table = Table(leaderboard(folder))
    [(_, cells)] = table.rows
    shown = {
        head: cells[place][0]["data-number"] for place, head in enumerate(table.heads) if head in METRICS
    }
    assert {name: float(str(value)) for name, value in shown.items()} == pytest.approx(means, abs=1e-12)
