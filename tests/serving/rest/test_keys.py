"""Key files: what is read, what is refused, and which Authorization headers are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mclrec.errors import ConfigError, MclrecWarning
from mclrec.serving.rest.keys import Keys

KEY = "0123456789abcdef"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_one_a_line_with_comments(tmp_path: Path) -> None:
    keys = Keys.read(write(tmp_path / "keys", f"# shop\n{KEY}\n\n  {KEY}-second  \n"))
    assert keys.admit(f"Bearer {KEY}".encode())
    assert keys.admit(f"bearer {KEY}-second".encode())
    for other in (b"", b"Bearer", b"Bearer ", f"Bearer {KEY}-".encode(), KEY.encode(), b"Bearer # shop"):
        assert not keys.admit(other)


@pytest.mark.parametrize("text", ["", "# only\n", "short\n", f"{KEY} with blanks\n", f"{KEY}ä\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="keys"):
        Keys.read(write(tmp_path / "keys", text))


def test_a_file_that_is_too_large_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is larger than 1 MB"):
        Keys.read(write(tmp_path / "keys", f"{KEY}\n" * 70_000))
    with pytest.raises(ConfigError, match="is larger than 1 MB"):
        Keys.read(Path("/dev/zero"))


def test_a_missing_file_and_one_that_others_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Keys.read(tmp_path / "none")
    with pytest.warns(MclrecWarning, match="chmod 600"):
        Keys.read(write(tmp_path / "keys", KEY, 0o644))
