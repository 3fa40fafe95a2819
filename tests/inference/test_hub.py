"""Upload to and download from a Hub: huggingface_hub against a local server (``make test-adapters``)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.helpers import SMALL, tiny_data

import mclrec
from mclrec.errors import ModelFileError, OutputError

pytestmark = [pytest.mark.slow, pytest.mark.adapters]


class Hub(ThreadingHTTPServer):
    """The part of the Hub's interface that commits and downloads need, with one repository in memory."""

    files: dict[str, bytes]
    commits: int


class Answers(BaseHTTPRequestHandler):
    """Request handler of the local Hub."""

    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._json({"url": f"http://{self.headers['Host']}/me/tiny", "name": "me/tiny"})
        elif self.path == "/api/validate-yaml":  # of the model's card
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._json(
                {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]}
            )
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "deletedFile":
                    del self.server.files[value["path"]]
            self.server.commits += 1
            self._json(
                {
                    "commitUrl": f"http://{self.headers['Host']}/me/tiny/commit/{self._sha()}",
                    "commitOid": self._sha(),
                }
            )

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        if "/none/" in self.path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif "/revision/" in self.path or self.path == "/api/models/me/tiny":
            names = [{"rfilename": name} for name in self.server.files]
            self._json({"id": "me/tiny", "sha": self._sha(), "siblings": names, "private": False, "tags": []})
        elif "/tree/" in self.path:
            files = self.server.files.items()
            self._json([{"type": "file", "path": n, "size": len(b), "oid": _digest(b)} for n, b in files])
        else:
            self._file(body=True)

    def _file(self, *, body: bool) -> None:
        content = self.server.files[self.path.rpartition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", self._sha())
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _sha(self) -> str:
        return f"{self.server.commits:040x}"


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A local Hub to which huggingface_hub is redirected."""
    from huggingface_hub import constants

    server = Hub(("127.0.0.1", 0), Answers)
    server.files, server.commits = {}, 0
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mclrec.Run:
    """A run on small data."""
    out = tmp_path_factory.mktemp("hub") / "run"
    return mclrec.train(tiny_data(), "sasrec", out=out, epochs=1, progress=False, **SMALL)


def test_a_model_comes_back_as_it_went(run: mclrec.Run, hub: Hub) -> None:
    address = mclrec.push_to_hub(run, "me/tiny")
    assert address == f"http://127.0.0.1:{hub.server_port}/me/tiny/commit/{1:040x}"
    assert set(hub.files) == {
        "README.md", "baselines.json", "checksums.json", "config.json", "history.jsonl", "intake.json",
        "items.parquet", "metrics.json", "model.safetensors",
    }  # fmt: skip
    hub.files["pytorch_model.bin"] = b"a pickle"
    model = mclrec.Model.from_pretrained("me/tiny")
    history = ["item 003", "item 004"]
    assert list(model.recommend(history, k=5)) == list(run.model.recommend(history, k=5))
    assert mclrec.Model.from_pretrained("me/tiny", f"{1:040x}").info == model.info


def test_only_files_of_a_model_are_downloaded(run: mclrec.Run, hub: Hub, tmp_path: Path) -> None:
    mclrec.push_to_hub(run.directory, "me/tiny")
    hub.files |= {"pytorch_model.bin": b"a pickle", "code.py": b"raise SystemExit"}
    mclrec.Model.from_pretrained("me/tiny")
    names = {path.name for path in (tmp_path / "hub").rglob("*")}
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "code.py"}


@pytest.mark.parametrize("name", ["model.safetensors", "items.parquet", "config.json", "checksums.json"])
def test_a_changed_file_is_refused(run: mclrec.Run, hub: Hub, name: str) -> None:
    mclrec.push_to_hub(run, "me/tiny")
    changed = bytearray(hub.files[name])
    changed[len(changed) // 2] ^= 1
    hub.files[name] = bytes(changed)
    with pytest.raises(ModelFileError, match="checksum"):
        mclrec.Model.from_pretrained("me/tiny")


def test_nothing_of_an_earlier_model_stays(run: mclrec.Run, hub: Hub) -> None:
    mclrec.push_to_hub(run, "me/tiny")
    hub.files |= {"users.parquet": b"of a model with users", "notes.txt": b"the owner's"}
    with pytest.raises(ModelFileError, match=r"users\.parquet is not of the uploaded model"):
        mclrec.Model.from_pretrained("me/tiny")
    mclrec.push_to_hub(run, "me/tiny")
    assert "users.parquet" not in hub.files
    assert "notes.txt" in hub.files
    mclrec.Model.from_pretrained("me/tiny")


def test_what_is_no_model_or_not_there_is_said_in_a_line(
    run: mclrec.Run, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match=r"none/such: cannot be downloaded from the Hub"):
        mclrec.Model.from_pretrained("none/such")
    hub.files["README.md"] = b"words"
    with pytest.raises(ModelFileError, match=r"me/tiny: has no model uploaded by mclrec\.push_to_hub"):
        mclrec.Model.from_pretrained("me/tiny")
    with pytest.raises(OutputError, match=r"a b: the Hub did not accept it"):
        mclrec.push_to_hub(run, "a b")
    with pytest.raises(ModelFileError):
        mclrec.push_to_hub(tmp_path, "me/tiny")
