"""Column types of frames and Parquet files: the only place that says which are read, as what, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from mclrec.errors import DataError, quoted

__all__ = [
    "ColumnType",
    "UnfitError",
    "column_type",
    "common_type",
    "converted",
    "countable",
    "is_text",
    "missing_values",
    "plain",
]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_EXACT = {16: 11, 32: 24, 64: 53}
"""Largest n, by the width of a float in bits, such that it represents every whole number up to 2^n."""

_MOST_PLACES = 9  # decimal places


class UnfitError(Exception):
    """A value that cannot be converted, and its row in the column."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type that a column is converted to.

    Attributes:
        stored: int64, float64 or large_string.
        ticks: units of ``stored`` per second of a point in time, or per unit of a column of decimals.
        moment: whether it is a point in time, such as a date.
        text: whether it is text that still has to be parsed, like that of a CSV file.
    """

    stored: pa.DataType
    ticks: int = 1
    moment: bool = False
    text: bool = False


def column_type(role: str, kind: pa.DataType, place: str) -> ColumnType:
    """The type that a column of a given role and type is converted to.

    Raises:
        DataError: a column of this type cannot have this role.
    """
    kind = _values_of(kind)
    if role == "label" and not pa.types.is_nested(kind) and not pa.types.is_binary(kind):
        return ColumnType(pa.large_string())
    found = _id_type(kind) if role in ("user", "item") else _order_type(kind)
    if found is None:
        cure = (
            (
                "name a column of lists with --history-column"
                if pa.types.is_nested(kind)
                else "ids are integers or strings"
            )
            if role in ("user", "item")
            else "cast it to a number, date or timestamp"
        )
        raise DataError(f"{place}: the {role} column holds {_shown(kind)}; {cure}")
    return found


def common_type(role: str, types: list[tuple[str, pa.DataType]]) -> ColumnType:
    """The one type that the columns of several files are converted to.

    Raises:
        DataError: one of them cannot have this role, or two hold different kinds of values.
    """
    first_place, first = types[0]
    common = column_type(role, first, first_place)
    for place, kind in types[1:]:
        found = column_type(role, kind, place)
        same = (found.stored, found.moment, found.text) == (common.stored, common.moment, common.text)
        if not same or (not found.moment and found.ticks != common.ticks):
            raise DataError(
                f"{place}: the {role} column holds {_shown(kind)}, but that of {first_place} {_shown(first)}; "
                "cast them to one type"
            )
        if found.ticks > common.ticks:
            common = found
    return common


def converted(role: str, values: pa.Array, target: ColumnType) -> pa.Array:
    """Convert a column to its target type.

    Raises:
        UnfitError: a value cannot be converted.
    """
    values = plain(values)
    if role == "label":
        return _texts(values)
    if target.stored == pa.large_string():
        return values.cast(pa.large_string())
    if pa.types.is_floating(values.type):
        values = _exact(role, values)
    if role in ("user", "item"):
        return _integers(role, values)
    if target.moment:
        return _moments(role, values, target.ticks)
    if pa.types.is_decimal(values.type):
        return _ticks(role, values, target.ticks)
    if target.stored == pa.float64():
        values = pc.add(values, 0.0)  # turns -0 into 0, so that the two sort as equal
        if role == "time":
            _refuse(pc.greater_equal(pc.abs(values), 2.0**63), "is beyond 64 bits", values, role)
        return values
    return _integers(role, values)


def _texts(values: pa.Array) -> pa.Array:
    """Values of any type as text; NaN and empty text become null."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values.cast(pa.float64())), None, values)
    texts = values.cast(pa.string()).cast(pa.large_string())
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _values_of(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.UuidType)


def plain(values: pa.Array) -> pa.Array:
    """Decode a dictionary- or run-end-encoded column; UUIDs become text."""
    if _is_uuid(values.type):
        texts = [None if value is None else str(UUID(bytes=value)) for value in values.storage.to_pylist()]
        return pa.array(texts, pa.large_string())
    if isinstance(values, pa.DictionaryArray):
        return plain(values.dictionary_decode())
    if isinstance(values, pa.RunEndEncodedArray):
        return plain(pc.run_end_decode(values))
    return values


def missing_values(role: str, values: pa.Array) -> pa.Array:
    """Mask of missing values: nulls, numbers that are not finite and, for ids, empty text."""
    bad = pc.is_null(values)
    if pa.types.is_floating(values.type):
        bad = pc.or_(bad, pc.invert(pc.fill_null(pc.is_finite(values.cast(pa.float64())), False)))
    elif role in ("user", "item") and is_text(values.type):
        bad = pc.or_(bad, pc.fill_null(pc.equal(pc.binary_length(values), 0), False))
    return bad


def _id_type(kind: pa.DataType) -> ColumnType | None:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnType(pa.int64())
    return ColumnType(pa.large_string()) if is_text(kind) else None


