"""Progress bars of calls from Python, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console

from mclrec.arguments import check_flag
from mclrec.progress import quietly
from mclrec.training.reporting import ProgressReporter, Reporter

__all__ = ["shown"]


def shown(progress: Any) -> AbstractContextManager[Reporter | None]:
    """The reporter for the argument ``progress`` of the Python interface: bars on the error stream, or none.

    Raises:
        ConfigError: the argument is neither true nor false.
    """
    shows = check_flag("progress", progress)
    return ProgressReporter(Console(stderr=True)) if shows else _silent()


@contextmanager
def _silent() -> Iterator[None]:
    """Yield no reporter, and suppress the progress bars of nested calls."""
    with quietly():
        yield None
