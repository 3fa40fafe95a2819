"""Progress on the terminal: a bar for one task, a live view for many tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["counting", "live"]

State = TypeVar("State")


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal; yields a function to call with (done, total)."""
    from rich.progress import Progress  # slow to import, and every command imports this module

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def live(
    draw: Callable[[State], RenderableType], finished: Callable[[State], tuple[int, Mapping[int, str]]]
) -> Iterator[Callable[[State], None]]:
    """Show the state of many tasks; yields a function to call with the current state.

    On a terminal it redraws a view, elsewhere it prints one line for each task that has ended.

    Args:
        draw: makes the view of a state.
        finished: the number of tasks, and a line for each that has ended, by its number.
    """
    from rich.live import Live

    console = Console(stderr=True, highlight=False, markup=False)
    printed: set[int] = set()
    with Live(console=console, auto_refresh=False, transient=True) as view:

        def show(state: State) -> None:
            if console.is_terminal:
                view.update(draw(state), refresh=True)
                return
            total, lines = finished(state)
            for number, line in lines.items():
                if number not in printed:
                    printed.add(number)
                    console.print(f"{len(printed)}/{total} {line}", soft_wrap=True)

        yield show
