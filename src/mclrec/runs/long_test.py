"""A note that ranking the test targets will take hours, given early enough to postpone it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from mclrec.notices import tell
from mclrec.progress import is_quiet
from mclrec.runs.plan import duration
from mclrec.wording import count_of

__all__ = ["telling_if_long"]

_SETTLED = 10.0
"""Seconds of ranking after which the remaining time is estimated."""

_LONG = 3600.0
"""Remaining seconds above which the note is given."""


def telling_if_long(total: int, advance: Callable[[int], None]) -> Callable[[int], None]:
    """Wrap a progress callback: once ten seconds have passed, note if the rest will take more than an hour.

    Args:
        total: number of targets to rank, over all protocols.
        advance: the callback, which takes the number of targets in each batch.
    """
    start, done, told = perf_counter(), 0, False

    def ranked(more: int) -> None:
        nonlocal done, told
        done += more
        advance(more)
        seconds = perf_counter() - start
        if told or seconds < _SETTLED or not done:
            return
        told = True
        left = seconds / done * (total - done)
        if left > _LONG and not is_quiet():
            tell(
                "note",
                f"ranking the other {count_of(total - done, 'target')} of the test, both protocols counted, takes "
                f"about {duration(left)}; the model is saved and can already be used: Ctrl-C postpones the test, and "
                "the same command with --resume restarts it",
            )

    return ranked
