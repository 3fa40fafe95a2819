"""Progress bars of long work, with the time left, on terminals and in notebooks; nothing is drawn elsewhere.

Bars are drawn on the error stream and removed when the work is done. A process has one display: nested work adds its
line to it. Within `quietly` nothing is drawn, and reporters print warnings only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mclrec.errors import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task

__all__ = ["Display", "advancing", "counting", "is_quiet", "occupied", "quietly", "working"]

_UNITS = {"bytes": 1e6}


class _State:
    """The displays of a process, the last of which is in use; None stands for a view that occupies the terminal."""

    def __init__(self) -> None:
        self.quiet = False
        self.displays: list[Display | None] = []


_STATE = _State()


def is_quiet() -> bool:
    """Whether progress bars are switched off."""
    return _STATE.quiet


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Draw nothing during the block, in all threads; with False, allow drawing again."""
    before, _STATE.quiet = _STATE.quiet, quiet
    try:
        yield
    finally:
        _STATE.quiet = before


class Display:
    """Bars on a console, one below the other; none if it is neither a terminal nor a notebook, or if `is_quiet`.

    Args:
        console: console to draw on; the error stream if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._given = console
        self._bars: Progress | None = None

    def __enter__(self) -> Display:
        if not _STATE.quiet:
            self._bars = _bars(self._given)
        if self._bars is not None:
            self._bars.start()
        _STATE.displays.append(self)
        return self

    def __exit__(self, *problem: object) -> None:
        _STATE.displays.remove(self)
        if self._bars is not None:
            self._bars.stop()

    def add(self, what: str, total: int | None = None, *, unit: str = "") -> Any:
        """Add a line.

        Args:
            what: description of the work.
            total: amount of work; unknown if None.
            unit: ``bytes`` are shown in megabytes; anything else is counted.

        Returns:
            The number of the line, for `update`; None if nothing is drawn.
        """
        if self._bars is None:
            return None
        return self._bars.add_task(visible(what), total=total, note="", unit=unit)

    def update(self, line: Any, **changes: Any) -> None:
        """Change a line: ``completed``, ``advance``, ``total``, ``description``, ``note`` or ``visible``."""
        if self._bars is not None and line is not None:
            self._bars.update(line, **changes)

    def restart(self, line: Any, total: int, completed: int) -> None:
        """Restart a line with another amount of work; the time left is estimated from here on."""
        if self._bars is not None and line is not None:
            self._bars.reset(line, total=total, completed=completed, visible=True, note="", unit="")

    def refresh(self) -> None:
        """Draw now instead of within the next tenth of a second."""
        if self._bars is not None:
            self._bars.refresh()

    def remove(self, line: Any) -> None:
        """Remove a line."""
        if self._bars is not None and line is not None:
            self._bars.remove_task(line)


@contextmanager
def occupied() -> Iterator[None]:
    """Draw nothing during the block, in which another view occupies the terminal."""
    _STATE.displays.append(None)
    try:
        yield
    finally:
        _STATE.displays.remove(None)


@contextmanager
def counting(
    what: str, total: int | None = None, *, unit: str = ""
) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar; yield a function to call with the amount done and the total (None: unknown).

    Args:
        what: description of the work.
        total: amount of work; not yet known if None.
        unit: see `Display.add`.
    """
    with _line(what, total, unit) as (display, line):
        yield lambda done, of: display.update(line, completed=done, total=of)


@contextmanager
def advancing(what: str, total: int, *, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Show a bar; yield a function to call with the amount done since the last call. See `counting`."""
    with _line(what, total, unit) as (display, line):
        yield lambda more: display.update(line, advance=more)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a bar with the elapsed time alone, for work whose amount is unknown."""
    with _line(what, None, ""):
        yield


@contextmanager
def _line(what: str, total: int | None, unit: str) -> Iterator[tuple[Display, Any]]:
    """A line of the current display, or of a new one if there is none."""
    if _STATE.displays:
        display = _STATE.displays[-1] or Display()  # a display that is not entered draws nothing
        line = display.add(what, total, unit=unit)
        try:
            yield display, line
        finally:
            display.remove(line)
    else:
        with Display() as display:
            yield display, display.add(what, total, unit=unit)


def _bars(given: Console | None) -> Progress | None:
    """rich's progress bars for a terminal or a notebook; None anywhere else."""
    notebook = "IPython" in sys.modules
    if given is None and not notebook and not (sys.stderr is not None and sys.stderr.isatty()):
        return None
    from rich.console import Console  # slow to import, and not needed to answer queries from an export
    from rich.progress import Progress

    console = given if given is not None else Console(stderr=True)
    if console.is_jupyter:
        from mclrec.notebook_bars import NotebookBars

        return NotebookBars(*_columns())
    if not console.is_terminal:
        return None
    return Progress(*_columns(), console=console, expand=True, transient=True)


def _columns() -> list[ProgressColumn]:
    """Columns of a bar's line."""
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Amount(ProgressColumn):
        """The amount done and the total."""

        def render(self, task: Task) -> Text:
            return Text(_amount(task), no_wrap=True)

    class Left(ProgressColumn):
        """The time left, or the elapsed time if that is unknown."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            return Text(_left(task), no_wrap=True)

    return [
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        Amount(),
        Left(),
        # In a narrow window this column shrinks, not the bar.
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    ]


def _amount(task: Task) -> str:
    if task.total is None and not task.completed:
        return ""
    size = _UNITS.get(task.fields["unit"])
    done, whole = (
        ("?" if number is None else f"{number:,.0f}" if size is None else f"{number / size:,.1f}")
        for number in (task.completed, task.total)
    )
    text = done if task.total is None else f"{done}/{whole}"
    return text if size is None else f"{text} MB"


def _left(task: Task) -> str:
    left = task.time_remaining
    if left is not None:
        return f"{_clock(left)} left"
    return f"{_clock(task.elapsed or 0.0)} so far"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
