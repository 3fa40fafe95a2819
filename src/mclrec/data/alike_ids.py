"""Detect text ids that differ from another id only in how they are written: case, blanks, zeros, Unicode form.

Ids are distinct, so ids that no rule rewrites need no comparison. Whether a rule can rewrite any is found by scanning
all bytes at once, which takes a fraction of the time of regular expressions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["alike_ids"]

_NUMBER = r"^(?:\+|(-))?0*(\d+)(?:\.0+)?$"
_WRITTEN_NUMBER = r"^(?:\+\d+|-?0\d+|[+-]?\d+\.0+)(?:\.0+)?$"
_BLANKS = r"\s+"
_INVISIBLE = r"[\x{FEFF}\x{200B}\x{2060}\x{00AD}]"
_PADDED = r"(^|[^0-9.,])0+([0-9])"
"""A number with leading zeros within an id, except for digits after a point or comma: 1.05 is not 1.5."""

_SIGNS = 62
"""Number of characters that random ids are made of: letters of both cases and digits."""

_CHANCE = 2
_DEVIATIONS = 3
"""Ids that differ only in case or zeros are reported if they are more than this multiple of the number expected by
chance, plus this many standard deviations."""

_ZERO, _NINE = ord("0"), ord("9")

Places = npt.NDArray[np.int64]


def alike_ids(ids: pa.Array) -> tuple[int, tuple[str, str] | None]:
    """Number of ids that differ from another only in how they are written, and an example of two such ids.

    Ids that differ only in case, or only in zeros within them, may be random ids, such as those of links, or counters
    made of letters and digits: they are counted only if there are more of them than chance produces among random ids.

    Args:
        ids: (V,) distinct large strings.
    """
    ids = ids.cast(pa.large_string())
    text = _Bytes.of(ids)
    same = _plain(ids, text)
    exact = _repeated(same) if same is not ids else np.zeros(len(ids), dtype=np.bool_)
    found, folded = exact, same
    if not text.ascii or text.upper:
        lower = pc.utf8_lower(same) if not text.ascii else pc.ascii_lower(same)
        cased = _repeated(lower)
        by_case = int((cased & ~exact).sum())
        if not by_case:
            folded = lower
        elif not _is_chance(by_case, lambda: _case_by_chance(ids)):
            found, folded = cased, lower
    if (padded := text.padded()).any():
        found = _with_zeros(ids, text, folded, padded, found)
    places = np.flatnonzero(found)
    if not len(places):
        return 0, None
    stripped = _stripped(folded)
    alike = np.flatnonzero(
        pc.equal(stripped, stripped[int(places[0])]).to_numpy(zero_copy_only=False) & found
    )
    one, other = (ids[int(place)].as_py() for place in alike[:2])
    return len(places), (one, other)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """All ids as one string of bytes.

    Attributes:
        values: the bytes of all ids, one id after the other.
        starts: (V + 1,) offset at which each id begins, and the end of the last.
    """

    values: bytes
    starts: Places

    @classmethod
    def of(cls, ids: pa.Array) -> _Bytes:
        """The bytes of (V,) large strings."""
        _, offsets, data = ids.buffers()
        starts = np.frombuffer(offsets, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
        values = b"" if data is None else data.slice(int(starts[0]), int(starts[-1] - starts[0])).to_pybytes()
        return cls(values, starts - starts[0])

    @property
    def ascii(self) -> bool:
        """Whether all ids are ASCII."""
        return self.values.isascii()

    @property
    def upper(self) -> bool:
        """Whether there is an ASCII capital letter."""
        return self.values != self.values.lower()

    @property
    def signs(self) -> int:
        """Number of different bytes, at most as many as random ids are made of."""
        counts = np.bincount(np.frombuffer(self.values, dtype=np.uint8))
        return min(int(np.count_nonzero(counts)), _SIGNS)

    def has(self, signs: bytes) -> bool:
        """Whether one of these characters occurs in an id."""
        return any(sign in self.values for sign in signs)

    def maybe_numbers(self) -> npt.NDArray[np.bool_]:
        """Whether each id may be a number with a sign or a leading zero; True for all if any id contains a point."""
        lengths = np.diff(self.starts)
        found = np.full(len(lengths), b"." in self.values)
        if not found.any():
            filled = np.flatnonzero(lengths)
            first = np.frombuffer(self.values, dtype=np.uint8)[self.starts[filled]]
            found[filled] = (first == _ZERO) | (first == ord("+")) | (first == ord("-"))
        return found

    def padded(self) -> npt.NDArray[np.bool_]:
        """Whether a number within each id may have leading zeros; False for all if all ids have the same length."""
        lengths = np.diff(self.starts)
        found = np.zeros(len(lengths), dtype=np.bool_)
        if len(lengths) and (lengths != lengths[0]).any():
            values = np.frombuffer(self.values, dtype=np.uint8)
            zeros = np.flatnonzero(values[:-1] == _ZERO)
            behind, before = values[zeros + 1], values[np.maximum(zeros - 1, 0)]
            digit = (behind >= _ZERO) & (behind <= _NINE)
            owner = np.searchsorted(self.starts, zeros[digit], side="right") - 1
            first = zeros[digit] == self.starts[owner]
            ahead = before[digit]
            inside = zeros[digit] + 1 < self.starts[owner + 1]
            front = first | ~(
                ((ahead >= _ZERO) & (ahead <= _NINE)) | (ahead == ord(".")) | (ahead == ord(","))
            )
            found[owner[inside & front]] = True
        return found


def _plain(ids: pa.Array, text: _Bytes) -> pa.Array:
    """Normalise ids except for their case: Unicode NFKC, single blanks, numbers without leading zeros."""
    if not text.ascii:
        ids = pc.replace_substring_regex(pc.utf8_normalize(ids, form="NFKC"), _INVISIBLE, "")
    if not text.ascii or text.has(b" \t\n\v\f\r"):
        ids = pc.utf8_trim_whitespace(pc.replace_substring_regex(ids, _BLANKS, " "))
    maybe = ids if not text.ascii else ids.filter(pa.array(text.maybe_numbers()))
    if pc.any(pc.match_substring_regex(maybe, _WRITTEN_NUMBER)).as_py():
        ids = pc.replace_substring_regex(ids, _NUMBER, r"\1\2")
    return ids


def _with_zeros(
    ids: pa.Array,
    text: _Bytes,
    folded: pa.Array,
    padded: npt.NDArray[np.bool_],
    found: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Add the ids that differ from another only in zeros within them, unless chance produces as many.

    Args:
        ids: the ids as they are.
        text: their bytes.
        folded: the normalised ids.
        padded: mask of the ids that may contain a number with leading zeros.
        found: mask of the ids that were found without regard to such zeros.
    """
    stripped = _stripped(folded.filter(pa.array(padded)))
    looked_at = padded | pc.is_in(folded, value_set=stripped).to_numpy(zero_copy_only=False)
    few = folded.filter(pa.array(looked_at))
    codes = _stripped(few).dictionary_encode()
    group = codes.indices.to_numpy(zero_copy_only=False)
    # Leading zeros make an id longer: ids of equal length differ in where their zeros are, which is no padding.
    lengths = _lengths(few)
    shortest = np.full(len(codes.dictionary), np.iinfo(np.int64).max)
    longest = np.zeros(len(codes.dictionary), dtype=np.int64)
    np.minimum.at(shortest, group, lengths)
    np.maximum.at(longest, group, lengths)
    zeroed = np.zeros(len(ids), dtype=np.bool_)
    zeroed[looked_at] = (shortest < longest)[group]
    if _is_chance(int((zeroed & ~found).sum()), lambda: _zeros_by_chance(ids, stripped, text.signs)):
        return found
    return zeroed | found


