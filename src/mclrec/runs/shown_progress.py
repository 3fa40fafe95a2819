"""Progress bars of what is called from Python, or none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console

from mclrec.arguments import check_flag
from mclrec.training.reporting import ProgressReporter, Reporter

__all__ = ["shown"]


def shown(progress: Any) -> AbstractContextManager[Reporter | None]:
    """The reporter for an argument ``progress`` of the Python interface: bars on the error stream, or none.

    Raises:
        ConfigError: the argument is neither true nor false.
    """
    check_flag("progress", progress)
    return ProgressReporter(Console(stderr=True)) if progress else nullcontext()
