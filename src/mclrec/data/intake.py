"""The intake: a record of what was read from a log, which rules dropped rows, and statistics of what is left.

Readers report what they found (`Found`), preparation what each rule left (`Step`), and `mclrec.data.measures` describes
the result. The record is saved with prepared data and with runs; `mclrec.data.intake_text` puts it into words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mclrec.data.columns import Columns
from mclrec.errors import DataError, MclrecError, visible
from mclrec.sealed_json import sealed, unsealed, validated

__all__ = [
    "HASHED",
    "PART_NAMES",
    "Counts",
    "DoubtfulIds",
    "FarTimes",
    "Found",
    "IdRole",
    "Intake",
    "Measures",
    "PartsTaken",
    "Quantiles",
    "Rule",
    "Step",
    "TakenColumn",
    "Watched",
    "WatchedKind",
    "dropped_missing",
    "shortened",
    "taken_columns",
]

Rule = Literal["missing", "where", "duplicates", "repeats", "k-core"]
"""A rule that drops rows: missing values, condition not met, duplicate event, later return, rare user or item."""

WatchedKind = Literal["amounts", "events", "ratings"]
"""What a column without a role may contain: quantities or sums of money, kinds of events, ratings."""

IdRole = Literal["user", "item"]

HASHED = "a hash"
"""What orders tied rows by default."""

PART_NAMES = ("training", "validation", "test")
"""Names of the files of a split."""

_LONGEST = 60  # characters of a sample value


class _Part(BaseModel):
    """Base of the parts of the record: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TakenColumn(_Part):
    """A column that was read: its role, its name in the log, and a sample value (None if none was kept)."""

    role: str
    name: str
    sample: str | None = None


class Counts(_Part):
    """Sizes of a log at one point of its preparation; users and items are None where they were not counted."""

    users: int | None
    items: int | None
    rows: int


class Step(_Part):
    """A rule that was applied.

    Attributes:
        rule: its kind.
        option: the command-line option, such as ``--min-count 5``.
        left: sizes after it was applied.
    """

    rule: Rule
    option: str
    left: Counts


class Quantiles(_Part):
    """Quantiles of whole numbers."""

    least: int
    tenth: int
    quarter: int
    median: int
    three_quarters: int
    nine_tenths: int
    most: int


class FarTimes(_Part):
    """Times that are far from those of most rows, and implausible for an interaction.

    Attributes:
        rows: number of rows with such a time; ``example`` is one of these times as a date, or as written if it is none.
        unit: unit of most times: units per second, or the format of numbers that are dates.
        since: the first plausible day; ``until`` is the day after the last.
        mixed: number of these rows whose times are plausible in another unit, which ``other`` names.
    """

    rows: int
    example: str
    unit: int | str
    since: str
    until: str
    mixed: int = 0
    other: str | None = None


class Measures(_Part):
    """Statistics of sequences.

    Attributes:
        users: number of users; likewise ``items`` and ``rows``.
        first: earliest time, in ISO 8601 (UTC) if it is a plausible date, else the number; None without times.
        last: latest time.
        tied: share of rows that share their time with another row of their user; None without times.
        duplicates: share of rows that repeat user, item and time of an earlier one; None without times.
        repeats: share of rows whose item is already in their user's history.
        returns: share of validation targets that are in their user's history, from which `mclrec.data.returns` derives
            the suitable protocol; None if no user has three interactions.
        unmeasured: number of users with fewer than three interactions, whose items are trained on and never held out;
            for a log in three files, of those without a test target.
        lengths: quantiles of the lengths of histories.
        mean_length: interactions per user.
        gini: Gini coefficient of the items' popularity, 0 if all are equally popular.
        top_item: the most popular item, and ``top_share`` its share of the rows.
        top_hundredth: share of the rows that the most popular 1 % of items have; likewise ``top_tenth`` 10 %.
        far: times that are far from the others; None if there are none.
    """

    users: int
    items: int
    rows: int
    first: str | None
    last: str | None
    tied: float | None
    duplicates: float | None
    repeats: float
    returns: float | None
    unmeasured: int
    lengths: Quantiles
    mean_length: float
    gini: float
    top_item: str
    top_share: float
    top_hundredth: float
    top_tenth: float
    far: FarTimes | None = None


class Watched(_Part):
    """Counts of the values in a column that is read for no other purpose.

    Attributes:
        kind: what the column contains.
        name: name of the column in the log.
        rows: number of rows examined, before those without a value were left out.
        below: for amounts, the number of rows below zero; likewise ``zero`` for rows equal to zero.
        values: for events and ratings, each value with its number of rows, the most frequent first.
    """

    kind: WatchedKind
    name: str
    rows: int
    below: int = 0
    zero: int = 0
    values: tuple[tuple[str, int], ...] = ()


