"""Rows of a log in training, validation and test files: their order, repeated rows, and where each part ends.

Rows of a user are in the order of the files, whatever their times are. If a file holds lists, a list may repeat earlier
rows. So do RecBole's files, whose rows are a history and the item that follows it: rows of the history that are already
known are dropped, the others become history, and only the item is a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mclrec.data.coded_rows import CodedRows, Codes
from mclrec.data.intake import PartsTaken
from mclrec.data.moments import units_per_second
from mclrec.data.number_dates import middle
from mclrec.data.packed import IntArray, counted
from mclrec.data.readers import PartRead
from mclrec.errors import DataError, quoted

__all__ = ["check_parts", "cuts_of", "first_in_parts", "in_order"]

_TRAINING, _TEST = 0, 4
"""Parts of rows: 0 training, 2 validation, 4 test; 1 and 3 are histories in lists of the validation and test file."""

Parts = npt.NDArray[np.int8]


def in_order(rows: CodedRows, reads: Sequence[PartRead]) -> tuple[CodedRows, int]:
    """Assign each row its part and drop rows that lists merely repeat; return the rows and the number dropped.

    Args:
        rows: rows whose ``parts`` are the numbers of their files.
        reads: what was found in each file.

    Raises:
        DataError: the lists of a user contradict each other.
    """
    parts = _parts_of(rows) * np.int8(2)
    rows = replace(rows, parts=parts)
    if not any(read.found.lists for read in reads):
        return rows, 0
    kept = _Lists(rows, reads).settled()
    return rows.take(kept), int(len(kept) - np.count_nonzero(kept))


def cuts_of(rows: CodedRows) -> IntArray:
    """(4, users) number of rows of each user up to and including each part but the last; see `SequenceData.cuts`."""
    parts, users = _parts_of(rows), len(rows.user_ids)
    return np.stack([counted(rows.users[parts <= part], users) for part in range(_TEST)])


def check_parts(rows: CodedRows, reads: Sequence[PartRead], repeated: int, ticks: int) -> PartsTaken:
    """Check that the parts belong together; return what was taken of each file.

    Raises:
        DataError: no row of a file is left, no user of one of the last two is in the first, or units of time differ.
    """
    files = _files_of(rows)
    sizes = [int(np.count_nonzero(files == number)) for number in range(len(reads))]
    for size, read in zip(sizes, reads, strict=True):
        if not size:
            raise DataError(
                f"{read.place}: none of its rows are left, so the split lacks a part; drop fewer, or give one log"
            )
    trained = counted(rows.users[_parts_of(rows) == _TRAINING], len(rows.user_ids)) > 0
    for number, read in enumerate(reads[1:], start=1):
        users = rows.users[files == number]
        if not read.found.followed and not trained[users].any():
            raise DataError(
                f"{read.place}: shares no user with {reads[0].place}; are users written the same way in both?"
            )
    _check_units(rows, reads, ticks)
    present = counted(rows.users, len(rows.user_ids)) > 0
    return PartsTaken(
        places=(reads[0].place, reads[1].place, reads[2].place),
        rows=(sizes[0], sizes[1], sizes[2]),
        repeated=repeated,
        leaked=_count_leaked_rows(rows),
        disordered=_count_disordered_users(rows),
        untrained=int(np.count_nonzero(present & ~trained)),
    )


def _check_units(rows: CodedRows, reads: Sequence[PartRead], ticks: int) -> None:
    """Refuse times in different units, such as seconds in one file and milliseconds in another."""
    if rows.times is None:
        return
    files = _files_of(rows)
    units = [
        units_per_second(int(middle(rows.times[files == number]) // ticks)) for number in range(len(reads))
    ]
    for read, unit in zip(reads, units, strict=True):
        if None not in (unit, units[0]) and unit != units[0]:
            raise DataError(
                f"{read.place}: has times in another unit than {reads[0].place}, such as milliseconds, not "
                "seconds; use one unit in all files"
            )


def first_in_parts(rows: CodedRows) -> npt.NDArray[np.bool_]:
    """(N,) whether a row is the first one of its user, item and time in all files."""
    order, same = _alike(rows)
    first = np.ones(len(order), np.bool_)
    first[order[same]] = False
    return first


def _parts_of(rows: CodedRows) -> Parts:
    if rows.parts is None:
        raise ValueError("rows of one log have no parts")
    return rows.parts


def _files_of(rows: CodedRows) -> Parts:
    """(N,) number of the file of each row: 0, 1 or 2."""
    files: Parts = (_parts_of(rows) + 1) // 2
    return files


def _alike(rows: CodedRows) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Order of rows by which equal ones are adjacent and stay in order, and whether each equals the one before it."""
    keys = [rows.items, rows.users] if rows.times is None else [rows.times, rows.items, rows.users]
    order = np.lexsort(keys)
    same = np.zeros(len(order), np.bool_)
    same[1:] = np.all([key[order[1:]] == key[order[:-1]] for key in keys], axis=0)
    return order, same


