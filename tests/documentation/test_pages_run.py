"""The code of each page runs, block by block, in a folder that has the files the pages mention; ``make test-docs``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.documentation.page_exceptions import exceptional_block, script
from tests.documentation.pages_folder import prelude, prepare
from tests.documented import PAGES, ROOT, SHELLS, Block, blocks

from mclrec.errors import MclrecWarning

pytestmark = [pytest.mark.slow, pytest.mark.docs]

WITH_CODE = [page for page in PAGES if any(not exceptional_block(block) for block in blocks(page))]
LISTS_OF_THE_OTHER_SYSTEM = """
import pandas as pd
users = pd.read_csv("split/test-users.csv").iloc[:, 0]
items = pd.read_csv("split/training.csv")["item"].value_counts().index[:20]
lists = [(user, item, rank) for user in users for rank, item in enumerate(items, start=1)]
pd.DataFrame(lists, columns=["user", "item", "rank"]).to_csv("lists.csv", index=False)
"""
PROGRAMS = {
    # Stands in for the machine's own systemctl: nothing is reloaded here.
    "systemctl": "#!/bin/sh\n",
    # Waits until a service that was started with `&` listens.
    "await": """#!/bin/sh
for _ in $(seq 200); do grep -q 'http://' service.log && exit; sleep .2; done
cat service.log; exit 1
""",
}
BEFORE = """set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
curl() { command curl --fail-with-body "$@"; }
"""
"""Shell preamble: the first failing command or HTTP error ends a block, and services still running are stopped."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every page starts from; not to be changed."""
    folder = tmp_path_factory.mktemp("pages") / "folder"
    folder.mkdir()
    prepare(folder)
    (folder / "make_lists.py").write_text(LISTS_OF_THE_OTHER_SYSTEM, encoding="utf-8")
    (folder / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (folder / "bin" / name).write_text(text, encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the prepared folder, as the current directory."""
    copy = tmp_path / "folder"
    shutil.copytree(prepared, copy, symlinks=True)
    monkeypatch.chdir(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MclrecWarning)
        yield copy


class Shell:
    """Runs shell blocks with the programs of this environment and on a free port.

    Args:
        folder: working directory of the commands.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.port = str(listening.getsockname()[1])
        self.folder = folder
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.variables = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT / 'src'}", "COLUMNS": "110"}

    def run(self, block: Block) -> str:
        """Run a block and return its output on both streams; services still running are stopped.

        Raises:
            AssertionError: a command of the block failed.
        """
        text = script(block).replace("8000", self.port)
        whole = f"{BEFORE}{text}\n"
        done = subprocess.run(
            ["bash", "-c", whole],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block.page}:{block.line}\n{text}\n{done.stdout}"
        return done.stdout


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a Python block; the names that it defines are available to the page's next block."""
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs_from_its_top_to_its_end(page: str, here: Path) -> None:
    shell, names = Shell(here), prelude(here)
    for block in blocks(page):
        if exceptional_block(block):
            continue
        if block.language in SHELLS:
            shell.run(block)
        elif block.language == "python":
            run_python(block, names)


def test_the_nightly_page_shows_what_an_update_says(here: Path) -> None:
    [command] = [block for block in blocks("docs/nightly.md") if block.text.startswith("mclrec update live")][
        :1
    ]
    [shown] = [block for block in blocks("docs/nightly.md") if block.text.startswith("943 held-out")]
    said = [_form(line) for line in Shell(here).run(command).replace(str(here), "/srv/shop").splitlines()]
    for line in shown.text.splitlines():
        assert _form(line) in said, f"{line}\n" + "\n".join(said)


def _form(line: str) -> str:
    """A line with numbers replaced by `#` and spacing normalised."""
    return " ".join(re.sub(r"(≤ )?[-+]?\d[\d.,]*%?", "#", line).split())