class DoubtfulIds(_Part):
    """Doubtful ids of users or of items, before any rule dropped rows.

    Attributes:
        role: whether they are users or items.
        column: the column that a condition may name; None if there is none.
        ids: number of all ids.
        alike: number of ids that differ from another only in how they are written; ``pair`` is an example.
        nobody: ids that stand for nobody or nothing, each with its share of the rows.
        giant: a user with more rows than a person has, with its share of the rows.
    """

    role: IdRole
    column: str | None
    ids: int
    alike: int = 0
    pair: tuple[str, str] | None = None
    nobody: tuple[tuple[int | str, float], ...] = ()
    giant: tuple[int | str, float] | None = None


class PartsTaken(_Part):
    """What was read from a log that came in files for training, validation and test.

    Attributes:
        places: the three files.
        rows: number of rows left of each.
        repeated: number of rows of lists in the last two files that only repeat what came before.
        leaked: number of rows in the last two files whose user, item and time also occur in an earlier file.
        disordered: number of users with a row that is older than one of an earlier file.
        untrained: number of users without a row in the first file.
    """

    places: tuple[str, str, str]
    rows: tuple[int, int, int]
    repeated: int
    leaked: int
    disordered: int
    untrained: int

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The validation and test files, each with the name of the option that gave it."""
        return (("valid", self.places[1]), ("test", self.places[2]))


class Intake(_Part):
    """The record of what was read from a log, and of what is left.

    Attributes:
        place: the log.
        format: its format, as detected.
        columns: the columns that were read; empty if they are unknown, as for arrays.
        tie_order: what orders rows of a user with equal times, such as `HASHED`; None where times decide nothing.
        read: sizes of the log as it was read, including rows without ids.
        steps: rules that were applied, in order.
        left: statistics of the sequences.
        fingerprint: fingerprint of the sequences.
        parts: what was read from each of three files; None for one log.
        watched: columns that may show that some rows are not interactions like the others.
        dates: format of numbers that were read as dates, such as ``YYYYMMDD``; None if times are no such numbers.
        doubtful: ids that may not be distinct users or items.
    """

    place: str
    format: str
    columns: tuple[TakenColumn, ...]
    tie_order: str | None
    read: Counts
    steps: tuple[Step, ...]
    left: Measures
    fingerprint: str
    parts: PartsTaken | None = None
    watched: tuple[Watched, ...] = ()
    dates: str | None = None
    doubtful: tuple[DoubtfulIds, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object with a checksum of its contents."""
        return sealed(self.model_dump(mode="json"))

    @classmethod
    def of_json(cls, found: Any, where: str, error: type[MclrecError] = DataError) -> Intake:
        """Read a record that `to_json` wrote.

        Args:
            found: the parsed JSON.
            where: the file, for messages.
            error: type of the error that is raised if the record is damaged, edited or something else.
        """
        return validated(cls, unsealed(found, where, error), where, error)

    def step(self, rule: Rule) -> tuple[Counts, Counts] | None:
        """Sizes before and after a rule; None if it was not applied."""
        before = self.read
        for step in self.steps:
            if step.rule == rule:
                return before, step.left
            before = step.left
        return None


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader found in a log.

    Attributes:
        format: its format as detected, in words.
        columns: the columns that were read.
        read: number of rows of the log, if some of them were dropped while it was read; None if none were.
        steps: the rules that dropped them.
        columns_again: the columns by which further files of the log are read; None if each is read by its own columns.
        lists: whether a row was a list of items.
        followed: whether an item of its own followed each list.
        text_ids: whether ids came from text, and are integers only if all of them look like integers.
        watched: counts of columns that were read for no other purpose.
        day: a column that may hold the days of the times, if these turn out to be hours.
    """

    format: str = ""
    columns: tuple[TakenColumn, ...] = ()
    read: int | None = None
    steps: tuple[Step, ...] = ()
    columns_again: Columns | None = None
    lists: bool = False
    followed: bool = False
    text_ids: bool = False
    watched: tuple[Watched, ...] = ()
    day: str | None = None


def dropped_missing(rows: int, dropped: int) -> Found:
    """The `Found` of a reader that left out rows in which a value is missing."""
    step = Step(
        rule="missing", option="--drop-missing", left=Counts(users=None, items=None, rows=rows - dropped)
    )
    return Found(read=rows, steps=(step,))


def taken_columns(names: Mapping[str, str], samples: Mapping[str, Any]) -> tuple[TakenColumn, ...]:
    """Columns with their roles, and a sample value of those that have one; long values are truncated."""
    return tuple(
        TakenColumn(role=role, name=shortened(name), sample=_sample(samples.get(role)))
        for role, name in names.items()
    )


def _sample(value: Any) -> str | None:
    return None if value is None else shortened(value)


def shortened(value: Any) -> str:
    """A value as text that fits into a line: long values are truncated, and control characters are escaped."""
    text = visible(str(value)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
