"""The net under every command: whatever ends it is one line and an exit status, never a traceback.

Ctrl-C is told within two seconds. Python raises it in the main thread, which may be in the midst of a long computation
of another library, or of an import that turns it into another exception. So the system's notice of the signal goes
through a pipe to a thread of its own, which ends the process if the main thread does not hear in time.
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

_TO_HEAR = 1.2
"""Seconds that the main thread has to hear of Ctrl-C, wherever it is."""

_TO_LEAVE = 0.5
"""Seconds that an interrupted process has to end, when the command has."""

_RENAMED = {"--from": "--warm-start", "--budget": "--minutes"}
"""Options by their earlier names."""


def run(words: Sequence[str], *, whole_process: bool) -> int:
    """Run a command; returns the exit status.

    Args:
        words: of the command.
        whole_process: whether the process ends with the command: then it stays quiet, and deaf to Ctrl-C, to its end.
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
    """Run a command; returns the exit status, after one line that explains it."""
    try:
        status = _command(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return interruption.tell() if interruption.requested else status  # typer makes of Ctrl-C a status
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
    """Let the streams show what they have no letter for as escapes, and tell where output gets lost."""
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
        message = f"No such option: {option}; it is called {_RENAMED[option]} now"
    context = getattr(problem, "ctx", None)
    return message if context is None else f"{message} (see {context.command_path} --help)"


class _Output(io.TextIOWrapper):
    """Standard output that ends the command when it can take no more: quietly where the reader has gone."""

    def write(self, text: str) -> int:
        """Write text."""
        with _ending():
            return super().write(text)

    def flush(self) -> None:
        """Write out what is still held back."""
        with _ending():
            super().flush()


@contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _silence()
        raise SystemExit(1) from None
    except OSError as problem:
        _silence()
        raise OutputError(f"the output could not be written: {system_reason(problem)}") from None


def _silence() -> None:
    """Let what is written to standard output from now on go nowhere: Python flushes it once more at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _Interruption:
    """Ctrl-C in this process: whether it came, and the end of the process if the main thread does not hear.

    Attributes:
        requested: whether it came while nothing else, such as a training that writes a checkpoint, handled it.
        ends_process: whether the command is over, and the process about to end.
    """

    def __init__(self) -> None:
        self.requested = self.ends_process = False
        self._heard = threading.Event()
        self._told = False

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the interface of a handler
        """Raise `KeyboardInterrupt`; the second time, end at once."""
        if self.ends_process:
            return
        if self.requested:
            self._end()
        self.requested = True
        self._heard.set()
        raise KeyboardInterrupt

    def tell(self) -> int:
        """Say once that the command was interrupted; returns its exit status."""
        if not self._told:
            self._told = True
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write("interrupted\n")
        return INTERRUPTED

    def watch(self, pipe: int) -> None:
        """Wait for the system's notices of signals, until the pipe is closed."""
        with os.fdopen(pipe, "rb", buffering=0) as notices:
            while notice := notices.read(1):
                ours = notice[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) == self.hear
                if ours and not self._heard.wait(_TO_HEAR):
                    self._end()

    def over(self, status: int) -> None:
        """Ignore Ctrl-C from now on, and end the process here.

        Python would take apart every module of torch first, which takes seconds on a busy machine. After an
        interruption a thread could hold the process, and where Ctrl-C came during `exec`, Python ends by the signal
        and not by a status.
        """
        self.ends_process = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as it ends, Python would give the handler back
        if status == INTERRUPTED:
            timer = threading.Timer(_TO_LEAVE, os._exit, (status,))
            timer.daemon = True
            timer.start()
        elif sys.getprofile() is not None or sys.gettrace() is not None:
            return  # a profiler or debugger around the command has its own end
        else:
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
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
    """Make Ctrl-C heard during the block, unless it is ignored or this is not the main thread."""
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
        if (
            not interruption.ends_process
        ):  # else nothing hears any more, when Python clears up and comes by here too
            signal.signal(signal.SIGINT, before)
            signal.set_wakeup_fd(earlier)
            os.close(writing)
