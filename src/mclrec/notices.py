"""Lines on the error stream: our errors and warnings, one line each, and none of other packages.

The warnings and log messages of other packages are about code that the user has not written; the warnings go to the
logger ``mclrec.others`` at the level INFO, which is not shown by default.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from mclrec.crashes import crash_message, machine_failure
from mclrec.errors import MclrecWarning, bounded

__all__ = ["failed", "others_quiet", "tell"]

_LOG = logging.getLogger("mclrec.others")
_ENVIRONMENT = {"TORCH_CPP_LOG_LEVEL": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
"""Log levels for libraries that write to the error stream directly, not through Python."""


def tell(kind: str, message: str) -> None:
    """Write a message as one line to the error stream.

    Args:
        kind: prefix of the line, such as ``error`` or ``warning``.
        message: the message, which is passed through `bounded`.
    """
    with suppress(OSError, ValueError, AttributeError):  # a stream that is missing, closed or full
        sys.stderr.write(f"{kind}: {' '.join(bounded(message).split())}\n")
        sys.stderr.flush()


def failed(problem: BaseException, words: list[str]) -> int:
    """Report an exception that ends this process in one line; return the exit status.

    Args:
        problem: an `MclrecError`, a failure of the machine, or a bug, for which a crash file is written.
        words: words of the command, for the crash file.

    Returns:
        2 if the user or the machine caused it, 1 for a bug.
    """
    ours = machine_failure(problem)
    tell("error", str(ours) if ours is not None else crash_message(problem, words))
    return 1 if ours is None else 2


@contextmanager
def others_quiet(words: list[str]) -> Iterator[None]:
    """Keep the output of other packages off the error stream during the block.

    Args:
        words: words of the command, for the crash file of a thread that fails.
    """

    def thread_failed(about: threading.ExceptHookArgs) -> None:
        if about.exc_value is not None and not isinstance(about.exc_value, SystemExit):
            failed(about.exc_value, words)

    before = warnings.showwarning, logging.lastResort, sys.unraisablehook, threading.excepthook
    for name, level in _ENVIRONMENT.items():
        os.environ.setdefault(name, level)
    warnings.showwarning, logging.lastResort = _show_warning, logging.NullHandler()
    sys.unraisablehook, threading.excepthook = _unraisable, thread_failed
    try:
        yield
    finally:
        warnings.showwarning, logging.lastResort, sys.unraisablehook, threading.excepthook = before


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the interface of `warnings.showwarning`
    line: str | None = None,
) -> None:
    if issubclass(category, MclrecWarning):
        tell("warning", str(message))
    else:
        _LOG.info("%s", warnings.formatwarning(message, category, filename, lineno, line))


def _unraisable(about: Any) -> None:
    """Log an exception that nobody can catch; Ctrl-C is sent again as a signal, so that it can be caught."""
    if isinstance(about.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        _LOG.info("%s: %r", about.err_msg or "ignored", about.exc_value)
