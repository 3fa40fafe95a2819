"""`mclrec inspect` reports quickly what is used of a log: on the terminal, as JSON and as an HTML page."""

import inspect as python
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from mclrec.cli.commands.inspect import inspect
from mclrec.cli.commands.prepare import prepare


@pytest.fixture
def long_tail(tmp_path: Path) -> Path:
    """A log whose 5-core keeps 20 of 200 users."""
    rows = [f"u{user},i{(user + place) % 12},{place}" for user in range(20) for place in range(9)]
    rows += [f"v{user},j{2 * user + place},{place}" for user in range(180) for place in range(2)]
    path = tmp_path / "tail.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    return path


def test_view(cli: Cli, long_tail: Path) -> None:
    found = cli("inspect", long_tail)
    assert found.status == 0
    assert found.err == ""
    lines = [line.split() for line in found.out.splitlines()]
    assert ["item", "item_id", "i0"] in lines
    assert ["read", "540", "200", "372"] in lines
    assert ["after", "k-core", "180", "33", "%", "20", "12", "--min-count", "5"] in lines
    assert "warning: only 180 of 540 rows and 20 of 200 users are left" in found.out
    whole = cli("inspect", long_tail, "--min-count", 1)
    assert "k-core" not in whole.out


def test_json(cli: Cli, long_tail: Path) -> None:
    found = json.loads(cli("inspect", long_tail, "--json").out)
    assert found["read"] == {"users": 200, "items": 372, "rows": 540}
    assert found["steps"][0]["left"]["rows"] == found["left"]["rows"] == 180
    assert found["protocol"] == "F"
    assert [warned["kind"] for warned in found["warnings"]] == ["k-core", "users"]


def test_page(cli: Cli, long_tail: Path) -> None:
    page = long_tail.with_suffix(".html")
    assert cli("inspect", long_tail, "--out", page).out.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    assert "Only 180 of 540 rows and 20 of 200 users are left" in text
    assert text.count("<svg") == 5
    assert not re.search(r"(src|href)=[\"'](?!#)", text)


def test_prepared_data_and_data_without_record(cli: Cli, long_tail: Path) -> None:
    folder = long_tail.with_name("prepared")
    prepared = cli("prepare", long_tail, "--out", folder)
    assert "dropped    360 rows (67 %), 180 users (90 %)" in prepared.out
    assert "warning: only 180 of 540 rows" in prepared.err
    assert "33 %" in cli("inspect", folder).out
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "intake": None}))
    assert ["read", "180", "20", "12"] in [line.split() for line in cli("inspect", folder).out.splitlines()]


def test_it_takes_the_options_of_prepare() -> None:
    """`inspect` has every option that decides what is read, but not those of the split that `prepare` exports."""
    exported = {
        "export_split",
        "export_format",
        "split",
        "targets",
        "valid_from",
        "test_from",
        "test_until",
    }
    assert set(python.signature(prepare).parameters) - exported <= set(python.signature(inspect).parameters)


@pytest.mark.slow
def test_it_needs_no_torch(long_tail: Path) -> None:
    code = (
        "import sys; from mclrec.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    for words in ([], ["--out", str(long_tail.with_suffix(".html"))]):
        child = [sys.executable, "-c", code, "inspect", str(long_tail), *words]
        assert subprocess.run(child, capture_output=True, check=False).returncode == 0
