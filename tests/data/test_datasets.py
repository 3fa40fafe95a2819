import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from mclrec.data import datasets
from mclrec.data.columns import Columns
from mclrec.data.datasets import dataset, dataset_names, known_as, locate, register_dataset
from mclrec.data.loading import load
from mclrec.errors import ConfigError, DataError
from mclrec.files import sha256_file

TEXT = b"1 1 2 3\n2 2 1\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A mirror whose response the test sets; ``beauty`` is redefined as ``TEXT``; no other folder is searched."""
    answer = SimpleNamespace(body=TEXT, length=len(TEXT), status=200, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer.asked.append(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(answer.length))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    answer.address = f"http://127.0.0.1:{running.server_port}"
    beauty = replace(dataset("beauty"), sha256=hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(datasets._DATASETS, "beauty", beauty)
    monkeypatch.setenv("MCLREC_MIRROR", answer.address + "/data/")
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MCLREC_DATA", raising=False)
    yield answer
    running.shutdown()
    thread.join()
    running.server_close()


def test_download_once(server: SimpleNamespace, tmp_path: Path) -> None:
    data = load("beauty")
    assert (data.name, data.num_users, data.num_items) == ("beauty", 2, 3)
    load("beauty")
    assert server.asked == ["/data/Beauty.txt"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["beauty.txt"]


def test_named_folders_come_first(
    server: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "Beauty.txt").write_bytes(TEXT)
    monkeypatch.setenv("MCLREC_DATA", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert locate("beauty") == tmp_path / "b" / "Beauty.txt"
    assert not server.asked


def broken(server: SimpleNamespace, tmp_path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load("beauty")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_interrupted_download_leaves_nothing(server: SimpleNamespace, tmp_path: Path) -> None:
    server.length = len(TEXT) + 5
    broken(server, tmp_path, "download failed")


def test_refused_download(server: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 404
    broken(server, tmp_path, r"Beauty\.txt: download failed: HTTP Error 404.*MCLREC_DATA")
    monkeypatch.setenv("MCLREC_MIRROR", "ftp://example.org")
    with pytest.raises(DataError, match="not an http address"):
        load("beauty")


def test_wrong_checksum_names_both_sums(server: SimpleNamespace, tmp_path: Path) -> None:
    server.body = TEXT.replace(b"3", b"2")
    wrong, right = hashlib.sha256(server.body).hexdigest(), hashlib.sha256(TEXT).hexdigest()
    broken(server, tmp_path, rf"Beauty\.txt: .*sha256 {wrong} instead of {right}")
    (tmp_path / "cache" / "beauty.txt").write_bytes(server.body)
    with pytest.raises(DataError, match=rf"beauty\.txt: .*{wrong} instead of {right}"):
        load("beauty")


def test_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown data set 'beuty'; did you mean 'beauty'\?"):
        load("beuty")
    with pytest.raises(DataError, match="unknown data set 'beuty'"):
        locate("beuty")
    with pytest.raises(DataError, match=r"beuty\.csv: no such file"):
        load(str(tmp_path / "beuty.csv"))


def test_a_path_is_prepared_and_a_saved_directory_loaded(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(TEXT)
    with pytest.raises(DataError, match=r"nothing is left .*min_count=\d"):
        load(path)
    data = load(path, min_count=1, directory=tmp_path / "saved")
    assert load(tmp_path / "saved").fingerprint == data.fingerprint
    with pytest.raises(DataError, match="is already prepared"):
        load(tmp_path / "saved", min_count=2)


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_DATASETS", dict(datasets._DATASETS))


@pytest.mark.usefixtures("_own_registry")
def test_a_data_set_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("who,what,user,item,time\n" + "a,x,1,2,3\nb,y,1,2,4\na,y,1,2,5\n")
    about = {"address": path, "sha256": sha256_file(path), "columns": Columns(user="who", item="what")}
    register_dataset("mine", **about)  # type: ignore[arg-type]
    register_dataset("mine", **about)  # type: ignore[arg-type]  # a module may be imported twice
    data = load("mine")
    assert (data.name, data.num_users, data.num_items) == ("mine", 2, 2)
    assert data.provenance.words() == ["mine"]
    assert known_as(data) == "mine"  # without a fingerprint, known by its checked file and default options
    data.save(tmp_path / "saved")
    assert known_as(load(tmp_path / "saved")) == "mine"
    assert known_as(load(path, min_count=1, columns=Columns(user="who", item="what"))) is None
    assert known_as(load("mine", columns=Columns(user="user", item="item"))) is None
    assert dataset_names()[-1] == "mine"
    with pytest.raises(ConfigError, match=r"named 'mine' is already registered: .*log\.csv"):
        register_dataset("mine", address="other.csv", sha256="0" * 64)
    with pytest.raises(ConfigError, match="named 'beauty' is already registered"):
        register_dataset("beauty", **about)  # type: ignore[arg-type]
    path.write_text("who,what,time\n")
    with pytest.raises(DataError, match=r"log\.csv: not the file of 'mine': sha256"):
        load("mine")
    path.unlink()
    with pytest.raises(
        DataError, match=r"log\.csv: no such file; reinstall the package that provides 'mine'"
    ):
        load("mine")


@pytest.mark.parametrize("name", ["", " mine", "a/b", "log.csv", "parts*", "C:\\data"])
def test_what_could_be_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a data set"):
        register_dataset(name, address="log.csv", sha256="0" * 64)


@pytest.mark.usefixtures("_own_registry")
def test_a_stated_fingerprint_recognises_the_log_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    path.write_bytes(TEXT)
    data = load(path, min_count=1)
    assert known_as(data) is None
    register_dataset(
        "stated", address="https://example.org/log.txt", sha256="0" * 64, fingerprint=data.fingerprint
    )
    assert known_as(data) == "stated"
