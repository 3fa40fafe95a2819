"""Published models: packed with ``scripts.publish --weights``, found by name, downloaded once and verified."""

import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import mclrec
from mclrec.data.datasets import register_dataset
from mclrec.errors import ConfigError, ModelFileError
from mclrec.files import sha256_file
from mclrec.inference import published_models as registry
from mclrec.inference.published_models import model_directory, read_entries, register_published_model
from scripts.model_assets import CHECKSUMS, ENTRIES
from scripts.publish import main

NAME = "markov-complete-journey"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the bundled data."""
    out = tmp_path_factory.mktemp("run") / "markov"
    mclrec.train("complete-journey", model="markov", out=out)
    return out


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a local server of ``assets``; the cache is empty, and nothing is registered."""
    (tmp_path / "assets").mkdir()
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "cache"))
    for name in ("MCLREC_MODELS", "MCLREC_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    handler = partial(Handler, directory=str(tmp_path / "assets"))
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


def register(address: str, archive: Path, name: str = NAME) -> None:
    register_published_model(name, address=f"{address}/{archive.name}", sha256=sha256_file(archive))


def left(tmp_path: Path) -> list[str]:
    """Names of the model directories in the cache; lock files are ignored."""
    folder = tmp_path / "cache" / "models"
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


def test_what_is_published_is_found_by_its_name(
    run: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = tmp_path / "assets"
    main(["--weights", str(assets), "--address", address, str(run)])
    assert {path.name for path in assets.iterdir()} == {f"{NAME}.zip", f"{NAME}.md", CHECKSUMS, ENTRIES}
    archive = assets / f"{NAME}.zip"
    assert (assets / CHECKSUMS).read_text() == f"{sha256_file(archive)}  {NAME}.zip\n"
    with zipfile.ZipFile(archive) as packed:
        assert not [name for name in packed.namelist() if name.startswith(("ranks", "checkpoint"))]

    [entry] = read_entries((assets / ENTRIES).read_text())
    assert (entry.name, entry.address) == (NAME, f"{address}/{NAME}.zip")
    register_published_model(NAME, address=entry.address, sha256=entry.sha256, about=entry.about)
    history = [str(item) for item in mclrec.Model.load(run).items.to_arrow().to_pylist()[:3]]
    expected = mclrec.Model.load(run).recommend(history)
    assert list(mclrec.Model.load(NAME).recommend(history)) == list(expected)

    archive.unlink()  # it is not downloaded again
    assert model_directory(NAME).parent == tmp_path / "cache" / "models"
    assert left(tmp_path) == [f"{NAME}-{entry.sha256[:16]}"]
    (tmp_path / "own" / NAME).mkdir(parents=True)
    monkeypatch.setenv("MCLREC_MODELS", str(tmp_path / "own"))
    assert model_directory(NAME) == tmp_path / "own" / NAME


def test_the_same_run_makes_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        main(["--weights", str(tmp_path / folder), "--address", "https://example.org", str(run)])
    one, other = ((tmp_path / folder / CHECKSUMS).read_text() for folder in ("a", "b"))
    assert one == other


@pytest.mark.parametrize("damage", ["bytes", "missing", "no archive", "unknown packing", "a way out"])
def test_another_file_leaves_nothing(damage: str, address: str, tmp_path: Path) -> None:
    archive = tmp_path / "assets" / "model.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("../config.json" if damage == "a way out" else "config.json", "{}")
    if damage == "no archive":
        archive.write_bytes(b"no archive")
    if damage == "unknown packing":
        content = bytearray(archive.read_bytes())
        for start, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            content[content.index(start) + place] = 77
        archive.write_bytes(content)
    register(address, archive)
    if damage == "bytes":
        archive.write_bytes(archive.read_bytes() + b"!")
    if damage == "missing":
        archive.unlink()
    said = {
        "bytes": "not the file of",
        "missing": "download failed",
        "no archive": "not an archive",
        "unknown packing": "not an archive",
        "a way out": "not a file of a model",
    }
    with pytest.raises(ModelFileError, match=said[damage]) as caught:
        mclrec.Model.load(NAME)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []
    assert not (tmp_path / "cache" / "config.json").exists()


def test_an_unknown_name_gets_the_nearest(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_published_model("mclrec-beauty", address=f"{address}/x.zip", sha256="0" * 64)
    with pytest.raises(ModelFileError, match=r"no such model directory; .*did you mean 'mclrec-beauty'"):
        mclrec.Model.load("mclrec-beuty")
    (tmp_path / "own" / "sasrec-shop").mkdir(parents=True)
    monkeypatch.setenv("MCLREC_MODELS", str(tmp_path / "own"))
    with pytest.raises(ModelFileError, match="did you mean 'sasrec-shop'"):
        mclrec.Model.load("sasrec-shp")


def test_paths_are_never_names(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_published_model("model", address=f"{address}/x.zip", sha256="0" * 64)
    monkeypatch.chdir(tmp_path)
    for path in (Path("model"), "./model", "runs/model"):
        with pytest.raises(ModelFileError, match="no such model directory"):
            mclrec.Model.load(path)
    (tmp_path / "model").mkdir()
    assert model_directory("model") == Path("model")


def test_names_and_addresses_are_checked(address: str) -> None:
    for name, place in (("a/b", address), ("", address), ("model", "file:///etc/passwd")):
        with pytest.raises(ConfigError):
            register_published_model(name, address=place, sha256="0" * 64)
    register_published_model("model", address=f"{address}/x.zip", sha256="0" * 64)
    with pytest.raises(ConfigError, match="published already"):
        register_published_model("model", address=f"{address}/y.zip", sha256="0" * 64)


@pytest.mark.parametrize("given", ["zz", None, "", "g" * 64, "0" * 63, 7])
def test_a_checksum_that_is_none_is_refused_when_it_is_registered(given: Any, address: str) -> None:
    with pytest.raises(ConfigError, match=r"sha256 of 'model': .* is not 64 hexadecimal digits"):
        register_published_model("model", address=f"{address}/x.zip", sha256=given)
    with pytest.raises(ConfigError, match=r"sha256 of 'data-set': .* is not 64 hexadecimal digits"):
        register_dataset("data-set", address=f"{address}/x.csv", sha256=given)


def test_a_damaged_directory_of_the_cache_is_downloaded_again(
    run: Path, address: str, tmp_path: Path
) -> None:
    assets = tmp_path / "assets"
    main(["--weights", str(assets), "--address", address, str(run)])
    archive = assets / f"{NAME}.zip"
    register(address, archive)
    whole = model_directory(NAME)
    for name in ("config.json", "model.safetensors", "items.parquet"):
        before = (whole / name).read_bytes()
        for damage in (before[:-9], None):
            if damage is None:
                (whole / name).unlink()
            else:
                (whole / name).write_bytes(damage)
            assert (model_directory(NAME) / name).read_bytes() == before
    (whole / "items.parquet").unlink()
    archive.unlink()
    with pytest.raises(ModelFileError, match=r"the copy in .* is damaged: try again"):
        mclrec.Model.load(NAME)


def test_our_registry_is_empty_and_shows_what_an_entry_is() -> None:
    text = (Path(registry.__file__).parent / "published_models.toml").read_text(encoding="utf-8")
    assert read_entries(text) == []
    shown = [
        line[2:] for line in text.splitlines() if line.startswith(("# [", "# about", "# address", "# sha256"))
    ]
    assert [entry.name for entry in read_entries("\n".join(shown))] == ["mclrec-beauty"]


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize("mirror", ["http://127.0.0.1/mod\u00e8les", "http://[models"])
def test_an_address_that_is_none(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register_published_model(NAME, address="http://127.0.0.1/a.zip", sha256="0" * 64)
    monkeypatch.setenv("MCLREC_MIRROR", mirror)
    with pytest.raises(ModelFileError, match=r"a\.zip: download failed: .*; try again, or put its directory"):
        model_directory(NAME)
