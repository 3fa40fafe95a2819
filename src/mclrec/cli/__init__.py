"""The command line. Slow modules such as torch are imported only when a command needs them."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, TextIO

from mclrec.errors import LOST_STATUS, LostProcessError, MclrecError, MclrecWarning

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit the process.

    The exit status is 0 for success, 2 for an error of the user, which is told in one line on standard error, 3 if
    another training process was lost, and 130 for Ctrl-C.

    Args:
        arguments: the words after ``mclrec``; those of the process if None.
    """
    import typer

    from mclrec.cli.commands import app

    words = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = _show_warning
    try:
        status = app(words or ["--help"], standalone_mode=False, prog_name="mclrec", obj={"words": words})
    except LostProcessError as problem:
        _complain(str(problem))
        sys.stderr.flush()
        os._exit(LOST_STATUS)  # at once: torch would wait for the lost process
    except MclrecError as problem:
        sys.exit(_complain(str(problem)))
    except OSError as problem:
        sys.exit(_complain(f"{problem.filename or 'system'}: {problem.strerror or problem}"))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as problem:
        if not hasattr(problem, "format_message"):
            raise
        sys.exit(_complain(_usage(problem)))
    sys.exit(status if isinstance(status, int) else 0)


def _usage(problem: Any) -> str:
    """The message of a usage error, whether it comes from typer's own copy of click or from the installed one."""
    message = problem.format_message().replace("Value error, ", "")
    context = getattr(problem, "ctx", None)
    return message if context is None else f"{message} (see {context.command_path} --help)"


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
    """Show a warning of this package as one line, and any other as Python does."""
    if issubclass(category, MclrecWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        text: Any = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(text)
