"""Ranks of targets in recommendation lists, and what had to be decided for it, counted.

Conventions, for a list of any system:

- The target's rank is 1 + the number of listed rows of other items that do not come after it. Equal scores or ranks
  thus count against the target. Where a file has ranks, a rank is never better than the file says.
- A target that its user's list does not hold is a miss, and so is one whose user has no list. A list that ends before
  others of its file is one whose system had no more to recommend.
- Items that the data do not know take their place. An item that is there twice counts at its better place, and its
  other rows take theirs.
- Under F, items of the user's history are left out and the list closes up. What stood beyond its end is not known: a
  target that it does not hold is a miss up to where it then ends, and HR and NDCG beyond that are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mclrec.data.packed import IntArray
from mclrec.data.split import Targets
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, EvaluationError, quoted
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen, repeats
from mclrec.evaluation.recommended_columns import Ordering
from mclrec.evaluation.recommended_lists import RecommendedLists
from mclrec.wording import count_of

__all__ = ["ListFacts", "ListedRanks", "ranks_of_lists"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What was found in the lists of a system, and what was made of it.

    Attributes:
        rows: items in lists of users with a target.
        length: places of the longest list.
        ordering: what orders the items of a list.
        columns: that were taken, by role.
        targets: how many there are.
        without_list: targets whose user has no list.
        short: lists that end before the longest one.
        other_users: users of the file that the data know, and that have no target.
        unknown_users: users of the file that the data do not know.
        unknown_items: rows of items that the data do not know.
        first_unknown: one of these items; None if there is none.
        copies: rows of items that stand before them in the same list.
        not_listed: rows without a score, or with one that is NaN or minus infinity.
        tied: targets whose score or rank other items of the list have too.
        gaps: lists in which ranks are left out.
        from_zero: whether ranks counted from 0.
        rising: lists whose scores rise from row to row, if those of no list fall.
        found: targets that their list holds.
        seen: rows of items that are in the user's history.
        bounded: targets of which is not known whether they would be a hit, because the list was closed up.
    """

    rows: int
    length: int
    ordering: Ordering
    columns: dict[str, str]
    targets: int
    without_list: int
    short: int
    other_users: int
    unknown_users: int
    unknown_items: int
    first_unknown: int | str | None
    copies: int
    not_listed: int
    tied: int
    gaps: int
    from_zero: bool
    rising: int
    found: int
    seen: int
    bounded: int

    def to_json(self) -> dict[str, Any]:
        """The facts as a JSON object."""
        return asdict(self)

    def notes(self, seen: Seen) -> Iterator[str]:
        """What was decided, a sentence each; nothing of what did not occur."""
        taken = ", ".join(f"{role} from {column}" for role, column in self.columns.items())
        yield f"lists of up to {self.length} by {_BY[self.ordering]} ({taken})"
        counted = [
            (self.without_list, "target", "without a list: misses"),
            (self.short, "list", f"that end before place {self.length}: misses beyond their ends"),
            (self.other_users, "user", "without a target left out"),
            (self.unknown_users, "user", "that the data do not know left out"),
            (
                self.unknown_items,
                "row",
                f"of items that the data do not know, such as {quoted(self.first_unknown)}: they take their places",
            ),
            (self.copies, "row", "of an item that its list holds already: they take their places"),
            (self.not_listed, "row", "without a score left out"),
            (self.tied, "target", f"beside items of the same {self.ordering}: ranked behind them"),
            (self.gaps, "list", "with gaps in their ranks, which stand as written"),
        ]
        yield from (f"{count_of(count, noun)} {rest}" for count, noun, rest in counted if count)
        if self.from_zero:
            yield "ranks counted from 0 and were raised by 1"
        if self.rising:
            yield (
                f"the scores of {count_of(self.rising, 'list')} rise from row to row, and those of none fall: the "
                "highest one counts as the best; negate them if they are distances"
            )
        if not self.found:
            yield (
                "no list holds its target: lists made after the whole log leave the targets out as seen; make them "
                "after the histories of the split"
            )
        yield from self._of_seen(seen)

    def _of_seen(self, seen: Seen) -> Iterator[str]:
        if seen == "keep" and not self.seen:
            yield "no list holds an item of its user's history: if they were filtered, U counts each return as a miss"
        if seen == "drop" and self.seen:
            yield f"{count_of(self.seen, 'row')} of items in the user's history left out; the lists close up"
        if self.bounded:
            yield (
                f"{count_of(self.bounded, 'target')} not found in a list that closed up: metrics beyond its end are "
                "lower bounds; longer lists say more"
            )


