"""Output on the terminal: tables, and a live view for many tasks at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.table import Table

from mclrec.errors import CONTROLS, visible
from mclrec.notices import tell
from mclrec.progress import is_quiet, occupied

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from mclrec.data.intake import Intake
    from mclrec.inference.queries import Recommendation
    from mclrec.runs.scoreboard import Scoreboard

__all__ = [
    "PlainConsole",
    "live",
    "output",
    "plain_table",
    "print_intake",
    "print_json",
    "print_recommendations",
    "print_scoreboard",
    "say",
    "tell_returns",
]

State = TypeVar("State")

_UNLIMITED = 1000
"""Width of the output if it is not a terminal: wider than any table."""


class PlainConsole(Console):
    """A console that prints text without interpreting markup, and escapes control characters, which ids may contain."""

    def __init__(self, *, stderr: bool = False) -> None:
        # Standard error is often redirected to a log, where FORCE_COLOR must not add control codes.
        plain = stderr and not (sys.stderr is not None and sys.stderr.isatty())
        force = False if plain else None
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, force_terminal=force)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render segments, escaping all control characters but the console's own codes."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(visible, text.split("\n"))), style)


def output() -> PlainConsole:
    """A console on standard output; lines are not wrapped unless it is a terminal."""
    console = PlainConsole()
    if not console.is_terminal:
        console.width = max(console.width, _UNLIMITED)
    return console


def say(text: str) -> None:
    """Print a line, with control characters escaped."""
    typer.echo(visible(text))


def tell_returns(model: Path, option: str) -> None:
    """Note on the error stream that users return to items which lists leave out; silent with ``--quiet``."""
    from mclrec.runs.intake_file import returns_note

    if is_quiet():
        return
    if (note := returns_note(model, option)) is not None:
        tell("note", note)


def print_json(value: Any) -> None:
    """Print JSON on one line; control characters and those that the output cannot encode are escaped."""
    text = json.dumps(value, ensure_ascii=not _writes_unicode())
    typer.echo(CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _writes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


class _Table(Table):
    """A table that escapes control characters before it measures its cells."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row, with control characters in its text escaped."""
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def plain_table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """A table without rules, whose first ``left`` columns are left-aligned text, the others right-aligned numbers."""
    table = _Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return table


def print_intake(intake: Intake) -> None:
    """Print the summary of a log's intake on standard output, and its warnings on the error stream."""
    from mclrec.data.intake_text import intake_warnings, summary

    output().print(summary(intake), soft_wrap=True)
    for warned in intake_warnings(intake):
        tell("warning", warned.text)


def print_recommendations(
    found: Sequence[Recommendation], titles: Sequence[str | None] | None = None
) -> None:
    """Print recommended items with rank and score, and with titles if they are given."""
    named = [] if titles is None else ["title"]
    table = plain_table("", "item", *named, "score", left=2 + len(named))
    for place, (item, score) in enumerate(found, start=1):
        title = [] if titles is None else [titles[place - 1] or ""]
        table.add_row(str(place), str(item), *title, _score_text(score))
    output().print(table)


def _score_text(score: float) -> str:
    """A score to three decimals; to three significant digits if that would hide it, as in models that count."""
    return f"{score:.3g}" if 0 < abs(score) < 0.1 else f"{score:.3f}"


def print_scoreboard(board: Scoreboard) -> None:
    """Print the metrics of a run beside its baselines, with the interval of the main metric."""
    from mclrec.evaluation.significance import p_text  # imports NumPy, which not every command needs

    names = [name for name in board.scores[0].metrics if not name.startswith("MRR")] or list(
        board.scores[0].metrics
    )
    table = plain_table("", *names, f"95 % of {board.metric}", "p", title=board.title)
    for score in board.scores:
        interval = f"{score.low:.4f} to {score.high:.4f}"
        values = (f"{score.metrics[name]:.4f}" for name in names)
        table.add_row(score.model, *values, interval, "" if score.p is None else p_text(score.p))
    console = output()
    console.print(table)
    console.print(board.note, style="dim")
    if board.verdict is not None:
        console.print(board.verdict, style="dim")


@contextmanager
def live(
    draw: Callable[[State], RenderableType], finished: Callable[[State], tuple[int, Mapping[int, str]]]
) -> Iterator[Callable[[State], None]]:
    """Show the state of many tasks; yields a function to call with the current state.

    On a terminal that function redraws a view; elsewhere it prints one line for each task that has ended. With
    ``--quiet`` it does nothing.

    Args:
        draw: returns the view of a state.
        finished: returns the number of tasks, and a line for each task that has ended, by its number.
    """
    console = PlainConsole(stderr=True)
    if is_quiet():
        yield lambda _: None
    elif console.is_terminal:
        from rich.live import Live

        with occupied(), Live(console=console, auto_refresh=False, transient=True) as view:
            yield lambda state: view.update(draw(state), refresh=True)
    else:
        printed: set[int] = set()

        def show(state: State) -> None:
            total, lines = finished(state)
            for number, line in lines.items():
                if number not in printed:
                    printed.add(number)
                    console.print(f"{len(printed)}/{total} {line}", soft_wrap=True)

        yield show
