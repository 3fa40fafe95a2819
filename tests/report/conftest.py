from pathlib import Path

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
