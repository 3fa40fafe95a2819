"""How far work is: a bar where its amount is known, a view that is drawn anew where many things go on at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress

__all__ = ["counting", "live"]

State = TypeVar("State")


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told (done, total); the bar is on the error stream, if that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def live(
    draw: Callable[[State], RenderableType], over: Callable[[State], tuple[int, Mapping[int, str]]]
) -> Iterator[Callable[[State], None]]:
    """Yield what is told how far things are: on a terminal a view, elsewhere a line whenever one of them is over.

    Args:
        draw: the view.
        over: how many things there are, and a line for each that is over, by its number.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    told: set[int] = set()
    with Live(console=console, auto_refresh=False, transient=True) as view:

        def show(state: State) -> None:
            if console.is_terminal:
                view.update(draw(state), refresh=True)
                return
            total, lines = over(state)
            for number, line in lines.items():
                if number not in told:
                    told.add(number)
                    console.print(f"{len(told)}/{total} {line}", soft_wrap=True)

        yield show
