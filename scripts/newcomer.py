"""A newcomer's first minutes, with real commands, then tests of the installed package: ``make test-walk``.

Installs the wheel of ``make dist`` into an empty environment, and then in an empty folder inspects a log, trains on it,
recommends, and serves. Fails if a command fails or an answer is not what it should be, and prints the time to the first
recommendation. The log is ml-100k if MCLREC_DATA has it, otherwise the one that comes with the package. Then a short
demo runs there, and tests from the unpacked sdist run on the installed package.
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

from scripts.distributions import built, unpacked
from scripts.empty_environment import EmptyEnvironment, call, newcomers_variables

SHOWN = 5
START_SECONDS = 120
TESTS = (
    "tests/test_api.py",
    "tests/test_release.py",
    "tests/test_repository.py",
    "tests/data/test_readers.py",
    "tests/data/test_loading.py",
    "tests/training/test_resume.py",
    "tests/evaluation/test_metrics.py",
    "tests/inference/test_model.py",
    "tests/cli/test_app.py",
    "tests/serving/rest/test_rest_app.py",
)
"""A part of the tests that goes through every room, in about a minute."""
ITEMS = "import mclrec; print(*mclrec.Model.load('runs/first').items, sep='\\n')"


class Walk:
    """Runs the commands of an environment in a folder.

    Args:
        environment: where mclrec is installed.
        folder: working directory of the commands.
    """

    def __init__(self, environment: EmptyEnvironment, folder: Path) -> None:
        self.bin = environment.bin
        self.folder = folder
        self.variables = newcomers_variables()

    def run(self, words: Sequence[str], *, quiet: bool = False) -> str:
        """Run a command, print it with its output, and return its standard output."""
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
        """Run the service, and yield its address; it must exit with status 0 when it is terminated."""
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


def put_log(folder: Path, walk: Walk) -> tuple[str, list[str]]:
    """Copy the log into the folder; return its name and the options that it needs."""
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
    """Write titles of the items; the data sets have none that may be redistributed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["item", "title"], *([item, title_of(item)] for item in items)])


def title_of(item: str) -> str:
    """A title made of an id."""
    return f"Title of {item}"


def check_answer(items: Sequence[str], history: Sequence[str]) -> None:
    """Check a list: as many items as requested, each once, and none of the history."""
    if len(items) != SHOWN or len(set(items)) != SHOWN or set(items) & set(history):
        sys.exit(f"{items} is not a list of {SHOWN} items after {history}")


def ask(address: str, path: str, body: Any = None) -> bytes:
    """Send a request to the service, and return the body of its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own address
        answer: bytes = response.read()
    return answer


def walk_through(walk: Walk, epochs: int | None) -> float:
    """Do everything after the installation; return the seconds to the first recommendation."""
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
    """Wait until the service logs its address, and return that."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and service.poll() is None:
        log.seek(0)
        if found := re.search(r"http://[\d.]+:\d+", log.read()):
            return found[0]
        time.sleep(0.2)
    log.seek(0)
    sys.exit(f"the service did not start:\n{log.read()}")


def try_installed(walk: Walk, environment: EmptyEnvironment, wheel: Path, sdist: Path) -> None:
    """Run a shortened demo, and tests from the sdist, with the installed package."""
    environment.install(f"{wheel}[report,serve,test]")
    walk.run(["mclrec", "demo", "--epochs", "1"])
    project = unpacked(sdist, walk.folder)
    where = Path(walk.run(["python", "-c", "import mclrec; print(mclrec.__file__)"], quiet=True).strip())
    if not where.is_relative_to(environment.folder.resolve()):
        sys.exit(f"{where}: the tests would not try the installed package")
    call(environment.python, "-m", "pytest", "-q", *TESTS, folder=project, variables=walk.variables)


def main() -> None:
    """Walk through it all, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="of the training; 0: as many as it takes")
    parser.add_argument("--environment", type=Path, help="where to install, or what is installed already")
    given = parser.parse_args()
    wheel, sdist = built()
    with tempfile.TemporaryDirectory(prefix="newcomer-") as temporary:
        environment = EmptyEnvironment((given.environment or Path(temporary) / "environment").absolute())
        folder = Path(temporary) / "folder"
        folder.mkdir()
        walk = Walk(environment, folder)
        started = time.perf_counter()
        if not environment.folder.exists():
            environment.create()
            environment.install(f"{wheel}[serve]")
        installed = time.perf_counter() - started
        seconds = walk_through(walk, given.epochs or None)
        try_installed(walk, environment, wheel, sdist)
    print(f"\ninstalled in {installed:.0f} s; first recommendation {seconds:.0f} s after that")


if __name__ == "__main__":
    main()
