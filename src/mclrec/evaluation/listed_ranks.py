"""Ranks of targets in recommendation lists, and statistics of the lists and of the conventions applied to them.

Conventions, for a list of any system:

- The target's rank is 1 + the number of listed rows of other items that do not come after it. Ties in score or rank
  thus count against the target. If a file has ranks, the target's rank is never better than the one in the file.
- A target that is not in its user's list is a miss, and so is one whose user has no list. If a list is shorter than
  others in its file, its system is assumed to have had no more items to recommend.
- Items that are unknown to the data occupy their places. A duplicated item counts at its best place, and its other rows
  occupy theirs.
- Under F, items of the user's history are removed and the items behind them move up. What followed the end of the
  original list is unknown: a target that is not listed is a miss only up to the end of the shortened list, and HR and
  NDCG at larger cutoffs are lower bounds.
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
    """Statistics of a system's lists, and of how they were interpreted.

    Attributes:
        rows: number of rows in lists of users with a target.
        length: number of places of the longest list.
        ordering: what orders the items of a list.
        columns: columns that were used, by role.
        targets: number of targets.
        without_list: targets whose user has no list.
        short: lists that are shorter than the longest one.
        other_users: users in the file that are in the data but have no target.
        unknown_users: users in the file that are unknown to the data.
        unknown_items: rows with items that are unknown to the data.
        first_unknown: the first of these items; None if there is none.
        copies: rows that repeat an item of the same list.
        not_listed: rows without a score, or with one that is NaN or minus infinity.
        tied: targets whose score or rank is shared by other items of the list.
        gaps: lists whose ranks have gaps.
        from_zero: whether ranks are counted from 0.
        rising: lists whose scores rise from row to row; 0 if the scores of any list fall.
        found: targets that are in their list.
        seen: rows with items that are in the user's history.
        bounded: targets that may be hits or misses, because their list was shortened.
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
        """Notes on the lists and on the conventions applied, one sentence each; only about cases that occurred."""
        taken = ", ".join(f"{role} from {column}" for role, column in self.columns.items())
        yield f"lists of up to {self.length} by {_ORDERING_TEXT[self.ordering]} ({taken})"
        counted = [
            (self.without_list, "target", "without a list: misses"),
            (self.short, "list", f"that end before place {self.length}: misses beyond their ends"),
            (self.other_users, "user", "without a target left out"),
            (self.unknown_users, "user", "that the data do not know left out"),
            (
                self.unknown_items,
                "row",
                f"of items that the data do not know, such as {quoted(self.first_unknown)}: they keep their places",
            ),
            (self.copies, "row", "of an item that is already in the list: they keep their places"),
            (self.not_listed, "row", "without a score left out"),
            (self.tied, "target", f"tied with items of the same {self.ordering}: ranked behind them"),
            (self.gaps, "list", "with gaps in their ranks, which are kept"),
        ]
        yield from (f"{count_of(count, noun)} {rest}" for count, noun, rest in counted if count)
        if self.from_zero:
            yield "ranks counted from 0 and were raised by 1"
        if self.rising:
            yield (
                f"the scores of {count_of(self.rising, 'list')} rise from row to row, and those of none fall: the "
                "highest one is taken as the best; negate them if they are distances"
            )
        if not self.found:
            yield (
                "no list contains its target: lists made from the whole log leave the targets out as seen; make them "
                "from the histories of the split"
            )
        yield from self._seen_notes(seen)

    def _seen_notes(self, seen: Seen) -> Iterator[str]:
        if seen == "keep" and not self.seen:
            yield "no list contains an item of its user's history: if they were filtered, U counts returns as misses"
        if seen == "drop" and self.seen:
            yield f"{count_of(self.seen, 'row')} of items in the user's history left out; later items move up"
        if self.bounded:
            yield (
                f"{count_of(self.bounded, 'target')} not found in a list that became shorter: metrics beyond its end "
                "are lower bounds; use longer lists"
            )


_ORDERING_TEXT = {"rank": "rank", "score": "score", "rows": "the order of rows"}


@dataclass(frozen=True, slots=True, eq=False)
class ListedRanks:
    """Ranks of M targets in the lists of a system.

    Attributes:
        ranks: (M,) int64, 1 = best, `MISS` = not in the list.
        certain_to: (M,) number of leading places whose items are known: largest cutoff at which a miss is certain.
        facts: statistics of the lists.
    """

    ranks: IntArray
    certain_to: IntArray
    facts: ListFacts

    def check_cut(self, k: int, name: str) -> None:
        """Refuse a cutoff larger than the length of the lists.

        Raises:
            EvaluationError: the cutoff exceeds the length of the longest list.
        """
        if k > self.facts.length:
            raise EvaluationError(
                f"{name}: the lists end at place {self.facts.length}, and say nothing about metrics at {k}: use a "
                f"cutoff of at most {self.facts.length}, or give longer lists"
            )

    def bounded_at(self, k: int) -> int:
        """Number of targets that may or may not be among the first k."""
        return int(np.count_nonzero((self.ranks == MISS) & (self.certain_to < k)))

    def best_case(self) -> IntArray:
        """(M,) best possible ranks: targets of uncertain rank are placed directly after the end of their list."""
        unknown = (self.ranks == MISS) & (self.certain_to < self.facts.length)
        return np.where(unknown, self.certain_to + 1, self.ranks)