_BY = {"rank": "rank", "score": "score", "rows": "the order of rows"}


@dataclass(frozen=True, slots=True, eq=False)
class ListedRanks:
    """Ranks of M targets in the lists of a system.

    Attributes:
        ranks: (M,) int64, 1 = best, `MISS` = not in the list.
        certain_to: (M,) places of the list of which is known what stands there: cuts up to which a miss is sure.
        facts: what was found and decided.
    """

    ranks: IntArray
    certain_to: IntArray
    facts: ListFacts

    def check_cut(self, k: int, name: str) -> None:
        """Refuse a cut beyond the lists, of which they say nothing.

        Raises:
            EvaluationError: the cut is beyond the longest list.
        """
        if k > self.facts.length:
            raise EvaluationError(
                f"{name}: the lists end at place {self.facts.length}, and say nothing of metrics at {k}: use a cut of "
                f"at most {self.facts.length}, or give longer lists"
            )

    def bounded_at(self, k: int) -> int:
        """Targets of which is not known whether they are among the first k."""
        return int(np.count_nonzero((self.ranks == MISS) & (self.certain_to < k)))

    def best_case(self) -> IntArray:
        """(M,) the best ranks that the lists allow: unknown targets stand right behind the end of their list."""
        unknown = (self.ranks == MISS) & (self.certain_to < self.facts.length)
        return np.where(unknown, self.certain_to + 1, self.ranks)


def ranks_of_lists(lists: RecommendedLists, targets: Targets, seen: Seen) -> ListedRanks:
    """Rank each target in its user's list; the module's docstring has the conventions.

    Args:
        lists: of a system.
        targets: M targets of different users.
        seen: whether items of the history stay in the lists (U) or are left out (F).

    Raises:
        DataError: no user, or no item, of the lists is known.
        EvaluationError: a user has several targets.
    """
    rows = _Rows.of(lists, targets)
    own = rows.items == targets.items[rows.owners]
    held = rows.counts(own) > 0
    best = np.full(len(targets), np.iinfo(np.int64).max if rows.worse.dtype == np.int64 else np.inf)
    best = best.astype(rows.worse.dtype)
    np.minimum.at(best, rows.owners[own], rows.worse[own])
    rivals = ~own & held[rows.owners]
    ahead = rivals & (rows.worse <= best[rows.owners])
    tied = rows.counts(rivals & (rows.worse == best[rows.owners])) > 0
    ranks = 1 + rows.counts(ahead)
    if lists.ordering == "rank":
        ranks = np.where(held, np.maximum(ranks, best), ranks)
    return _told(lists, targets, rows, seen, np.where(held, ranks, MISS), ahead, tied)


