"""Types of text columns: ids and sequences become numbers if all values are; times are numbers or dates."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import duckdb

from mclrec.data.intake import Found, dropped_missing
from mclrec.data.origin import Reading
from mclrec.data.text_tables import sql_name, sql_text
from mclrec.data.time_forms import CLOCK, FORMS, ISO, clock_form, has_day, sampled_meaning
from mclrec.errors import ConfigError, DataError, quoted
from mclrec.wording import count_of

__all__ = ["WORDS_FOR_NOTHING", "Typed", "missing", "typed"]

# Canonical integers only: try_cast alone would round '1.5' and accept '007'.
_INTEGER = "try_cast({0} AS BIGINT)::VARCHAR = {0}"
_NUMBER = (
    r"regexp_full_match({0}, '\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(?i:nan|inf|infinity)\s*')"
)
_DECIMAL = r"regexp_full_match({0}, '[+-]?\d+(\.\d{{0,9}})?')"
_PLACES = "max(length(split_part({0}, '.', 2)))"
# Without the test of the year, DuckDB reads 31/12/23 as a day of the year 31.
_MOMENT = r"isfinite(try_cast({0} AS TIMESTAMPTZ)) AND regexp_matches(time, '^\s*\d{{4}}')"
_NANOSECONDS = r"regexp_matches({0}, '[.]\d{{6}}0{{0,2}}[1-9]')"
_INEXACT = r"(regexp_full_match({0}, '\s*[+-]?\d+\s*') AND abs(try_cast({0} AS DOUBLE)) > 9007199254740992)"
_TOO_LARGE = "abs(try_cast({0} AS DOUBLE)) >= 9223372036854775808"
WORDS_FOR_NOTHING = ("NULL", "Null", "null", "NA", "N/A", "n/a", "<NA>", r"\N", "NaN", "nan", "None")
"""Words for missing values, as written by databases, R, pandas and Python."""

_NOTHING = (
    "({0} IS NULL OR ({0} >= '<' AND {0} IN (" + ", ".join(f"'{word}'" for word in WORDS_FOR_NOTHING) + ")))"
)
_FLOAT_IDS = r"regexp_full_match({0}, '(0|-?[1-9]\d{{0,14}})\.0')"
_FIRST_YEAR = 1000
_FINITE = "isfinite(CAST({0} AS DOUBLE))"


def _parsed(form: str) -> str:
    """SQL: the column ``time`` in a strptime format; NULL if it does not match, or if ``%Y`` matches two digits."""
    parsed = f"try_strptime(trim(time), {sql_text(form)})"
    return f"CASE WHEN year({parsed}) >= {_FIRST_YEAR} THEN {parsed} END"


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed log: ids are BIGINT or VARCHAR, time is BIGINT or DOUBLE, sequence is one of these three.

    Attributes:
        relation: the rows.
        ticks: ticks of ``time`` per unit that `mclrec.data.readers.Log` counts in.
        found: what was found in the log while it was read.
        doubts: ambiguous choices, to warn about.
    """

    relation: duckdb.DuckDBPyRelation
    ticks: int
    found: Found = field(default_factory=Found)
    doubts: Sequence[str] = ()