def _stripped(values: pa.Array) -> pa.Array:
    """Values without leading zeros in the numbers within them."""
    return pc.replace_substring_regex(values, _PADDED, r"\1\2")


def _is_chance(count: int, expected: Callable[[], float]) -> bool:
    """Whether the count of such ids is no more than chance produces, given the expected number."""
    if not count:
        return True
    mean = expected()
    return count <= _CHANCE * mean + _DEVIATIONS * math.sqrt(mean)


def _case_by_chance(ids: pa.Array) -> float:
    """Expected number of ids that differ from another only in case, if all ids are random.

    If V ids have length L, one of them with k letters can be written in 2^k - 1 other ways, each of which is an id with
    probability V / 62^L.
    """
    lengths = _lengths(ids)
    letters = pc.count_substring_regex(ids, "[A-Za-z]").to_numpy(zero_copy_only=False).astype(np.float64)
    density = _density(lengths, _SIGNS)[lengths]
    return float((1 - (1 - density) ** (2.0 ** np.minimum(letters, 100) - 1)).sum())


def _zeros_by_chance(ids: pa.Array, stripped: pa.Array, signs: int) -> float:
    """Expected number of ids that differ only in zeros by chance: the shorter form of each, and the id itself.

    A shorter form of length L is an id with probability V / S^L, for ids made of S different characters.
    """
    density, lengths = _density(_lengths(ids), signs), _lengths(stripped)
    return 2 * float(density[lengths].sum())


def _lengths(values: pa.Array) -> Places:
    found: Places = pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _density(lengths: Places, signs: int) -> npt.NDArray[np.float64]:
    """Share of all possible ids of each length that occur."""
    counts = np.bincount(lengths)
    found: npt.NDArray[np.float64] = np.minimum(
        counts / float(signs) ** np.minimum(np.arange(len(counts)), 100), 1
    )
    return found


def _repeated(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each value occurs more than once."""
    codes = values.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    repeated: npt.NDArray[np.bool_] = np.bincount(codes)[codes] > 1
    return repeated
