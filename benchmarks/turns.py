"""Run children in turns: all are started, then one after another does a pass while the others wait."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.processes import BenchmarkError, Child, Measurement, Place, measurement, started

__all__ = ["run_in_turns"]

_PATIENCE = 900.0
"""Seconds that a child may take for its set-up or for a pass."""


def run_in_turns(children: Mapping[str, Child], passes: int, place: Place) -> dict[str, Measurement]:
    """Run children that wait for their turns in `benchmarks.child.turns`, and read the documents that they print.

    A child that waits for its turn sleeps. A slow phase of the machine that outlasts a pass affects all of them.

    Args:
        children: children by side.
        passes: number of passes of each child.
        place: where they run.

    Raises:
        BenchmarkError: a child failed or took too long.
    """
    with ExitStack() as stack:
        lines: dict[str, Any] = {}
        finishes: dict[str, Callable[[], Any]] = {}
        for side, child in children.items():
            lines[side], theirs = socket.socketpair()
            stack.enter_context(lines[side])
            lines[side].settimeout(_PATIENCE)
            with theirs:
                words = child.words(turns=theirs.fileno())
                finishes[side] = stack.enter_context(
                    started(words, child.name, place, child.environment, files=[theirs.fileno()])
                )
            _wait(side, lines[side], finishes[side])
        for _ in range(passes):
            for side, line in lines.items():
                line.sendall(b".")
                _wait(side, line, finishes[side])
        for line in lines.values():
            line.close()
        return {side: measurement(finish()) for side, finish in finishes.items()}


def _wait(side: str, line: Any, finish: Callable[[], Any]) -> None:
    """Wait until a child reports that its set-up or a pass is done."""
    try:
        answered = line.recv(1)
    except TimeoutError:
        raise BenchmarkError(f"{side}: took more than {_PATIENCE:.0f} s for a pass") from None
    except ConnectionError:
        answered = b""
    if not answered:
        finish()  # raises with the reason if the child failed
        raise BenchmarkError(f"{side}: ended before its passes were done")
