"""The progress display: one per process, however work is nested, and none where it is not wanted."""

from __future__ import annotations

import io
import re
import threading

import pytest
from rich.console import Console

from mclrec.progress import Display, advancing, counting, is_quiet, occupied, quietly, working


def console(file: io.StringIO, *, terminal: bool = True) -> Console:
    return Console(file=file, width=80, force_terminal=terminal, color_system=None)


def plain(file: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())


def test_work_within_work_adds_a_line_to_the_same_display() -> None:
    file = io.StringIO()
    with Display(console(file)) as display:
        display.add("outer", 4)
        with advancing("inner\x1b[31m", 10) as advance:
            advance(3)
            display.refresh()
        with counting("bytes", 4_000_000, unit="bytes") as count:
            count(1_000_000, 4_000_000)
            display.refresh()
        with working("for some time"):
            display.refresh()
    told = plain(file)
    assert "outer" in told
    assert re.search(r"inner\\x1b\[31m +━+ +3/10", told)
    assert re.search(r"bytes +━+ +1.0/4.0 MB", told)
    assert re.search(r"for some time.*0:00 so far", told)


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_drawn_where_it_is_no_terminal_or_quiet(terminal: bool) -> None:
    file = io.StringIO()
    with quietly(terminal), Display(console(file, terminal=terminal)) as display:
        line = display.add("outer", 4)
        display.update(line, completed=2)
        display.restart(line, 5, 0)
        with advancing("inner", 3) as advance:
            advance(1)
    assert file.getvalue() == ""
    assert not is_quiet()


def test_another_view_has_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with occupied(), counting("targets") as count:
        count(1, 2)
    assert capsys.readouterr() == ("", "")


def test_quiet_is_over_after_a_failure() -> None:
    with pytest.raises(KeyError), quietly():
        raise KeyError
    assert not is_quiet()


def test_threads_may_work_at_once() -> None:
    file = io.StringIO()

    def work() -> None:
        for _ in range(20):
            with advancing("part", 2) as advance:
                advance(1)

    with Display(console(file)):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    with Display(console(file)) as after:
        assert after.add("more", 1) is not None
