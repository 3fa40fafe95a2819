"""Columns of recommendation lists: user, item, and rank or score, given by the caller or recognised by common names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mclrec.data.columns import Columns, Roles, compact_name, listed_names, named_column, usual_column
from mclrec.errors import DataError, quoted

__all__ = ["TREC_COLUMNS", "ListColumns", "Ordering"]

Ordering = Literal["rank", "score", "rows"]
"""What orders the items of a list: a rank, a score, or the order of the rows (or of a list's elements)."""

# Tried after the common names in logs; compared without case, blanks, hyphens, underscores and RecBole's ":float". The
# first match is used, ranks before scores: RecTools writes both, and its rank is the order that its users see.
_MORE_NAMES = {
    "user": ("queryid", "qid", "query", "useridx", "queryidx"),
    "item": ("itemidx", "docid", "docno", "items", "itemids", "itemidlist", "recommendations", "topk"),
}
_RANKS = ("rank", "ranking", "position", "pos")
_SCORES = ("score", "rating", "prediction", "relevance", "predictedrating", "similarity", "ratingprediction")


@dataclass(frozen=True, slots=True)
class ListColumns:
    """Names of the columns of recommendation lists; a column that is None is recognised by common names.

    Attributes:
        user: ids of users.
        item: ids of items, or ordered lists of them, one row per user.
        rank: place in the list, counted from 1 (or from 0); the lowest is the best.
        score: score of the item; higher is better.
        in_order: the rows of each user are already in order, without a rank or score column.

    The columns of a file without a header are called ``1``, ``2``, ``3`` and so on.
    """

    user: str | None = None
    item: str | None = None
    rank: str | None = None
    score: str | None = None
    in_order: bool = False

    def resolve(self, names: Sequence[str], place: str) -> dict[str, str]:
        """Find the columns by role: user, item, and order if there is a rank or score column.

        Raises:
            DataError: a named column is missing, a required one is not found, one has two roles, or options conflict.
        """
        if sum((self.rank is not None, self.score is not None, self.in_order)) > 1:
            raise DataError(
                f"{place}: --list-rank, --list-score and --list-in-order exclude each other; give one"
            )
        if self._needs_names(names):
            raise DataError(
                f"{place}: has no header line; give the columns by number, such as --list-user 1 --list-item 2 "
                "--list-rank 3 (or --list-score, --list-in-order)"
            )
        found = {role: self._id(role, names, place) for role in ("user", "item")}
        if (column := self._order(names, place, list(found.values()))) is not None:
            found["order"] = column
        self._check_apart(found, place)
        return found

    def ordering(self, found: dict[str, str], *, lists: bool) -> Ordering:
        """What orders the items, given the columns found; ``lists`` says that the items are in list columns."""
        column = None if lists else found.get("order")
        if column is None:
            return "rows"
        ranked = self.rank is not None or (self.score is None and compact_name(column) in _RANKS)
        return "rank" if ranked else "score"

    def check_order(self, names: Sequence[str], place: str, *, in_order: bool = True) -> None:
        """Refuse rows of unknown order; ``in_order`` says whether the source has an order of rows at all.

        Raises:
            DataError: the source has no order of rows, or the caller did not say that they are in order.
        """
        if not in_order:
            raise DataError(
                f"{place}: a lazy frame has no row order; name a column that gives the order with --list-rank or "
                "--list-score"
            )
        if not self.in_order:
            raise DataError(
                f"{place}: no column looks like a rank or score; name it with --list-rank or --list-score, or use "
                f"--list-in-order (columns there are: {listed_names(names)})"
            )

    def for_reader(self) -> Columns:
        """Columns for the reader of text logs, with the rank or score as ``sequence``.

        The item column is omitted, since it may contain lists; `_TextColumns.resolve` determines its role.
        """
        return _TextColumns(
            user=self.user,
            sequence=self.rank or self.score,
            file_order=self.in_order,
            wanted=self,
        )

    def _needs_names(self, names: Sequence[str]) -> bool:
        """Whether the columns have only numbers as names, and not all required ones were given."""
        numbered = list(names) == [str(place) for place in range(1, len(names) + 1)]
        ordered = self.rank is not None or self.score is not None or self.in_order
        return numbered and (self.user is None or self.item is None or not ordered)

    def _id(self, role: str, names: Sequence[str], place: str) -> str:
        wanted: str | None = getattr(self, role)
        if wanted is not None:
            return named_column(wanted, names, place)
        found = usual_column(role, names, place) or _first(_MORE_NAMES[role], names, place)
        if found is None:
            option = {"user": "--list-user", "item": "--list-item"}[role]
            raise DataError(
                f"{place}: no column looks like the {role}; name it with {option} (columns there are: "
                f"{listed_names(names)})"
            )
        return found

    def _order(self, names: Sequence[str], place: str, ids: Sequence[str]) -> str | None:
        wanted = self.rank or self.score
        if wanted is not None:
            return named_column(wanted, names, place)
        free = [name for name in names if name not in ids]
        return None if self.in_order else _first((*_RANKS, *_SCORES), free, place)

    @staticmethod
    def _check_apart(found: dict[str, str], place: str) -> None:
        used = list(found.values())
        for column in used:
            if used.count(column) > 1:
                raise DataError(
                    f"{place}: the column {quoted(column)} cannot be two of user, item and rank at once; name others"
                )


TREC_COLUMNS = ListColumns(user="1", item="3", score="5")
"""Columns of a TREC run file: query, Q0, document, rank, score, tag. Its score is what orders it, as in trec_eval."""


@dataclass(frozen=True, slots=True)
class _TextColumns(Columns):
    """Columns of recommendation lists for the reader of text logs; resolved by `ListColumns.resolve`."""

    wanted: ListColumns = ListColumns()

    def resolve(self, names: Sequence[str], place: str, fields: Sequence[str] = ()) -> Roles:  # noqa: ARG002
        """Find the columns; overrides `Columns.resolve`."""
        wanted = self.wanted
        if (
            self.history is not None
            and wanted.item is None
            and not _looks_like_item(names, self.history, place)
        ):
            wanted = replace(wanted, item=self.history)
        found = wanted.resolve(names, place)
        if found["item"] == self.history:
            return Roles(found["user"], None, None, None, False, history=self.history)
        if "order" not in found:
            wanted.check_order(names, place)
        return Roles(found["user"], found["item"], None, found.get("order"), False)


def _looks_like_item(names: Sequence[str], history: str, place: str) -> bool:
    """Whether a column other than that of lists has a common name of item columns."""
    others = [name for name in names if name != history]
    return bool(_first(_MORE_NAMES["item"], others, place) or usual_column("item", others, place))


def _first(usual: Sequence[str], names: Sequence[str], place: str) -> str | None:
    """The column that matches the first possible name; None if none matches.

    Raises:
        DataError: several columns match it.
    """
    compact = [compact_name(name) for name in names]
    for wanted in usual:
        found = [name for name, short in zip(names, compact, strict=True) if short == wanted]
        if len(found) > 1:
            shown = " and ".join(map(quoted, found[:2]))
            raise DataError(f"{place}: {shown} look alike; name the one to use, or rename one of them")
        if found:
            return found[0]
    return None
