import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.parquet_files import read_parquet
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError, MclrecError, OutputError, visible
from mclrec.files import (
    atomic_directory,
    atomic_file,
    check_writable,
    disk_is_full,
    remove_leftovers,
    sha256_file,
    write_text,
)
from mclrec.json_files import parse_json, read_json, write_json
from mclrec.models.directory import weights_checksum
from mclrec.models.tensors import load_tensors
from mclrec.training.reporting import read_history

Kind = Literal["file", "folder", "whole folder"]


def content(folder: Path) -> dict[str, str]:
    """Text of every file below a folder, including hidden ones."""
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def stop_halfway(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


class TestAtomicFile:
    def test_appears_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "file.txt"
        with atomic_file(path) as temporary:
            temporary.write_text("one")
            assert temporary.parent == path.parent
            assert not path.exists()
        assert content(tmp_path) == {"new/file.txt": "one"}

    @pytest.mark.parametrize("umask", [0o022, 0o077])
    def test_a_new_file_has_the_users_umask_and_a_replaced_one_keeps_its_mode(
        self, tmp_path: Path, umask: int
    ) -> None:
        path, before = tmp_path / "file.txt", os.umask(umask)
        try:
            write_text(path, "one")
            assert path.stat().st_mode & 0o777 == 0o666 & ~umask
            path.chmod(0o640)
            write_text(path, "two")
        finally:
            os.umask(before)
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o640)

    @pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
    def test_only_a_regular_file_is_replaced(self, tmp_path: Path, kind: str) -> None:
        path = Path(os.devnull) if kind == "device" else tmp_path / kind
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        before = path.lstat()
        with pytest.raises(OutputError, match=str(path)):
            write_text(path, "text")
        assert path.lstat().st_mode == before.st_mode
        assert path.lstat().st_ino == before.st_ino

    def test_a_link_stays_and_its_file_is_replaced(self, tmp_path: Path) -> None:
        write_text(tmp_path / "there" / "file", "old")
        (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
        write_text(tmp_path / "link", "new")
        assert (tmp_path / "link").is_symlink()
        assert content(tmp_path / "there") == {"file": "new"}

    def test_a_full_disk_is_told_by_the_name_that_was_asked_for(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        write_text(path, "old")

        def fill(temporary: Path) -> None:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device", str(temporary))

        with (
            pytest.raises(OutputError, match=r"file\.txt: no room") as caught,
            atomic_file(path) as temporary,
        ):
            fill(temporary)
        assert ".part" not in str(caught.value)
        assert content(tmp_path) == {"file.txt": "old"}

    def test_an_error_leaves_the_old_content_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(KeyboardInterrupt), atomic_file(path) as temporary:
            stop_halfway(temporary)
        assert content(tmp_path) == {"file.txt": "old"}

    def test_a_refused_place_gets_no_temporary_file(self, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(OutputError, match="taken"):
            write_text(tmp_path / "taken", "text")
        assert os.listdir(tmp_path) == ["taken"]  # noqa: PTH208 - hidden files count

    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("n" * 300, "too long"),
            ("loop", "leads back to itself"),
            ("file/below", "not a folder"),
            ("zero\0byte", "null byte"),
            ("not-utf8-\udcff", "not UTF-8"),
        ],
    )
    def test_an_impossible_path_is_told_without_the_temporary_name(
        self, tmp_path: Path, path: str, says: str
    ) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=says) as caught:
            write_text(tmp_path / path, "text")
        assert ".part" not in str(caught.value)
        assert sorted(os.listdir(tmp_path)) == ["file", "loop"]  # noqa: PTH208 - hidden files count

    def test_a_name_as_long_as_names_may_be(self, tmp_path: Path) -> None:
        write_text(tmp_path / ("n" * 255), "text")
        write_text(tmp_path / ("日" * 85), "text")
        assert len(content(tmp_path)) == 2

    def test_what_the_block_cannot_read_is_not_blamed_on_the_output(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "out"):
            (tmp_path / "in").read_text()

    def test_a_name_that_is_not_utf8_survives_json(self, tmp_path: Path) -> None:
        name = os.fsdecode(b"log-\xff.csv")
        write_json(tmp_path / "x.json", {"file": name})
        assert read_json(tmp_path / "x.json") == {"file": name}


@pytest.mark.parametrize(
    ("problem", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EFBIG, "x"), True),
        (OSError(errno.EACCES, "no space left"), False),
        (OSError("4096 requested and 512 written"), True),
        (RuntimeError("IO Error: No space left on device"), True),
        (RuntimeError("something else"), False),
    ],
)
def test_a_full_disk_is_known_however_it_is_reported(problem: Exception, full: bool) -> None:
    assert disk_is_full(problem) == full


@pytest.mark.parametrize("kind", ["file", "folder", "whole folder"])
def test_a_place_is_checked_before_the_work(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    check_writable(tmp_path / "new" / "deep" / "place", kind)
    check_writable(tmp_path / ("file" if kind == "file" else "folder"), kind)
    wrong = tmp_path / ("folder" if kind == "file" else "file")
    for path in (wrong, tmp_path / "file" / "below", tmp_path / "a\0b", Path("/proc/nothing/place")):
        with pytest.raises(OutputError) as caught:
            check_writable(path, kind)
        assert str(caught.value).startswith(visible(str(path)))
    assert content(tmp_path) == {"file": ""}


@pytest.mark.parametrize(("kind", "refused"), [("folder", False), ("whole folder", True)])
def test_a_folder_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, refused: bool
) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    (tmp_path / "disk").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for path in (tmp_path / "link", tmp_path / "disk"):
        with pytest.raises(OutputError, match=r"link|mounted") if refused else nullcontext():
            check_writable(path, kind)


