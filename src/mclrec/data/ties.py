"""Ties: rows of one user at the same time are put in an order that reveals nothing about their items.

An order by outside ids would: if a basket or a day shares one time, each item would hint at the next one. So rows at
the same time are ordered by a hash of outside user id, outside item id and time. This order does not depend on the
engine, the machine, other rows of the log, or the order in which rows were read. A hash of the item alone would again
be one order for all users, which a model can learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, run_blocks
from mclrec.data.vocabulary import Vocabulary

__all__ = ["TIES", "TieRule", "break_ties", "whole_times"]

TieRule = Literal["hash", "file"]
"""What orders a user's rows at the same time: a hash, or their order in the log."""

TIES: tuple[TieRule, ...] = get_args(TieRule)

Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def break_ties(
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    times: npt.NDArray[Any] | None,
    same: npt.NDArray[np.bool_],
    user_ids: Vocabulary,
    item_ids: Vocabulary,
    ticks: int = 1,
) -> None:
    """Order tied rows by their hash, in place; repeats of an item at the same time stay adjacent.

    Args:
        users: (N,) places in ``user_ids``, ascending.
        items: (N,) places in ``item_ids``, ascending within each run of ``same``; modified in place.
        times: (N,) times in ticks; None counts as 0.
        same: (N,) whether a row has the same user, time and sequence as the one before it.
        user_ids: outside ids of users.
        item_ids: outside ids of items.
        ticks: ticks per unit of time. Whole units are hashed, whatever the precision of the log's times.
    """
    of_users, of_items = _IdHashes(user_ids), _IdHashes(item_ids)
    for block in run_blocks(same):
        groups = _groups(items[block], same[block])
        if not len(groups.rows):
            continue
        places = groups.rows + block.start
        when = np.zeros(len(places), np.int64) if times is None else whole_times(times[places], ticks)
        keys = mixed(of_users.of(users[places]) ^ mixed(when.view(np.uint64)))
        keys = mixed(keys ^ of_items.of(items[places]))
        bits = int(groups.numbers[-1]).bit_length()
        keys >>= np.uint64(bits)
        if bits:
            keys |= groups.numbers << np.uint64(64 - bits)
        items[places] = items[places[np.argsort(keys, kind="stable")]]


def whole_times(times: npt.NDArray[Any], ticks: int) -> IntArray:
    """(N,) times rounded down from ticks to whole units."""
    whole = np.floor(times) if times.dtype.kind == "f" else times
    return (whole // ticks if ticks != 1 else whole).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Tied rows of a block.

    Attributes:
        rows: (M,) places of the rows in the block.
        numbers: (M,) number of each row's group, from 0.
    """

    rows: IntArray
    numbers: Hashes


def _groups(items: npt.NDArray[np.int32], same: npt.NDArray[np.bool_]) -> _Groups:
    """The groups of tied rows that hold more than one distinct item."""
    starts = np.flatnonzero(~same)
    ends = np.append(starts[1:], len(same))
    several = items[starts] != items[ends - 1]
    starts, lengths = starts[several], (ends - starts)[several]
    numbers = np.repeat(np.arange(len(starts), dtype=np.uint64), lengths)
    first = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    return _Groups(first + np.arange(len(first)), numbers)


def mixed(values: Hashes) -> Hashes:
    """The output function of splitmix64: a bijection of 64 bits whose every output bit depends on every input bit."""
    mixture = values + _GOLDEN
    mixture ^= mixture >> np.uint64(30)
    mixture *= _FIRST
    mixture ^= mixture >> np.uint64(27)
    mixture *= _SECOND
    mixture ^= mixture >> np.uint64(31)
    return mixture


class _IdHashes:
    """Hashes of outside ids, computed on first use: BLAKE2b, with a digest of 8 bytes, of the id as UTF-8 text.

    Integers are hashed as decimal digits, so that the order stays the same if a further row turns the column into text.
    """

    def __init__(self, ids: Vocabulary) -> None:
        self._ids = ids
        self._known = np.zeros(len(ids), np.bool_)
        self._hashes = np.zeros(len(ids), np.uint64)

    def of(self, places: npt.NDArray[np.int32]) -> Hashes:
        """(M,) hashes of the ids at the given places, counted from 0."""
        wanted = np.zeros(len(self._ids), np.bool_)
        wanted[places] = True
        wanted &= ~self._known
        new = np.flatnonzero(wanted)
        if len(new):
            digests = b"".join(_digests(self._ids.take(new)))
            self._hashes[new] = np.frombuffer(digests, "<u8")
            self._known[new] = True
        return self._hashes[places]


def _digests(ids: Vocabulary) -> Iterator[Any]:
    return (blake2b(str(value).encode(), digest_size=8).digest() for value in ids)
