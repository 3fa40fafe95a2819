"""The command line: a thin table from commands to functions. What is slow is imported when a command runs."""

from __future__ import annotations

import sys
import warnings
from typing import Any, TextIO

from mclrec.errors import MclrecError, MclrecWarning

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process: 0 if all went well, 2 for a user's error, 130 for Ctrl-C."""
    import click

    from mclrec.cli.app import app

    warnings.showwarning = _show_warning
    try:
        status = app(arguments, standalone_mode=False)
    except MclrecError as problem:
        sys.exit(_complain(str(problem)))
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings as one line; others as Python shows them."""
    if issubclass(category, MclrecWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        text: Any = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(text)