def typed(
    connection: duckdb.DuckDBPyConnection,
    roles: Sequence[str],
    place: str,
    row_place: Callable[[int], str],
    reading: Reading,
    *,
    file_order: bool = False,
    text_ids: bool = True,
    day: str | None = None,
) -> Typed:
    """Convert the columns of the table ``log`` to their types.

    Args:
        connection: database with the table.
        roles: columns of the table.
        place: file or kind of frame, for messages.
        row_place: tells where a row of the table comes from, for messages.
        reading: the reading options.
        file_order: whether rows are ordered by their place in the file, without a sequence column.
        text_ids: whether ids are text of a file, which become integers if all of them look like integers.
        day: a column that may hold the days, in case the time column holds only clock times.

    Raises:
        DataError: values are missing, too large, or not valid times.
    """
    needed = [role for role in roles if role != "label"]
    table = _Table(connection, place, row_place, day)
    lacking = _NOTHING if text_ids else "{0} IS NULL"
    found = table.without_missing(needed, lacking) if reading.drop_missing else Found()
    table.refuse_missing(needed, lacking)
    columns = {role: table.id_type(role) if text_ids else sql_name(role) for role in ("user", "item")}
    ticks = 1
    if "time" in roles:
        columns["time"], ticks = table.time_type(reading.time_format)
    elif reading.time_format is not None:
        raise DataError(f"{place}: has no time column, so --time-format cannot be used")
    if "sequence" in roles:
        columns["sequence"] = table.sequence_type()
    elif file_order:
        columns["sequence"] = table.row
    if "label" in roles:
        nothing = (_NOTHING if text_ids else "{0} IS NULL").format("label")
        columns["label"] = f"CASE WHEN NOT {nothing} THEN label END"
    wanted = ", ".join(f"{expression} AS {sql_name(role)}" for role, expression in columns.items())
    return Typed(connection.sql(f"SELECT {wanted} FROM log"), ticks, found)  # noqa: S608 - names are ours


def missing(place: str, counts: dict[str, int], first: str) -> DataError:
    """The error for rows with missing values, with the count of each role and the first row."""
    what = ", ".join(f"{count} without {role}" for role, count in counts.items() if count)
    where = first.removeprefix(f"{place}: ")  # "row 7", or still PATH:LINE
    where = f"line {where[len(place) + 1 :]}" if where.startswith(f"{place}:") else where
    return DataError(
        f"{place}: incomplete rows: {what}; the first is {where}: fix them, or use --drop-missing"
    )