def _told(
    lists: RecommendedLists,
    targets: Targets,
    rows: _Rows,
    seen: Seen,
    ranks: IntArray,
    ahead: BoolArray,
    tied: BoolArray,
) -> ListedRanks:
    """Close lists up under F, and count what was found."""
    held = ranks < MISS
    histories = targets.histories(np.arange(len(targets)))
    returned = repeats(histories, targets.items)
    base = targets.data.num_items + 1
    in_history = np.isin(rows.owners * base + rows.items, histories.rows * base + histories.items)
    sizes = rows.counts()
    lengths = np.maximum(sizes, rows.highest_ranks()) if lists.ordering == "rank" else sizes
    length = int(lengths.max())
    certain = np.full(len(targets), length)
    if seen == "drop":
        left_out = rows.counts(in_history)
        whole = (lengths == length) & (left_out > 0) & ~returned
        certain = np.where(whole, length - left_out, certain)
        closed = np.where(ranks < MISS, ranks - rows.counts(ahead & in_history), MISS)
        ranks = np.where(returned, MISS, closed)
    facts = ListFacts(
        rows=len(rows.owners),
        length=length,
        ordering=lists.ordering,
        columns=lists.columns,
        targets=len(targets),
        without_list=int(np.count_nonzero(sizes == 0)),
        short=int(np.count_nonzero((sizes > 0) & (lengths < length))),
        other_users=rows.other_users,
        unknown_users=rows.unknown_users,
        unknown_items=int(np.count_nonzero(rows.items == 0)),
        first_unknown=rows.first_unknown,
        copies=rows.copies,
        not_listed=lists.not_listed,
        tied=int(np.count_nonzero(tied & (ranks < MISS))),
        gaps=int(np.count_nonzero(lengths > sizes)),
        from_zero=rows.from_zero,
        rising=rows.rising() if lists.ordering == "score" else 0,
        found=int(np.count_nonzero(held)),
        seen=int(np.count_nonzero(in_history)),
        bounded=int(np.count_nonzero((ranks == MISS) & (certain < length))),
    )
    return ListedRanks(ranks, certain, facts)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of lists whose users have a target.

    Attributes:
        owners: (R,) the target of each row's user.
        items: (R,) dense ids, 0 for an item that the data do not know.
        worse: (R,) numbers that order the rows of a user, the better the lower; ranks from 1, where there are ranks.
        copies: rows of an item that its list has already.
        other_users: users of the file that have no target; ``unknown_users`` are not in the data.
        first_unknown: an item that the data do not know.
        from_zero: whether ranks counted from 0.
        targets: how many there are.
    """

    owners: IntArray
    items: IntArray
    worse: npt.NDArray[Any]
    copies: int
    other_users: int
    unknown_users: int
    first_unknown: int | str | None
    from_zero: bool
    targets: int

    @classmethod
    def of(cls, lists: RecommendedLists, targets: Targets) -> _Rows:
        data = targets.data
        if len(np.unique(targets.users)) < len(targets):
            raise EvaluationError(
                f"{data.name}: the split holds out several targets of a user, and a list of a user answers one of them"
            )
        user_codes, user_ids = _coded(lists.users)
        item_codes, item_ids = _coded(lists.items)
        users = _known(data.user_ids, user_ids, "user", lists.place)
        items = _known(data.item_ids, item_ids, "item", lists.place)
        target_of = np.full(data.num_users + 1, -1)
        target_of[targets.users + 1] = np.arange(len(targets))
        owners = target_of[users][user_codes]  # place 0, of unknown users, has no target
        kept = owners >= 0
        if not kept.any():
            raise DataError(f"{lists.place}: none of its users has a target in {data.name}")
        owners, codes = owners[kept], item_codes[kept]
        worse, from_zero = _worse(lists)
        unknown = np.flatnonzero(items[codes] == 0)
        return cls(
            owners=owners,
            items=items[codes],
            worse=worse[kept],
            copies=len(owners) - len(np.unique(owners * len(item_ids) + codes)),
            other_users=int(np.count_nonzero((target_of[users] < 0) & (users > 0))),
            unknown_users=int(np.count_nonzero(users == 0)),
            first_unknown=item_ids[int(codes[unknown[0]])].as_py() if len(unknown) else None,
            from_zero=from_zero,
            targets=len(targets),
        )

    def counts(self, which: BoolArray | None = None) -> IntArray:
        """(M,) rows of each target's list, or those of them that a mask has."""
        return np.bincount(self.owners if which is None else self.owners[which], minlength=self.targets)

    def rising(self) -> int:
        """How many lists have scores that rise from row to row, if those of no list fall."""
        order = np.argsort(self.owners, kind="stable")
        owners, worse = self.owners[order], self.worse[order]
        same = owners[1:] == owners[:-1]
        if (same & (worse[1:] > worse[:-1])).any():
            return 0
        return len(np.unique(owners[1:][same & (worse[1:] < worse[:-1])]))

    def highest_ranks(self) -> IntArray:
        """(M,) the highest rank of each target's list; 0 without a list."""
        highest = np.zeros(self.targets, dtype=np.int64)
        np.maximum.at(highest, self.owners, self.worse.astype(np.int64))
        return highest


def _coded(values: pa.Array) -> tuple[IntArray, pa.Array]:
    """Places of values among the different ones, and these."""
    coded = values.dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary


def _known(known: Vocabulary, ids: pa.Array, role: str, place: str) -> IntArray:
    """Dense ids of outside ids, 0 where the data do not know them.

    Raises:
        DataError: they know none.
    """
    dense = known.dense_all(ids.to_pylist())
    if not dense.any():
        raise DataError(
            f"{place}: none of its {role}s is in the data: its first is {quoted(ids[0].as_py())}, that of the data "
            f"{quoted(known[1])}; lists need the ids of the log, not a system's own numbers"
        )
    return dense


def _worse(lists: RecommendedLists) -> tuple[npt.NDArray[Any], bool]:
    """Numbers that are the lower, the better, and whether ranks counted from 0."""
    if lists.ordering == "score":
        order = lists.order
        return (
            ~order if order.dtype == np.int64 else -order
        ), False  # of whole numbers, the least has no negative
    from_zero = lists.ordering == "rank" and int(lists.order.min()) == 0
    return lists.order + int(from_zero), from_zero
