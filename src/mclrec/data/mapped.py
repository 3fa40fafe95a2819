"""Arrays with a value an interaction: large ones lie in files that the system pages, and are worked on in blocks.

A whole-array expression such as ``table[places]`` makes temporary arrays of eight bytes an interaction; these functions
make them of a block only, so that what stays in memory goes by users and items.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray
from mclrec.errors import DataError

__all__ = ["blocks", "counted", "empty", "gathered", "selected", "spans"]

_MAPPED_FROM = 1 << 25  # bytes from which an array lies in a file
_BLOCK = 1 << 20  # values worked on at a time


def empty(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """(count,) values to be filled in. A large array lies in a file without a name in ``TMPDIR``, which goes with it.

    Raises:
        DataError: there is no room for the file.
    """
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size < _MAPPED_FROM:
        return np.empty(count, kind)
    with tempfile.TemporaryFile(prefix="mclrec-") as file:
        try:
            # Room is taken now: a write to a page that has none on the disk would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            # As a plain array: a memmap would pass its class on to everything computed from it.
            return np.asarray(np.memmap(file, kind, "r+", shape=(count,)))
        except OSError as problem:
            raise DataError(
                f"{tempfile.gettempdir()}: no room for {size / 1e9:.1f} GB of interactions ({problem.strerror}); "
                "name a folder on a larger disk in TMPDIR"
            ) from None


def blocks(count: int) -> Iterator[slice]:
    """0 up to ``count``, a block at a time."""
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def spans(offsets: IntArray) -> Iterator[tuple[int, int]]:
    """Users ``first`` up to ``last`` who have about a block of interactions together; one user is never divided."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1], _BLOCK))
    ends = np.unique(np.concatenate([cuts, [0, len(offsets) - 1]])).tolist()
    return pairwise(ends)


def counted(values: npt.NDArray[np.integer[Any]], kinds: int) -> IntArray:
    """(kinds,) how often each of 0..kinds-1 is there."""
    counts = np.zeros(kinds, dtype=np.int64)
    for block in blocks(len(values)):
        counts += np.bincount(values[block], minlength=kinds)
    return counts


def gathered(table: npt.NDArray[Any], places: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """``table[places]``."""
    found = empty(len(places), table.dtype)
    for block in blocks(len(places)):
        found[block] = table[places[block]]
    return found


def selected(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """``values[mask]``."""
    kept, start = empty(int(np.count_nonzero(mask)), values.dtype), 0
    for block in blocks(len(values)):
        some = values[block][mask[block]]
        kept[start : start + len(some)] = some
        start += len(some)
    return kept
