"""glibc allocator settings that keep memory freed by a training step for the next step.

By default glibc returns large arrays to the kernel as soon as they are freed, and the kernel has to zero their pages
again when the next step allocates as much. This took two fifths of a step of `auto` with a million items, and also two
fifths with ``loss = "gbce"`` on Beauty.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Options of ``mallopt``, as numbered in ``malloc.h``."""

_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: (1 << 31) - 1}
"""Allocate arrays of any size on the heap; return its end to the kernel only if more than 2 GiB of it are free."""

_USUAL = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""Values that glibc's dynamic adjustment reaches in a process that has freed large arrays."""

_TUNED = re.compile(r"MALLOC_(TRIM_THRESHOLD|MMAP_THRESHOLD|MMAP_MAX|TOP_PAD)_|GLIBC_TUNABLES")
"""Environment variables by which a user tunes the allocator."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process within the block, and return it to the kernel at the end.

    It has no effect if the C library is not glibc, or if environment variables tune its allocator.
    """
    library = None if any(map(_TUNED.fullmatch, os.environ)) else _glibc()
    if library is None:
        yield
        return
    for option, value in _KEPT.items():
        library.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