class _Table:
    """The table ``log``, with tests of the text in its columns."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        place: str,
        row_place: Callable[[int], str],
        day: str | None,
    ) -> None:
        self._connection = connection
        self._place = place
        self._row_place = row_place
        self._day = day
        self.row = "rowid"
        """Column with the row's number in the file."""
        self._kinds = {
            str(name): str(kind) for name, kind, *_ in connection.execute("DESCRIBE log").fetchall()
        }

    def refuse_missing(self, roles: Sequence[str], test: str) -> None:
        """Refuse a table without rows, or with rows for which the test for missing values is true."""
        bad = {role: self._test(test, role) for role in roles}
        counts = ", ".join(f"count(*) FILTER ({condition})" for condition in bad.values())
        first = f"min({self.row}) FILTER ({' OR '.join(bad.values())})"
        [(rows, row, *found)] = self._connection.execute(
            f"SELECT count(*), {first}, {counts} FROM log"  # noqa: S608 - names are ours
        ).fetchall()
        if not rows:
            raise DataError(f"{self._place}: has no rows")
        if row is not None:
            raise missing(self._place, dict(zip(roles, found, strict=True)), self._row_place(row))

    def without_missing(self, roles: Sequence[str], test: str) -> Found:
        """Drop rows with missing values, and report their number."""
        bad = " OR ".join(self._test(test, role) for role in roles)
        counted = f"SELECT count(*), count(*) FILTER ({bad}) FROM log"  # noqa: S608 - names are ours
        [(rows, dropped)] = self._connection.execute(counted).fetchall()
        if dropped == rows and rows:
            raise DataError(
                f"{self._place}: nothing is left without the {count_of(rows, 'row')} that lack a value"
            )
        self._connection.execute(
            f"CREATE TABLE kept AS SELECT *, rowid AS origin FROM log WHERE NOT ({bad}) ORDER BY rowid"  # noqa: S608 - ours
        )
        self._connection.execute("DROP TABLE log")
        self._connection.execute("ALTER TABLE kept RENAME TO log")
        self.row = "origin"
        return dropped_missing(rows, dropped)

    def _test(self, test: str, role: str) -> str:
        """The test for missing values of one column; only text columns can hold words for them."""
        words = test is _NOTHING and self._kinds[role] != "VARCHAR"
        return ("{0} IS NULL" if words else test).format(sql_name(role))

    def id_type(self, role: str) -> str:
        """SQL of an id: an integer if all ids are integers, or all are integers written as floats (7.0)."""
        name = sql_name(role)
        if self._fits(_INTEGER.format(name)):
            return f"CAST({name} AS BIGINT)"
        if self._fits(_FLOAT_IDS.format(name)):
            return f"CAST(split_part({name}, '.', 1) AS BIGINT)"
        return name

    def sequence_type(self) -> str:
        """SQL of the sequence: integers, floats, or text if not all values are numbers."""
        if self._kinds["sequence"] != "VARCHAR":
            return "sequence"
        if self._fits(_INTEGER.format("sequence")):
            return "CAST(sequence AS BIGINT)"
        if not self._fits(_NUMBER.format("sequence")):
            return "sequence"
        self.refuse_missing(["sequence"], f"NOT {_FINITE}")
        self._refuse("sequence", _INEXACT, "has too many digits to be ordered among numbers with fractions")
        return "CAST(sequence AS DOUBLE) + 0"  # -0 becomes 0, so that neither sorts first

    def time_type(self, form: str | None) -> tuple[str, int]:
        """SQL of the time, which is a number, ISO, or in a strptime format; and its ticks per unit."""
        if self._kinds["time"] != "VARCHAR":
            if form is not None:
                raise DataError(f"{self._place}: the time is not text, so --time-format cannot be used")
            return "time", 1
        if form is not None:
            return self._formatted(form)
        if self._fits(_INTEGER.format("time")):
            return "CAST(time AS BIGINT)", 1
        if self._fits(_DECIMAL.format("time")):
            places = self._value(_PLACES.format("time"))
            exact = f"try_cast(split_part(time, '.', 1) || rpad(split_part(time, '.', 2), {places}, '0') AS BIGINT)"
            if self._fits(f"{exact} IS NOT NULL"):
                return exact, 10**places
        if self._fits(_NUMBER.format("time")):
            self.refuse_missing(["time"], f"NOT {_FINITE}")
            self._refuse("time", _INEXACT, "has too many digits to be ordered among numbers with fractions")
            self._refuse("time", _TOO_LARGE, "is beyond 64 bits")
            return "CAST(time AS DOUBLE) + 0", 1
        for text in ("time", ISO):
            moment = _MOMENT.format(text)
            if self._fits(moment):
                return self._moment(text)
        raise self._unreadable_time()

    def _formatted(self, form: str) -> tuple[str, int]:
        """SQL and ticks of a time in a strptime format."""
        if self._day is not None and not has_day(form):
            raise DataError(f"{self._place}: --time-format {form} has no day, and {self._join(self._day)}")
        parsed = _parsed(form)
        try:
            [(kind,)] = self._connection.execute(
                f"SELECT typeof({parsed}) FROM (SELECT '' AS time)"  # noqa: S608 - quoted
            ).fetchall()
        except duckdb.Error as problem:
            what = str(problem).partition(": ")[2].partition("\n")[0]
            raise ConfigError(f"--time-format {form}: {what or 'is not a strptime format'}") from None
        row = self._unfit(f"{parsed} IS NOT NULL")[1]
        if row is not None:
            years = "; %Y is a four-digit year, %y a two-digit one" if "%Y" in form else ""
            raise self._error("time", row, f"does not match --time-format {form}{years}")
        if kind == "TIMESTAMP_NS":
            return f"epoch_ns({parsed})", 10**9
        return f"epoch_us(CAST({parsed} AS TIMESTAMPTZ))", 10**6

    def _moment(self, text: str) -> tuple[str, int]:
        microseconds = f"epoch_us(CAST({text} AS TIMESTAMPTZ))"
        span = self._value(f"max(abs({microseconds}))")
        if span * 1000 >= 2**63 or self._fits(f"NOT {_NANOSECONDS.format('time')}"):
            return microseconds, 10**6
        digits = r"rpad(substr(regexp_extract(time, '[.](\d{1,9})', 1), 7), 3, '0')"
        return f"{microseconds} * 1000 + CAST({digits} AS BIGINT)", 10**9

    def _unreadable_time(self) -> DataError:
        kinds = [_NUMBER.format("time"), _MOMENT.format(ISO)]
        row = min(self._unfit(fits) for fits in kinds)[1]
        if self._fits(f"regexp_full_match(time, {sql_text(CLOCK)})"):
            return self._clock(row or 0)
        forms = self._forms(row or 0)
        if len(forms) > 1:
            readings = " or ".join(f"{sampled_meaning(form)} (--time-format '{form}')" for form in forms[:3])
            return self._error("time", row, f"may be {readings}: say which")
        cure = (
            f"--time-format '{forms[0]}' would read it"
            if forms
            else "say how it is written with --time-format"
        )
        return self._error("time", row, f"is neither a number nor an ISO date; {cure}")

    def _clock(self, row: int) -> DataError:
        """The error for clock times without a day."""
        [(text,)] = self._connection.execute(f"SELECT time FROM log WHERE {self.row} = {row}").fetchall()  # noqa: S608
        if self._day is not None:
            return self._error("time", row, f"is a clock time without a day, and {self._join(self._day)}")
        form = clock_form(text)
        reads = f" '{form}'" if self._fits(f"{_parsed(form)} IS NOT NULL") else ""
        return self._error(
            "time",
            row,
            "is a clock time without a day, which cannot order rows of several days; join it and its day into one "
            f"column, such as 2024-01-31T18:00; if all rows are of one day, use --time-format{reads}",
        )

    @staticmethod
    def _join(day: str) -> str:
        return (
            f"{day} may hold the days: join both into one column, such as 2024-01-31T18:00, or order rows by the day "
            f"alone with --time-column {shlex.quote(day)}"
        )

    def _forms(self, row: int) -> list[str]:
        """The known formats that match all rows; if there is none, those that match the given row."""
        one = f"FROM log WHERE {self.row} = {row}"
        wanted = ", ".join(f"{_parsed(form)} IS NOT NULL" for form in FORMS)
        [fits] = self._connection.execute(f"SELECT {wanted} {one}").fetchall()
        forms = [form for form, fit in zip(FORMS, fits, strict=True) if fit]
        return [form for form in forms if self._fits(f"{_parsed(form)} IS NOT NULL")] or forms

    def _refuse(self, role: str, test: str, what: str) -> None:
        row = self._unfit(f"NOT {test.format(role)}")[1]
        if row is not None:
            raise self._error(role, row, what)

    def _error(self, role: str, row: int | None, what: str) -> DataError:
        query = f"SELECT {sql_name(role)} FROM log WHERE {self.row} = {row}"  # noqa: S608 - ours
        [(value,)] = self._connection.execute(query).fetchall()
        return DataError(f"{self._row_place(row or 0)}: {role} {quoted(value)} {what}")

    def _fits(self, test: str) -> bool:
        return self._unfit(test)[0] == 0

    def _unfit(self, test: str) -> tuple[int, int | None]:
        """Number of rows that fail a test, and the first of them."""
        query = f"SELECT count(*), min({self.row}) FROM log WHERE NOT coalesce({test}, false)"  # noqa: S608 - ours
        [(count, row)] = self._connection.execute(query).fetchall()
        return count, row

    def _value(self, expression: str) -> int:
        [(value,)] = self._connection.execute(f"SELECT {expression} FROM log").fetchall()  # noqa: S608 - ours
        return int(value)
