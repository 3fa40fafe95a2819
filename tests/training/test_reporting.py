"""Output of the progress reporter, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from mclrec.training.reporting import EpochRecord, EpochStart, ProgressReporter

BEST = EpochRecord("train", 3, 12.345, {"rec": 2.5, "cl2": 10.0}, {"mrr@10": 0.1234}, True)
WORSE = EpochRecord("train", 4, 12.345, {"rec": 2.5}, {"mrr@10": 0.1}, False)


def printed(*, terminal: bool) -> str:
    file = io.StringIO()
    with ProgressReporter(Console(file=file, force_terminal=terminal, width=100)) as reporter:
        for record in (BEST, WORSE):
            reporter.epoch_started(EpochStart(record.phase, record.epoch, 9, 4, 1))
            for _ in range(3):
                reporter.stepped({"rec": 7.77777})
            reporter.epoch_finished(record)
    return file.getvalue()


def test_a_line_an_epoch() -> None:
    assert printed(terminal=False).splitlines() == [
        "train epoch   3    12.3 s  rec 2.5000  cl2 10.0000  mrr@10 0.1234 *",
        "train epoch   4    12.3 s  rec 2.5000  mrr@10 0.1000",
    ]


def test_a_bar_on_a_terminal() -> None:
    shown = printed(terminal=True)
    assert "train epoch 4" in shown
    assert "4/4" in shown
    assert "rec 7.7778" in shown