def _count_leaked_rows(rows: CodedRows) -> int:
    """Number of rows that an earlier file has too."""
    order, same = _alike(rows)
    files = _files_of(rows)[order]
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    return int(np.count_nonzero(files > files[starts]))


def _count_disordered_users(rows: CodedRows) -> int:
    """Number of users with a row that is older than one of an earlier file."""
    if rows.times is None or len(rows.users) < 2:
        return 0
    parts = _parts_of(rows)
    # Rows of a part are in order, so only its first can be older than the last one of the part before.
    border = (rows.users[1:] == rows.users[:-1]) & (parts[1:] != parts[:-1])
    older = border & (rows.times[1:] < rows.times[:-1])
    return len(np.unique(rows.users[1:][older]))


class _Lists:
    """Lists of each user in three files; those of later files may repeat rows of earlier ones.

    A list that is followed by an item is a history: it begins with all of the user's earlier items or with the last
    ones of them, and these rows are dropped. Lists without such an item repeat earlier rows if the lists of all users
    in the file begin with the earlier items, as snapshots do; otherwise all of their rows are new.
    """

    def __init__(self, rows: CodedRows, reads: Sequence[PartRead]) -> None:
        self._rows, self._reads = rows, reads
        self._parts = _parts_of(rows)
        self._kept = np.ones(len(rows.items), np.bool_)
        starts = np.flatnonzero(np.diff(rows.users, prepend=-1))
        self._users = list(zip(starts.tolist(), [*starts[1:].tolist(), len(rows.items)], strict=True))

    def settled(self) -> npt.NDArray[np.bool_]:
        """(N,) whether a row is new; sets the parts of rows that belong to a history."""
        for number in (1, 2):
            if not self._reads[number].found.lists:
                continue
            lists = [found for user in self._users if (found := self._list(number, *user)) is not None]
            if self._reads[number].found.followed:
                for earlier, place, items in lists:
                    self._split_off_target(number, earlier, place, items)
                continue
            known = [(earlier, place, items) for earlier, place, items in lists if len(earlier)]
            if all(np.array_equal(earlier, items[: len(earlier)]) for earlier, _, items in known):
                for earlier, place, _ in known:
                    self._kept[place : place + len(earlier)] = False
        return self._kept

    def _list(self, number: int, start: int, end: int) -> tuple[Codes, int, Codes] | None:
        """A user's items before a file, and the first place and the items of its list there; None without a list."""
        parts = self._parts[start:end]
        first, last = start + np.searchsorted(parts, [2 * number, 2 * number + 1])
        if first == last:
            return None
        earlier = self._rows.items[start:first][self._kept[start:first]]
        return earlier, int(first), self._rows.items[first:last]

    def _split_off_target(self, number: int, earlier: Codes, place: int, items: Codes) -> None:
        """Take the last item of a list as the target and those before it as the history."""
        history = items[:-1]
        known = next(
            (
                size
                for size in range(min(len(earlier), len(history)), 0, -1)
                if np.array_equal(earlier[-size:], history[:size])
            ),
            0,
        )
        if len(earlier) and len(history) and not known:
            user = self._rows.user_ids[int(self._rows.users[place]) + 1]
            raise DataError(
                f"{self._reads[number].place}: the list of user {quoted(user)} does not continue those of earlier "
                "files; give one row per user, whose list is the history"
            )
        self._kept[place : place + known] = False
        self._parts[place : place + len(history)] = 2 * number - 1
