from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from mclrec.runs.workers import Workers, usual_count


@pytest.mark.parametrize(
    ("threads", "gpu", "count"), [(1, False, 1), (2, False, 2), (64, False, 4), (64, True, 1)]
)
def test_a_worker_a_core_but_few_and_one_on_a_gpu(
    threads: int, gpu: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert usual_count() == count


def _stay(begun: Path) -> None:
    """A worker that ignores requests to stop."""
    begun.touch()
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            continue


@pytest.mark.slow
def test_workers_that_do_not_stop_are_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    with Workers(_stay, (begun,), 1) as team:
        while not begun.exists():
            time.sleep(0.05)
        (process,) = team._processes
        monkeypatch.setattr("mclrec.runs.workers._GRACE", 0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not process.is_alive()
    assert capsys.readouterr().err.startswith("stopping: 1 worker writes its checkpoint")