def ranks_of_lists(lists: RecommendedLists, targets: Targets, seen: Seen) -> ListedRanks:
    """Rank each target in its user's list; see the module's docstring for the conventions.

    Args:
        lists: recommendation lists of a system.
        targets: M targets of different users.
        seen: whether items of the history stay in the lists (U) or are removed (F).

    Raises:
        DataError: no user or no item of the lists is known, or no user of the lists has a target.
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
    level = rivals & (rows.worse == best[rows.owners])
    ranks = 1 + rows.counts(ahead)
    if lists.ordering == "rank":
        ranks = np.where(held, np.maximum(ranks, best), ranks)
    return _told(lists, targets, rows, seen, np.where(held, ranks, MISS), ahead, level)


def _told(
    lists: RecommendedLists,
    targets: Targets,
    rows: _Rows,
    seen: Seen,
    ranks: IntArray,
    ahead: BoolArray,
    level: BoolArray,
) -> ListedRanks:
    """Remove items of the history under F, and compute the statistics."""
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
        level = level & ~in_history
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
        tied=int(np.count_nonzero((rows.counts(level) > 0) & (ranks < MISS))),
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
        items: (R,) dense ids, 0 for an item that is unknown to the data.
        worse: (R,) sort keys of the rows of a user, lower is better; if the file has ranks, these, counted from 1.
        copies: rows that repeat an item of the same list.
        other_users: users in the file that have no target; ``unknown_users`` are not in the data.
        first_unknown: the first item that is unknown to the data; None if there is none.
        from_zero: whether ranks are counted from 0.
        targets: number of targets.
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
                f"{data.name}: the split holds out several targets of a user, but a user's list can answer only one"
            )
        user_codes, user_ids = _coded(lists.users)
        item_codes, item_ids = _coded(lists.items)
        users = _known(data.user_ids, user_ids, "user", lists.place)
        items = _known(data.item_ids, item_ids, "item", lists.place)
        target_of = np.full(data.num_users + 1, -1)
        target_of[targets.users + 1] = np.arange(len(targets))
        owners = target_of[users][user_codes]  # unknown users have id 0, which has no target
        kept = owners >= 0
        if not kept.any():
            raise DataError(f"{lists.place}: none of its users has a target in {data.name}")
        owners, codes = owners[kept], item_codes[kept]
        worse, from_zero = _sort_keys(lists)
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
        """(M,) number of rows of each target's list, or of those rows that a mask selects."""
        return np.bincount(self.owners if which is None else self.owners[which], minlength=self.targets)

    def rising(self) -> int:
        """Number of lists whose scores rise from row to row; 0 if the scores of any list fall."""
        order = np.argsort(self.owners, kind="stable")
        owners, worse = self.owners[order], self.worse[order]
        same = owners[1:] == owners[:-1]
        if (same & (worse[1:] > worse[:-1])).any():
            return 0
        return len(np.unique(owners[1:][same & (worse[1:] < worse[:-1])]))

    def highest_ranks(self) -> IntArray:
        """(M,) highest rank in each target's list; 0 without a list."""
        highest = np.zeros(self.targets, dtype=np.int64)
        np.maximum.at(highest, self.owners, self.worse.astype(np.int64))
        return highest


def _coded(values: pa.Array) -> tuple[IntArray, pa.Array]:
    """Dictionary-encode values: the code of each value, and the distinct values."""
    coded = values.dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary


def _known(known: Vocabulary, ids: pa.Array, role: str, place: str) -> IntArray:
    """Dense ids of outside ids, 0 for those that are unknown to the data.

    Raises:
        DataError: all are unknown.
    """
    dense = known.dense_all(ids.to_pylist())
    if not dense.any():
        raise DataError(
            f"{place}: none of its {role}s is in the data: the first is {quoted(ids[0].as_py())}, that of the data "
            f"{quoted(known[1])}; lists need the ids of the log, not a system's own numbers"
        )
    return dense


def _sort_keys(lists: RecommendedLists) -> tuple[npt.NDArray[Any], bool]:
    """Sort keys of the rows, lower is better, and whether ranks are counted from 0."""
    if lists.ordering == "score":
        order = lists.order
        return (
            ~order if order.dtype == np.int64 else -order
        ), False  # negating the lowest int64 would overflow
    from_zero = lists.ordering == "rank" and int(lists.order.min()) == 0
    return lists.order + int(from_zero), from_zero
