"""A user's mistake is one line of output and an exit status, without a traceback or half-written files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.conftest import Cli
from tests.helpers import edit_sealed

Breaking = Callable[[Path], object]


def text(name: str, content: str) -> Breaking:
    return lambda world: (world / name).write_text(content, encoding="utf-8")


def cut(name: str) -> Breaking:
    """Truncate a file to its first half."""

    def halve(world: Path) -> None:
        content = (world / name).read_bytes()
        (world / name).write_bytes(content[: len(content) // 2])

    return halve


def flip(name: str) -> Breaking:
    """Change the last byte of a file."""

    def change(world: Path) -> None:
        content = bytearray((world / name).read_bytes())
        content[-1] ^= 1
        (world / name).write_bytes(content)

    return change


def edit(name: str, **entries: object) -> Breaking:
    def change(world: Path) -> None:
        edit_sealed(world / name, lambda record: record.update(entries))

    return change


def gone(name: str) -> Breaking:
    return lambda world: (world / name).unlink()


def nothing(world: Path) -> None:
    """Leave the folder as it is: the mistake is in the command itself."""


class Case(NamedTuple):
    """A command, how the folder is prepared, and what the message must contain."""

    words: str
    says: tuple[str, ...]
    world: Breaking = nothing


ASK = "recommend sasrec --history i1"
TRAIN = "train log.csv --out new"
ROWS = "user,item,time\n" + "".join(f"u{user},i{item},{item}\n" for user in range(6) for item in range(6))

CASES = {
    "missing log": Case("train nowhere.csv --out new", ("nowhere.csv: no such file",)),
    "wrong column": Case(f"{TRAIN} --item-column itm", ("log.csv", "column 'itm'", "did you mean 'item'?")),
    "no user column": Case("train odd.csv --out new", ("odd.csv", "user"), text("odd.csv", "a,b,c\nx,y,z\n")),
    "unknown model": Case(f"{TRAIN} --model mclerc", ("model 'mclerc'", "did you mean 'mclrec'?")),
    "unknown model to describe": Case("models sasrek", ("model 'sasrek'", "did you mean 'sasrec'?")),
    "unknown key": Case(f"{TRAIN} --set bta=1", ("setting of mclrec 'bta'", "did you mean 'beta'?")),
    "no value": Case(f"{TRAIN} --set beta", ("'beta'", "key=value")),
    "bad value": Case(f"{TRAIN} --set beta=-1", ("beta = -1", "greater than or equal to 0")),
    "bad combination": Case(f"{TRAIN} --set heads=3", ("hidden_size = 64", "heads = 3")),
    "unknown recipe": Case(f"{TRAIN} --recipe beuty", ("recipe of mclrec 'beuty'", "did you mean 'beauty'?")),
    "missing recipe file": Case(f"{TRAIN} --recipe my.toml", ("my.toml: no such recipe file",)),
    "bad TOML": Case(
        f"{TRAIN} --recipe my.toml", ("my.toml:2", "TOML"), text("my.toml", "[model]\nbeta = = 1\n")
    ),
    "unknown key in a recipe": Case(
        f"{TRAIN} --recipe my.toml", ("my.toml", "'bta'", "'beta'"), text("my.toml", "[model]\nbta = 1\n")
    ),
    "unknown data set": Case("train beuty --out new", ("data set 'beuty'", "did you mean 'beauty'?")),
    "unknown data set to describe": Case("datasets sprots", ("data set 'sprots'", "did you mean 'sports'?")),
    "malformed csv": Case(
        "train bad.csv --out new", ("bad.csv:38: line has 2 columns",), text("bad.csv", ROWS + "u1,i1\n")
    ),
    "bad time": Case(
        "train bad.csv --out new", ("bad.csv:38: time 'noon'",), text("bad.csv", ROWS + "u1,i1,noon\n")
    ),
    "malformed JSON": Case(
        "train bad.jsonl --out new",
        ("bad.jsonl:2: line is not JSON",),
        text("bad.jsonl", '{"user": 1, "item": 2, "time": 3}\n{"user": 1,\n'),
    ),
    "malformed sequences": Case(
        "train bad.txt --out new", ("bad.txt:2", "no item"), text("bad.txt", "1 5 6\n2\n")
    ),
    "empty log": Case("train bad.csv --out new", ("bad.csv: is empty",), text("bad.csv", "")),
    "not a log": Case(
        "train bad.exe --out new", ("bad.exe", "cannot read files of type '.exe'"), text("bad.exe", "x")
    ),
    "k-core leaves nothing": Case(
        f"{TRAIN} --min-count 99",
        ("log.csv: nothing is left", "--min-count 99 none"),
    ),
    "too short to split": Case(
        "train bad.csv --min-count 1 --out new",
        ("no user has 3 interactions",),
        text("bad.csv", "user,item,time\na,x,1\na,y,2\nb,x,1\nb,y,2\n"),
    ),
    "too short to train": Case(
        "train bad.csv --min-count 1 --out new",
        ("no training example",),
        text("bad.csv", "user,item,time\na,x,1\na,y,2\na,z,3\nb,x,1\nb,y,2\nb,z,3\n"),
    ),
    "no times to split by": Case(
        "train bad.txt --min-count 1 --split time --out new",
        ("no times", "leave-one-out"),
        text("bad.txt", "1 5 6 7\n2 5 6 7\n"),
    ),
    "checksum differs": Case("datasets yelp", ("yelp.txt", "sha256"), text("yelp.txt", "1 2 3\n")),
    "no server": Case("datasets toys", ("Toys_and_Games.txt", "download failed", "MCLREC_DATA")),
    "unknown device": Case(f"{TRAIN} --device tpu", ("device 'tpu'", "auto, cpu, cuda")),
    "negative seed": Case(f"{TRAIN} --seed -1", ("--seed", "mclrec train --help")),
    "out is not empty": Case("train log.csv --out markov", ("markov: is not empty", "--resume")),
    "out is a file": Case(
        "train log.csv --out log.csv", ("log.csv: is a file, but a folder is to be written",)
    ),
    "out is under a file": Case("train log.csv --model markov --out log.csv/new", ("log.csv",)),
    "nothing to resume": Case(f"{TRAIN} --resume", ("new", "no run to resume")),
    "resumed otherwise": Case(
        "train log.csv --model sasrec --set hidden_size=8 --set inner_size=16 --set epochs=2 --out sasrec --resume",
        ("inner_size", "16", "8"),
    ),
    "from nowhere": Case(f"{TRAIN} --warm-start nowhere", ("nowhere: no such run directory",)),
    "from another model": Case(f"{TRAIN} --warm-start markov", ("markov",)),
    "no such run": Case("evaluate nowhere", ("nowhere: no such run directory",)),
    "not a run": Case("recommend . --history i1", ("not a model directory",)),
    "truncated weights": Case(ASK, ("model.safetensors", "damaged"), cut("sasrec/model.safetensors")),
    "changed weights": Case(ASK, ("model.safetensors", "damaged"), flip("sasrec/model.safetensors")),
    "missing weights": Case(
        "evaluate sasrec", ("model.safetensors: no such file",), gone("sasrec/model.safetensors")
    ),
    "broken config": Case(ASK, ("config.json:", "not valid JSON"), cut("sasrec/config.json")),
    "other format": Case(ASK, ("config.json: format 99",), edit("sasrec/config.json", format=99)),
    "unknown model in a config": Case(
        "evaluate sasrec", ("config.json", "'other'"), edit("sasrec/config.json", model="other")
    ),
    "unknown key in a config": Case(
        "evaluate sasrec", ("config.json", "'a'"), edit("sasrec/config.json", config={"a": 1})
    ),
    "missing items": Case(ASK, ("items.parquet: no such file",), gone("sasrec/items.parquet")),
    "truncated items": Case(ASK, ("items.parquet: damaged",), cut("sasrec/items.parquet")),
    "data are gone": Case("evaluate sasrec", ("log.csv: no such file", "--data"), gone("log.csv")),
    "data have changed": Case("evaluate sasrec", ("not the data", "fingerprint"), text("log.csv", ROWS)),
    "k above the catalogue": Case("recommend sasrec --history i1 --k 16", ("k = 16", "to 15")),
    "k above the catalogue for a log": Case(
        "recommend sasrec --users log.csv --out recs.parquet --k 16", ("k = 16", "to 15")
    ),
    "k above the catalogue in evaluate": Case("evaluate sasrec --k 16", ("k = 16", "15 items")),
    "k below 1": Case("recommend sasrec --history i1 --k 0", ("k = 0",)),
    "history and users": Case(
        "recommend sasrec --history i1 --users log.csv --out r.parquet", ("either --history",)
    ),
    "users without out": Case("recommend sasrec --users log.csv", ("--users and --out",)),
    "neither history nor users": Case("recommend sasrec", ("--history",)),
    "missing users": Case("recommend sasrec --users u.csv --out r.parquet", ("u.csv: no such file",)),
    "run was not measured": Case(
        "compare markov sasrec", ("ranks-test-U.parquet",), gone("sasrec/ranks-test-U.parquet")
    ),
    "compared with nothing": Case("compare markov nowhere", ("nowhere: no such run directory",)),
    "unknown metric": Case(
        "compare markov sasrec --metric ndgc@10", ("metric 'ndgc'", "did you mean 'ndcg'?")
    ),
    "recipe of no model": Case(
        "reproduce table3 --datasets log.csv --recipe mclrec=sequences,bce", ("'bce'", "MODEL=NAME")
    ),
    "points of a table": Case(
        "reproduce table4 --datasets log.csv --points 3", ("table4 has no curve", "--points")
    ),
    "options of a table without runs": Case(
        "reproduce table2 --datasets log.csv --models sasrec", ("table2 needs no run", "--models")
    ),
    "tracker of a dry run": Case(
        "reproduce table3 --datasets log.csv --track nosuch --dry-run", ("unknown tracker 'nosuch'",)
    ),
    "groups of nothing": Case("datasets --groups", ("--groups needs",)),
    "demo over something else": Case("demo --out markov", ("markov: holds", "not part of a demo")),
    "unknown command": Case("trian log.csv", ("'trian'", "Did you mean 'train'?", "mclrec --help")),
    "unknown option": Case(f"{TRAIN} --sed 1", ("--sed", "mclrec train --help")),
    "no data": Case("train", ("DATA", "mclrec train --help")),
    "unknown choice": Case("evaluate sasrec --seen always", ("'always' is not one of 'keep', 'drop'",)),
    "no number": Case("recommend sasrec --history i1 --k ten", ("--k", "integer")),
}


def listing(folder: Path) -> dict[str, bytes]:
    """All files with their bytes, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def check_message(err: str, says: tuple[str, ...]) -> None:
    """Check that only the last line is an error; the summary of a log may precede it."""
    *before, line = err.splitlines()
    assert line.startswith("error: ")
    assert not [other for other in before if other.startswith(("error", "Traceback"))]
    for part in says:
        assert part in line


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MCLREC_DATA", ".")
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", CASES)
def test_one_line(cli: Cli, world: Path, name: str) -> None:
    case = CASES[name]
    case.world(world)
    before = listing(world)
    found = cli(*case.words.split())
    check_message(found.err, case.says)
    assert found.out == ""
    assert found.status == 2
    assert listing(world) == before
    assert not (world.parent / "cache").exists() or not list((world.parent / "cache").iterdir())


@pytest.mark.parametrize("name", ["truncated weights", "unknown command", "negative seed"])
def test_one_line_of_a_process(world: Path, name: str) -> None:
    case = CASES[name]
    case.world(world)
    child = subprocess.run(
        [sys.executable, "-m", "mclrec", *case.words.split()], capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stdout) == (2, "")
    check_message(child.stderr, case.says)


class _Closing(BaseHTTPRequestHandler):
    """A server that sends fewer bytes than its Content-Length announces."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"1 2 3\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Suppress the server's log."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a local server and yield its address."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_interrupted_download(cli: Cli, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(_Closing) as address:
        monkeypatch.setenv("MCLREC_MIRROR", address)
        found = cli("train", "toys", "--out", "new")
    check_message(found.err, ("Toys_and_Games.txt", "download failed", "MCLREC_DATA"))
    assert found.status == 2
    assert list((world.parent / "cache").iterdir()) == []
    assert not (world / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_forbidden_folder(cli: Cli, world: Path) -> None:
    closed = world / "closed"
    closed.mkdir(mode=0o500)
    found = cli("recommend", "sasrec", "--users", "log.csv", "--out", closed / "r.parquet")
    check_message(found.err, ("Permission denied",))
