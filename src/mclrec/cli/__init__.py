"""The command line: a thin table from commands to functions. What is slow is imported when a command runs."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, TextIO

from mclrec.errors import LOST_STATUS, LostProcessError, MclrecError, MclrecWarning

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process.

    The status is 0 if all went well, 2 for a user's error, which is one line on the error stream, 3 where another
    process of the same run was lost, and 130 for Ctrl-C.

    Args:
        arguments: words after ``mclrec``; those of the process if None.
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
        os._exit(LOST_STATUS)  # at once: torch takes its time to part with who is gone
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
    """What click says, by whichever click: typer brings a copy of its own, older ones use the installed one."""
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
    """Our own warnings as one line; others as Python shows them."""
    if issubclass(category, MclrecWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        text: Any = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(text)
