import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("report")
    log = write_log(folder / "tiny.csv", tiny_data(shortest=5))
    requests = [
        TrainRequest(log, "markov", out=folder / "markov"),
        TrainRequest(log, "sasrec", settings={"epochs": 2, "hidden_size": 8}, out=folder / "sasrec"),
    ]
    return [train(request) for request in requests]


@pytest.fixture(scope="session")
def log(runs: list[Run]) -> Path:
    return runs[0].directory.parent / "tiny.csv"


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A browser page in headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser.new_page()
        browser.close()
