"""The command line. Slow modules such as torch are imported only when a command needs them."""

from __future__ import annotations

import sys

from mclrec.threads import prepare_environment

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit the process.

    The exit status is 0 for success, 1 if a command did not get its result or for a bug of ours, 2 for an error
    caused by the user or the machine, 3 if another training process was lost, 4 if an update refuses the new model,
    and 130 for Ctrl-C. Errors are reported in one line on standard error; a bug also leaves a crash file.

    Args:
        arguments: the command line after ``mclrec``; that of the process if None.
    """
    if arguments is None:
        prepare_environment()
    try:
        from mclrec.cli.guard import run

        words = sys.argv[1:] if arguments is None else arguments
        status = run(words, whole_process=arguments is None)
    except KeyboardInterrupt:  # before the handler of `guard` is installed
        sys.stderr.write("interrupted\n")
        status = 130
    sys.exit(status)
