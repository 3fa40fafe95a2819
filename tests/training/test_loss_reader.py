"""The loss reader: values are passed on in order, and immediately if they are on the host."""

from __future__ import annotations

import torch

from mclrec.training.loss_reader import LossReader


def test_values_of_the_host_are_passed_on_at_once_and_before_the_end_of_their_batch() -> None:
    seen: list[object] = []
    reader = LossReader()
    reader.add(torch.tensor([1.0, 2.0]), seen.append)
    assert seen == [[1.0, 2.0]]
    reader.add(torch.tensor([3.0]), seen.append)
    reader.end_batch(lambda: seen.append("end"))
    reader.catch_up()
    assert seen == [[1.0, 2.0], [3.0], "end"]
