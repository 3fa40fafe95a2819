"""Doubtful ids: those that differ only in how they are written, that stand for nobody, and that a spreadsheet rounded.

Nothing is merged or left out here: `check_rounded` refuses, and what `doubtful_ids` counts is told. Both look at
vocabularies, after coding, so that all engines come to the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.coded_rows import CodedRows
from mclrec.data.intake import DoubtfulIds, IdRole
from mclrec.data.packed import counted
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import DataError, quoted
from mclrec.wording import count_of

__all__ = ["check_rounded", "doubtful_ids"]

_NOBODY = [
    "undefined", "nil", "(null)", "(none)", "(blank)", "(empty)", "(not set)", "not set", "not_set",
    "<null>", "<none>", "null", "none", "nan", "n/a", "<na>", "#n/a", "#ref!", "#value!", "#name?",
    "[object object]", "unknown", "(unknown)", "anonymous", "anon", "guest", "-", "--", "-1", "?",
]  # fmt: skip
"""What programs, spreadsheets and shops write where there is nobody or nothing, in small letters."""

_NONE = -1
_TOLD = 0.001
"""Share of rows from which ids that stand for nobody are told of: random ids may be such words."""

_GIANT = 0.05
_TIMES_MEAN = 10
"""Share of rows, and times the mean user's, from which a user may be no person."""

_ROUNDED = r"^[+-]?\d[.,]\d+[eE]\+\d+$"
_NUMBER = r"^(?:\+|(-))?0*(\d+)(?:\.0+)?$"
_WRITTEN_NUMBER = r"^(?:\+\d|-?0\d|-?\d+\.0)"
_BLANKS = r"\s+"
_UNSEEN = r"[\x{FEFF}\x{200B}\x{2060}\x{00AD}]"
_SIGNS = 62
"""Letters of both cases and digits, of which random ids are made."""

_CHANCE = 2
_DEVIATIONS = 3
"""Ids that differ in case alone are told of from so many times what chance makes, and so many deviations more."""


def check_rounded(ids: Vocabulary, role: IdRole, place: str) -> None:
    """Refuse ids that a spreadsheet wrote as 1.23457E+12, by which several have become one.

    Without a point it may be a random id, so that 1E+12 alone is taken as it is.

    Raises:
        DataError: there is one.
    """
    if ids.integers:
        return
    found = ids.to_arrow()
    exponents = found.filter(pc.match_substring(found, "+"))
    rounded = exponents.filter(pc.match_substring_regex(exponents, _ROUNDED))
    if len(rounded):
        raise DataError(
            f"{place}: {role} {quoted(rounded[0].as_py())} is a number that was rounded, as spreadsheets do, so that "
            f"several ids may have become one ({count_of(len(rounded), role)} of this kind); export the column as "
            "text, or leave these rows out with --where"
        )


def doubtful_ids(rows: CodedRows, columns: Mapping[str, str]) -> tuple[DoubtfulIds, ...]:
    """What is doubtful about the users and items of a log, each where anything is.

    Args:
        rows: with the ids of the whole log.
        columns: by role, those that a condition may name.
    """
    users = _checked("user", rows.user_ids, counted(rows.users, len(rows.user_ids)), columns.get("user"))
    items = _checked("item", rows.item_ids, counted(rows.items, len(rows.item_ids)), columns.get("item"))
    return tuple(found for found in (users, items) if found.alike or found.nobody or found.giant is not None)


def _checked(
    role: IdRole, ids: Vocabulary, counts: npt.NDArray[np.integer], column: str | None
) -> DoubtfulIds:
    rows = int(counts.sum())
    nobody = [(ids[place + 1], int(counts[place]) / rows) for place in _nobodies(ids)]
    nobody = [(value, share) for value, share in nobody if share >= _TOLD]
    alike, pair = (0, None) if ids.integers else _alike(ids.to_arrow())
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


def _nobodies(ids: Vocabulary) -> list[int]:
    """Places of the ids that stand for nobody or nothing; of integers, -1 where it alone is below zero."""
    found = ids.to_arrow()
    if ids.integers:
        below = pc.indices_nonzero(pc.less(found, 0)).to_pylist()
        return [place for place in below if len(below) == 1 and found[place].as_py() == _NONE]
    short = pc.indices_nonzero(pc.less_equal(pc.utf8_length(found), max(map(len, _NOBODY)) + 2))
    words = pc.utf8_lower(pc.utf8_trim_whitespace(found.take(short)))
    places: list[int] = short.filter(pc.is_in(words, value_set=pa.array(_NOBODY, words.type))).to_pylist()
    return places


def _alike(ids: pa.Array) -> tuple[int, tuple[str, str] | None]:
    """Number of ids that are another's but for how they are written, and two of these.

    Those that differ in case alone may be random ids, such as those of links: they are told of if they are more than
    chance makes of ids of letters of both cases and digits.
    """
    same = _plain(ids)
    folded = pc.utf8_lower(same)
    shared = _shared(folded)
    if not len(shared):
        return 0, None
    exactly = shared.filter(pa.array(_repeated(same.take(shared))))
    by_case = len(shared) - len(exactly)
    if by_case and by_case <= _by_chance(ids):
        shared, folded = exactly, same
    if not len(shared):
        return 0, None
    first = folded[shared[0].as_py()]
    one, other = ids.filter(pc.equal(folded, first)).slice(0, 2).to_pylist()
    return len(shared), (one, other)


def _by_chance(ids: pa.Array) -> float:
    """The most ids that chance makes alike but for their case, if all ids are random.

    Of the V ids of length L, one with k letters is written in 2^k - 1 other ways, each of which is an id with the
    probability V / 62^L.
    """
    lengths = pc.utf8_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
    letters = pc.count_substring_regex(ids, "[A-Za-z]").to_numpy(zero_copy_only=False).astype(np.float64)
    density = np.minimum(np.bincount(lengths)[lengths] / float(_SIGNS) ** np.minimum(lengths, 100), 1)
    expected = float((1 - (1 - density) ** (2.0 ** np.minimum(letters, 100) - 1)).sum())
    return _CHANCE * expected + _DEVIATIONS * math.sqrt(expected)


def _plain(ids: pa.Array) -> pa.Array:
    """Ids in one way of writing but for their case: Unicode's NFKC, single blanks, numbers without zeros in front."""
    if not pc.all(pc.string_is_ascii(ids)).as_py():
        ids = pc.replace_substring_regex(pc.utf8_normalize(ids, form="NFKC"), _UNSEEN, "")
    if pc.any(pc.match_substring_regex(ids, r"\s")).as_py():
        ids = pc.utf8_trim_whitespace(pc.replace_substring_regex(ids, _BLANKS, " "))
    if pc.any(pc.match_substring_regex(ids, _WRITTEN_NUMBER)).as_py():
        ids = pc.replace_substring_regex(ids, _NUMBER, r"\1\2")
    return ids


def _shared(values: pa.Array) -> pa.Array:
    """Places of the values that are there more than once."""
    return pc.indices_nonzero(pa.array(_repeated(values)))


def _repeated(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each value is there more than once."""
    codes = values.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    repeated: npt.NDArray[np.bool_] = np.bincount(codes)[codes] > 1
    return repeated
