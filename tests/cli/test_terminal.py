"""Terminal output: progress is shown on standard error, only if that is a terminal, and fits a narrow window."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from mclrec.cli.terminal import live
from mclrec.progress import counting
from mclrec.training.reporting import EpochStart, ProgressReporter

LOSSES = {f"augmenters/part{number}": 12.3456 for number in range(6)}


def shown(*, terminal: bool) -> str:
    """Everything that a reporter draws in 80 columns."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=terminal, color_system=None)
    with ProgressReporter(console) as reporter:
        reporter.epoch_started(EpochStart("train", 12, 20, 4))
        for _ in range(3):
            reporter.stepped(LOSSES)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())


def test_bar_stays_where_there_are_many_losses() -> None:
    lines = [line for line in re.split(r"[\r\n]+", shown(terminal=True)) if "3/4" in line]
    assert lines
    assert lines[-1].startswith("train epoch 12 ━")
    assert "augmenters/part0 12.3" in lines[-1]
    assert len(lines[-1]) <= 80


def test_the_time_left_is_that_of_the_whole_training() -> None:
    lines = [line for line in re.split(r"[\r\n]+", shown(terminal=True)) if "47/80" in line]
    assert re.match(r"train +━.* 47/80 .*at most 20 epochs", lines[-1])


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(terminal=False) == ""
    with counting("targets") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_each_task_is_printed_once_when_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lines(over: list[int]) -> tuple[int, dict[int, str]]:
        return 3, {number: f"thing {number}" for number in over}

    with live(lambda _: "a view", lines) as show:
        for over in ([], [2], [2, 0], [2, 0]):
            show(over)
    assert capsys.readouterr() == ("", "1/3 thing 2\n2/3 thing 0\n")
