"""Top-level error handling of every command: a failure ends in one line and an exit status, never in a traceback.

Ctrl-C takes effect within two seconds. Python raises it in the main thread, which may be in the middle of another
library's long computation, or of an import that turns it into another exception. Therefore the signal's number is also
written to a pipe, and the thread that reads it ends the process if the main thread does not react in time.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from mclrec.errors import LOST_STATUS, LostProcessError, OutputError
from mclrec.files import remove_unfinished, system_reason
from mclrec.notices import failed, others_quiet, tell
from mclrec.progress import quietly
from mclrec.wording import by_command

__all__ = ["INTERRUPTED", "run"]

INTERRUPTED = 130
_USAGE = 2

_REACTION_SECONDS = 1.2
"""Seconds that the main thread has to react to Ctrl-C, wherever it is."""

_EXIT_SECONDS = 0.5
"""Seconds that an interrupted process has to exit after its command has ended."""

_RENAMED = {"--from": "--warm-start", "--budget": "--minutes"}
"""Current names of renamed options, by earlier name."""


def run(words: Sequence[str], *, whole_process: bool) -> int:
    """Run a command and return its exit status.

    Args:
        words: the command line after ``mclrec``.
        whole_process: whether the process ends with the command: other packages then stay silent, and Ctrl-C is
            ignored, until it exits.
    """
    if whole_process:
        _prepare_streams()
    state = ExitStack()
    interruption = state.enter_context(_interruptible())
    state.enter_context(by_command())
    state.enter_context(quietly(False))
    state.enter_context(others_quiet(list(words)))
    try:
        status = _status(list(words), interruption)
    finally:
        if not whole_process:
            state.close()
    if whole_process:
        interruption.over(status)
    return status


def _status(words: list[str], interruption: _Interruption) -> int:
    """Run a command and return its exit status, after reporting a failure in one line."""
    try:
        status = _command(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return interruption.tell() if interruption.requested else status  # typer turns Ctrl-C into a status
    except LostProcessError as problem:
        tell("error", str(problem))
        os._exit(LOST_STATUS)  # at once: torch would wait for the lost process
    except KeyboardInterrupt:
        return interruption.tell()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception as problem:
        if interruption.requested or type(problem).__name__ == "Abort":  # Ctrl-C became another exception
            return interruption.tell()
        if hasattr(problem, "format_message"):
            tell("error", _usage(problem))
            return _USAGE
        return failed(problem, words)


def _command(words: list[str]) -> int:
    from mclrec.cli.commands import app

    status = app(words or ["--help"], standalone_mode=False, prog_name="mclrec", obj={"words": words})
    return status if isinstance(status, int) else 0


def _prepare_streams() -> None:
    """Escape characters that the streams cannot encode, and report it if standard output cannot be written."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, lines = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Output(
            sys.stdout.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines
        )


def _usage(problem: Any) -> str:
    """The message of a usage error, whether it comes from typer's own copy of click or from the installed one."""
    message = problem.format_message().replace("Value error, ", "")
    option = getattr(problem, "option_name", None)
    if option in _RENAMED:
        message = f"No such option: {option}; it is now called {_RENAMED[option]}"
    context = getattr(problem, "ctx", None)
    return message if context is None else f"{message} (see {context.command_path} --help)"


class _Output(io.TextIOWrapper):
    """Standard output that ends the command if it cannot be written: silently if the reader has closed the pipe."""

    def write(self, text: str) -> int:
        """Write text."""
        with _exit_on_write_error():
            return super().write(text)

    def flush(self) -> None:
        """Write out buffered text."""
        with _exit_on_write_error():
            super().flush()


@contextmanager
def _exit_on_write_error() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _silence()
        raise SystemExit(1) from None
    except OSError as problem:
        _silence()
        raise OutputError(f"the output could not be written: {system_reason(problem)}") from None


def _silence() -> None:
    """Redirect standard output to the null device, because Python flushes it once more at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _Interruption:
    """Handling of Ctrl-C: records that it came, and ends the process if the main thread does not react.

    Attributes:
        requested: whether Ctrl-C came while nothing else, such as a training that writes a checkpoint, handled it.
        ends_process: whether the command is over and the process about to exit.
    """

    def __init__(self) -> None:
        self.requested = self.ends_process = False
        self._heard = threading.Event()
        self._told = False

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signature of a signal handler
        """Handle SIGINT: raise `KeyboardInterrupt`; the second time, exit at once."""
        if self.ends_process:
            return
        if self.requested:
            self._end()
        self.requested = True
        self._heard.set()
        raise KeyboardInterrupt

    def tell(self) -> int:
        """Print, only once, that the command was interrupted, and return its exit status."""
        if not self._told:
            self._told = True
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write("interrupted\n")
        return INTERRUPTED

    def watch(self, pipe: int) -> None:
        """Read the numbers of signals until the pipe is closed; exit if the main thread does not react to Ctrl-C."""
        with os.fdopen(pipe, "rb", buffering=0) as notices:
            while notice := notices.read(1):
                ours = notice[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) == self.hear
                if ours and not self._heard.wait(_REACTION_SECONDS):
                    self._end()

    def over(self, status: int) -> None:
        """Ignore Ctrl-C from now on, and exit the process here instead of letting Python shut down.

        Python would first tear down every module of torch, which takes seconds on a busy machine. After an
        interruption a thread could keep the process alive, and if Ctrl-C came during `exec`, Python would end by the
        signal instead of with a status.
        """
        self.ends_process = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a handler is reset to the default at exit
        if status == INTERRUPTED:
            timer = threading.Timer(_EXIT_SECONDS, os._exit, (status,))
            timer.daemon = True
            timer.start()
        elif sys.getprofile() is not None or sys.gettrace() is not None:
            return  # let a profiler or debugger around the command finish
        else:
            threading._shutdown()  # type: ignore[attr-defined]  # joins threads, as Python does at exit
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(status)

    def _end(self) -> NoReturn:
        self.tell()
        remove_unfinished()
        os._exit(INTERRUPTED)


@contextmanager
def _interruptible() -> Iterator[_Interruption]:
    """Handle Ctrl-C during the block, unless it is ignored or this is not the main thread."""
    interruption = _Interruption()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):
        yield interruption
        return
    before = signal.signal(signal.SIGINT, interruption.hear)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=interruption.watch, args=(reading,), daemon=True).start()
    try:
        yield interruption
    finally:
        if not interruption.ends_process:  # else this is Python's cleanup, and Ctrl-C stays ignored
            signal.signal(signal.SIGINT, before)
            signal.set_wakeup_fd(earlier)
            os.close(writing)