def test_a_full_disk_below_a_folder_is_told_by_the_folders_name(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="no room left") as caught,
        atomic_directory(tmp_path / "export") as folder,
        atomic_file(folder / "users.parquet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value).startswith(f"{tmp_path / 'export' / 'users.parquet'}: ")
    assert ".part" not in str(caught.value)
    assert content(tmp_path) == {}


class TestAtomicDirectory:
    def test_takes_the_place_of_the_old_one(self, tmp_path: Path) -> None:
        for text in ("one", "two"):
            with atomic_directory(tmp_path / "folder") as temporary:
                (temporary / text).write_text(text)
        assert content(tmp_path) == {"folder/two": "two"}
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755

    def test_a_file_or_link_is_not_replaced_by_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        write_text(tmp_path / "file", "text")
        for name in ("link", "file"):
            with pytest.raises(OutputError, match=name), atomic_directory(tmp_path / name):
                pytest.fail("the block must not begin")
        assert (tmp_path / "link").is_symlink()
        assert content(tmp_path) == {"file": "text"}

    @pytest.mark.parametrize("existed", [True, False])
    def test_an_error_leaves_the_old_content_and_nothing_else(self, tmp_path: Path, existed: bool) -> None:
        path = tmp_path / "folder"
        if existed:
            path.mkdir()
            (path / "old").write_text("old")
        with pytest.raises(KeyboardInterrupt), atomic_directory(path) as temporary:
            stop_halfway(temporary / "file")
        assert content(tmp_path) == ({"folder/old": "old"} if existed else {})
        assert [found.name for found in tmp_path.iterdir()] == (["folder"] if existed else [])

    def test_a_failed_swap_brings_the_old_one_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, replace = tmp_path / "folder", Path.replace
        write_text(path / "old", "old")

        def failing(source: Path, target: Path) -> Path:
            if source.suffix == ".part":
                raise OSError("disk full")
            return replace(source, target)

        monkeypatch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="disk full"), atomic_directory(path) as temporary:
            (temporary / "new").touch()
        assert content(tmp_path) == {"folder/old": "old"}
        assert [found.name for found in tmp_path.iterdir()] == ["folder"]


class TestJson:
    def test_round_trip(self, tmp_path: Path) -> None:
        value = {"name": "日本", "numbers": [1, 0.1, None, True]}
        write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == value
        assert "日本" in (tmp_path / "a.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
    def test_what_json_cannot_hold_changes_nothing(self, tmp_path: Path, value: object) -> None:
        write_json(tmp_path / "a.json", 1)
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", {"x": value})
        assert content(tmp_path) == {"a.json": "1\n"}

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            (b'{\n  "a": 1,\n  "b": oh\n}', r"a\.json:3: not valid JSON: "),
            (b"", r"a\.json:1: not valid JSON: "),
            (b'"\xff"', r"a\.json: cannot be read: "),
            (b"[" * 100_000, r"a\.json: not valid JSON: nested too deeply"),
            (b"1" * 5000, r"a\.json: not valid JSON: "),
            (b'{"a": NaN}', r"a\.json: not valid JSON: NaN"),
            (b"-Infinity", r"a\.json: not valid JSON: -Infinity"),
            (b"[-1e999]", r"a\.json: not valid JSON: -1e999 is too large"),
            (None, r"a\.json: no such file"),
        ],
    )
    def test_errors_name_file_and_line(self, tmp_path: Path, written: bytes | None, message: str) -> None:
        path = tmp_path / "a.json"
        if written is not None:
            path.write_bytes(written)
        with pytest.raises(DataError, match=message) as caught:
            read_json(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError):
            read_json(path, ConfigError)

    @given(text=st.binary(max_size=60) | st.text(max_size=60) | st.text('[]{}"\\,:0eE-+.uN', max_size=60))
    def test_any_text_parses_or_is_refused_in_one_line(self, text: str | bytes) -> None:
        message = ""
        try:
            parse_json(text, "a.json")
        except DataError as problem:
            message = str(problem)
        assert "\n" not in message

    def test_a_directory_is_not_json(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is a folder"):
            read_json(tmp_path)


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes" * 100_000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"bytes" * 100_000).hexdigest()


def test_what_a_killed_process_had_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "a.part", tmp_path / "inner" / "state"]
    gone = [tmp_path / ".a.x1.part", tmp_path / "inner" / ".state.x2.part"]
    for path in (*kept, *gone):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x", encoding="utf-8")
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing"])
def test_what_is_no_regular_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    """Opening a pipe would wait for its writer forever."""
    path = tmp_path / "found.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    told = f"{path}: " + (
        "no such file" if kind == "nothing" else f"is a {kind}, but should be a regular file"
    )
    readers: list[Callable[[Path], object]] = [
        read_json,
        sha256_file,
        Vocabulary.load,
        lambda place: read_parquet(place, DataError, "make it again"),
        load_tensors,
        weights_checksum,
    ]
    if kind != "nothing":
        readers.append(read_history)
    for read in readers:
        with pytest.raises(MclrecError) as caught:
            read(path)
        assert str(caught.value).startswith(told)
