"""The first minutes of a newcomer, with real commands: ``make test-walk``.

Builds the wheel, installs it into an empty environment, and then in an empty folder inspects a log, trains on it,
recommends, and serves. Fails where a command fails or where an answer is not what it should be, and prints the time to
the first recommendation. The log is ml-100k where MCLREC_DATA has it, otherwise the one that comes with the package.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHOWN = 5
START_SECONDS = 120
ITEMS = "import mclrec; print(*mclrec.Model.load('runs/first').items, sep='\\n')"


class Walk:
    """Commands of an environment, in a folder.

    Args:
        environment: virtual environment.
        folder: working directory of the commands.
    """

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin = environment / "bin"
        self.folder = folder
        # What the newcomer has: none of our variables that say where code or data are.
        hidden = ("PYTHON", "MCLREC", "VIRTUAL_ENV")
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}

    def run(self, words: Sequence[str], *, quiet: bool = False) -> str:
        """Run a command, print it with what it says, and return its standard output."""
        print(f"\n$ {shlex.join(words)}", flush=True)
        started = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - our own words
            self._command(words), cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        )
        if not quiet:
            print(done.stdout, end="")
        print(f"({time.perf_counter() - started:.1f} s)", flush=True)
        if done.returncode:
            sys.exit(f"{shlex.join(words)} ended with status {done.returncode}")
        return done.stdout

    @contextmanager
    def serve(self, words: Sequence[str]) -> Iterator[str]:
        """Run the service, and yield its address; it has to end well when it is asked to."""
        print(f"\n$ {shlex.join(words)}", flush=True)
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(  # noqa: S603 - our own words
                self._command(words), cwd=self.folder, env=self.variables, stdout=log, stderr=log
            ) as service,
        ):
            try:
                yield _address(service, log)
            finally:
                service.send_signal(signal.SIGTERM)
                status = service.wait(START_SECONDS)
        if status:
            sys.exit(f"{shlex.join(words)} ended with status {status}")

    def _command(self, words: Sequence[str]) -> list[str]:
        return [str(self.bin / words[0]), *words[1:]]


def install(environment: Path) -> None:
    """Make an empty environment and install what `pip install "mclrec[serve]"` would, from a wheel built here."""
    _call(sys.executable, "-m", "venv", "--clear", environment)
    pip: list[str | Path] = [
        environment / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
    ]
    constraints = ROOT / "constraints.txt"
    torch = re.findall(r"^torch==.+$", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    index = os.environ.get("TORCH_INDEX")
    with tempfile.TemporaryDirectory() as wheels:
        _call(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        [wheel] = Path(wheels).glob("mclrec-*.whl")
        print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        _call(*pip, "install", "--no-deps", *(["--index-url", index] if index else []), *torch)
        _call(*pip, "install", "--constraint", constraints, f"{wheel}[serve]")


def _call(*words: str | Path) -> None:
    if status := subprocess.call(words):  # noqa: S603 - our own words
        sys.exit(f"{' '.join(map(str, words))} ended with status {status}")


def put_log(folder: Path, walk: Walk) -> tuple[str, list[str]]:
    """Copy the log into the folder; returns its name and the options that it needs."""
    data = os.environ.get("MCLREC_DATA")
    if data and (Path(data) / "ml-100k.inter").is_file():
        shutil.copy(Path(data) / "ml-100k.inter", folder)
        return "ml-100k.inter", []
    print("MCLREC_DATA has no ml-100k.inter: this walk takes the log that comes with the package")
    code = "import mclrec, pathlib; print(pathlib.Path(mclrec.__file__).parent)"
    package = walk.run(["python", "-c", code], quiet=True).strip()
    shutil.copy(Path(package) / "data" / "bundled" / "complete-journey.parquet", folder)
    return "complete-journey.parquet", ["--item-column", "product_type"]


def quoted(item: str) -> str:
    """An item as --history takes it."""
    return f'"{item}"' if "," in item else item


def put_titles(path: Path, items: Sequence[str]) -> None:
    """Write titles of the items; the data sets have none that may be handed over."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["item", "title"], *([item, title_of(item)] for item in items)])


def title_of(item: str) -> str:
    """A title made of an id."""
    return f"Title of {item}"


def check_answer(items: Sequence[str], history: Sequence[str]) -> None:
    """Check that a list is one: as many items as asked for, each once, and none of the history."""
    if len(items) != SHOWN or len(set(items)) != SHOWN or set(items) & set(history):
        sys.exit(f"{items} is no list of {SHOWN} items after {history}")


def ask(address: str, path: str, body: Any = None) -> bytes:
    """Ask the service."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own address
        answer: bytes = response.read()
    return answer


def walk_through(walk: Walk, epochs: int | None) -> float:
    """Everything after the installation; returns the seconds to the first recommendation."""
    started = time.perf_counter()
    log, options = put_log(walk.folder, walk)
    walk.run(["mclrec", "inspect", log, *options])
    short = [] if epochs is None else ["--set", f"epochs={epochs}"]
    walk.run(["mclrec", "train", log, *options, *short, "--out", "runs/first"])
    items = walk.run(["python", "-c", ITEMS], quiet=True).splitlines()
    put_titles(walk.folder / "titles.csv", items)
    history = items[:2]
    words = ["mclrec", "recommend", "runs/first", "--history", ",".join(map(quoted, history))]
    words += ["--titles", "titles.csv"]
    walk.run([*words, "--k", str(SHOWN)])
    seconds = time.perf_counter() - started
    found = json.loads(walk.run([*words, "--k", str(SHOWN), "--json"], quiet=True))
    items = [str(one["item"]) for one in found]
    check_answer(items, history)
    titles = [one["title"] for one in found]
    with walk.serve(["mclrec", "serve", "runs/first", "--titles", "titles.csv", "--port", "0"]) as address:
        answer = json.loads(ask(address, "/recommend", {"history": history, "k": SHOWN}))
        print(json.dumps(answer))
        if [str(one["item"]) for one in answer["items"]] != items:
            sys.exit("the service recommends other items than `mclrec recommend`")
        if [answer["titles"][item] for item in items] != titles or titles != list(map(title_of, items)):
            sys.exit("the titles are not those of titles.csv")
        if b"</html>" not in ask(address, "/"):
            sys.exit("the service has no page")
        print(f"{address}/ has its page")
    return seconds


def _address(service: subprocess.Popen[bytes], log: Any) -> str:
    """Wait for the line in which the service says where it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and service.poll() is None:
        log.seek(0)
        if found := re.search(r"http://[\d.]+:\d+", log.read()):
            return found[0]
        time.sleep(0.2)
    log.seek(0)
    sys.exit(f"the service did not start:\n{log.read()}")


def main() -> None:
    """Walk, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="of the training; 0: as many as it takes")
    parser.add_argument("--environment", type=Path, help="where to install, or what is installed already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newcomer-") as temporary:
        environment = given.environment or Path(temporary) / "environment"
        folder = Path(temporary) / "folder"
        folder.mkdir()
        started = time.perf_counter()
        if not environment.exists():
            install(environment.absolute())
        installed = time.perf_counter() - started
        seconds = walk_through(Walk(environment.absolute(), folder), given.epochs or None)
    print(f"\ninstalled in {installed:.0f} s; first recommendation {seconds:.0f} s after that")


if __name__ == "__main__":
    main()