def _order_type(kind: pa.DataType) -> ColumnType | None:
    if pa.types.is_integer(kind):
        return ColumnType(pa.int64())
    if pa.types.is_floating(kind):
        return ColumnType(pa.float64())
    if pa.types.is_decimal(kind):
        return ColumnType(pa.int64(), 10 ** min(max(kind.scale, 0), _MOST_PLACES))
    if pa.types.is_date(kind):
        return ColumnType(pa.int64(), moment=True)
    if pa.types.is_timestamp(kind):
        return ColumnType(pa.int64(), _PER_SECOND[kind.unit], moment=True)
    return ColumnType(pa.large_string(), text=True) if is_text(kind) else None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, which includes UUIDs."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_uuid)
    return any(test(kind) for test in tests)


def countable(kind: pa.DataType) -> bool:
    """Whether values of a column can be counted: numbers, booleans, and text other than UUIDs."""
    kind = _values_of(kind)
    types = pa.types
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return numbers or types.is_boolean(kind) or (is_text(kind) and not _is_uuid(kind))


def _shown(kind: pa.DataType) -> str:
    return "nothing but nulls" if pa.types.is_null(kind) else str(kind).partition("<")[0]


def _exact(role: str, values: pa.Array) -> pa.Array:
    """Cast floats to 64 bits, refusing values that may have been rounded.

    Ids may have been rounded beyond the range in which their type represents every whole number. Times and sequences
    are refused for this only in floats of fewer than 64 bits: 32 bits hold today's seconds since 1970 in steps of two
    minutes.
    """
    width, wide = values.type.bit_width, values.cast(pa.float64())
    bits = _EXACT[width]
    if role in ("user", "item") or width < max(_EXACT):
        short = "" if width == max(_EXACT) else f"{width}-bit "
        what = f"is a {short}float beyond 2^{bits} and may have been rounded"
        what += "; load the column from the log in 64 bits" if short else ""
        _refuse(pc.greater(pc.abs(wide), 2.0**bits), what, wide, role)
    return wide


def _integers(role: str, values: pa.Array) -> pa.Array:
    """Cast whole numbers to int64."""
    if pa.types.is_floating(values.type):
        _refuse(pc.not_equal(values, pc.floor(values)), "is not a whole number", values, role)
    if pa.types.is_decimal(values.type) and values.type.scale > 0:
        return _cast(role, values, "is not a whole number, or is beyond 64 bits")
    return _cast(role, values, "is beyond 64 bits; cast the column to text")


def _cast(role: str, values: pa.Array, what: str) -> pa.Array:
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        for row, value in enumerate(values):
            try:
                value.cast(pa.int64())
            except pa.ArrowInvalid:
                raise UnfitError(row, f"{role} {quoted(_number(value))} {what}") from None
        raise


def _number(value: pa.Scalar) -> object:
    found = value.as_py()
    return found if isinstance(found, int | float) else _Bare(str(found))


class _Bare(str):
    """A number that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _moments(role: str, values: pa.Array, ticks: int) -> pa.Array:
    """Points in time as integers counted from 1970; Arrow counts them in UTC, so time zones are dropped."""
    if pa.types.is_date(values.type):
        days = values.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        return _scaled(role, _finite(role, days, 2**31 - 1), _DAY * ticks)
    units = _finite(role, values.cast(pa.int64()), 2**63 - 1)
    return _scaled(role, units, ticks // _PER_SECOND[values.type.unit])


def _finite(role: str, values: pa.Array, infinity: int) -> pa.Array:
    """Return the values, refusing those that databases write for an infinite time."""
    outside = pc.or_(pc.greater_equal(values, infinity), pc.less_equal(values, -infinity))
    _refuse(outside, "is infinite, not a point in time", values, role)
    return values


def _scaled(role: str, values: pa.Array, factor: int) -> pa.Array:
    limit = (2**63 - 1) // factor
    outside = pc.or_(pc.greater(values, limit), pc.less(values, -limit))
    _refuse(outside, "is beyond 64 bits", values, role)
    return pc.multiply(values, factor)


def _ticks(role: str, values: pa.Array, ticks: int) -> pa.Array:
    """Convert decimals to integers, ``ticks`` of which make one."""
    places = len(str(ticks)) - 1
    fits: Callable[[pa.Array], pa.Array] = lambda some: _shifted(some, places)  # noqa: E731
    try:
        return fits(values)
    except pa.ArrowInvalid:
        for row in range(len(values)):
            try:
                fits(values.slice(row, 1))
            except pa.ArrowInvalid:
                shown = quoted(_number(values[row]))
                what = f"{role} {shown} has more than {_MOST_PLACES} decimal places, or is beyond 64 bits"
                raise UnfitError(row, what) from None
        raise


def _shifted(values: pa.Array, places: int) -> pa.Array:
    """Multiply decimals by 10^``places``, by reading their digits at that scale as those of an integer."""
    exact = values.cast(pa.decimal256(76, places))
    digits = pa.Array.from_buffers(pa.decimal256(76, 0), len(exact), exact.buffers(), offset=exact.offset)
    return digits.cast(pa.int64())


def _refuse(bad: pa.Array, what: str, values: pa.Array, role: str) -> None:
    """Raise an error for the first row that the mask ``bad`` selects."""
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise UnfitError(row, f"{role} {quoted(_number(values[row]))} {what}")
