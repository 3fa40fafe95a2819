from __future__ import annotations

import pytest
import torch

from mclrec.runs.workers import usual_count


@pytest.mark.parametrize(
    ("threads", "gpu", "count"), [(1, False, 1), (2, False, 2), (64, False, 4), (64, True, 1)]
)
def test_a_worker_a_core_but_few_and_one_on_a_gpu(
    threads: int, gpu: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert usual_count() == count
