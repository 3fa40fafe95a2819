"""Doubtful ids: those that differ only in how they are written, stand for nobody, or were rounded by a spreadsheet.

Nothing is merged or left out here: `check_rounded` refuses ids, `doubtful_ids` only counts them for warnings. Both work
on vocabularies, after ids have been coded, so that all engines give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.alike_ids import alike_ids
from mclrec.data.coded_rows import CodedRows
from mclrec.data.intake import DoubtfulIds, IdRole
from mclrec.data.packed import counted
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import DataError, quoted
from mclrec.wording import count_of

__all__ = ["check_rounded", "doubtful_ids"]

_PLACEHOLDERS = [
    "undefined", "nil", "(null)", "(none)", "(blank)", "(empty)", "(not set)", "not set", "not_set",
    "<null>", "<none>", "null", "none", "nan", "n/a", "<na>", "#n/a", "#ref!", "#value!", "#name?",
    "[object object]", "unknown", "(unknown)", "anonymous", "anon", "guest", "-", "--", "-1", "?",
]  # fmt: skip
"""What programs, spreadsheets and shops write for a missing user or item, in lower case."""

_NO_ID = -1
_REPORTED_FROM = 0.001
"""Share of rows from which an id that stands for nobody is reported: a random id may happen to be such a word."""

_GIANT = 0.05
_TIMES_MEAN = 10
"""Share of all rows, and multiple of the mean user's share, above which a user may not be a single person."""

_ROUNDED = r"^[+-]?\d[.,]\d+[eE]\+\d+$"


def check_rounded(ids: Vocabulary, role: IdRole, place: str) -> None:
    """Refuse ids that a spreadsheet wrote as 1.23457E+12, which may have merged several ids into one.

    Without a point it may be a random id, so 1E+12 is accepted as it is.

    Raises:
        DataError: there is such an id.
    """
    if ids.integers:
        return
    found = ids.to_arrow()
    exponents = found.filter(pc.match_substring(found, "+"))
    rounded = exponents.filter(pc.match_substring_regex(exponents, _ROUNDED))
    if len(rounded):
        raise DataError(
            f"{place}: {role} {quoted(rounded[0].as_py())} is a number that was rounded, as by a spreadsheet, so "
            f"several ids may have become one ({count_of(len(rounded), role)} of this kind); export the column as "
            "text, or leave these rows out with --where"
        )


def doubtful_ids(rows: CodedRows, columns: Mapping[str, str]) -> tuple[DoubtfulIds, ...]:
    """Find the doubtful ids among the users and the items of a log; a role without any is left out.

    Args:
        rows: the rows, with the ids of the whole log.
        columns: columns that a condition may name, by role.
    """
    users = _checked("user", rows.user_ids, counted(rows.users, len(rows.user_ids)), columns.get("user"))
    items = _checked("item", rows.item_ids, counted(rows.items, len(rows.item_ids)), columns.get("item"))
    return tuple(found for found in (users, items) if found.alike or found.nobody or found.giant is not None)


def _checked(
    role: IdRole, ids: Vocabulary, counts: npt.NDArray[np.integer], column: str | None
) -> DoubtfulIds:
    rows = int(counts.sum())
    nobody = [(ids[place + 1], int(counts[place]) / rows) for place in _placeholder_indices(ids)]
    nobody = [(value, share) for value, share in nobody if share >= _REPORTED_FROM]
    alike, pair = (0, None) if ids.integers else alike_ids(ids.to_arrow())
    giant: tuple[OutsideId, float] | None = None
    if role == "user" and rows:
        most = int(counts.argmax())
        share = int(counts[most]) / rows
        if share > max(_GIANT, _TIMES_MEAN / len(ids)):
            giant = (ids[most + 1], share)
    if giant is not None and giant[0] in dict(nobody):
        giant = None
    return DoubtfulIds(
        role=role, column=column, ids=len(ids), alike=alike, pair=pair, nobody=tuple(nobody), giant=giant
    )


def _placeholder_indices(ids: Vocabulary) -> list[int]:
    """Indices of the ids that stand for nobody or nothing; of integers, -1 if no other id is negative."""
    found = ids.to_arrow()
    if ids.integers:
        below = pc.indices_nonzero(pc.less(found, 0)).to_pylist()
        return [place for place in below if len(below) == 1 and found[place].as_py() == _NO_ID]
    short = pc.indices_nonzero(pc.less_equal(pc.utf8_length(found), max(map(len, _PLACEHOLDERS)) + 2))
    words = pc.utf8_lower(pc.utf8_trim_whitespace(found.take(short)))
    places: list[int] = short.filter(
        pc.is_in(words, value_set=pa.array(_PLACEHOLDERS, words.type))
    ).to_pylist()
    return places
