"""The intake: what was taken of a log, by which rules rows were dropped, and what the sequences that are left are like.

Readers say what they found (`Found`), preparation what each rule left (`Step`), and `mclrec.data.measures` what the
result is like. The record travels with prepared data and with runs; `mclrec.data.intake_text` puts it into words.
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
"""A rule by which rows are dropped: without an id, not wanted, the same event twice, a later return, too rare."""

WatchedKind = Literal["amounts", "events", "ratings"]
"""What a column that nobody reads may hold: how many or how much, kinds of events, how much somebody liked it."""

IdRole = Literal["user", "item"]

HASHED = "a hash"
"""What orders tied rows if nothing else is said."""

PART_NAMES = ("training", "validation", "test")
"""What the files of a split are called."""

_LONGEST = 60  # characters of a sample value


class _Part(BaseModel):
    """A part of the record: frozen, and of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TakenColumn(_Part):
    """A column that was read: its role, its name in the log, and a value of it (None where none was kept)."""

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
        option: as the command line has it, such as ``--min-count 5``.
        left: sizes after it.
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
    """Times that are far from those of most rows, and no plausible times of an interaction.

    Attributes:
        rows: that have one; likewise ``example`` as a time, or as it is written where it is none.
        unit: what most times count in: units in a second, or the form of numbers that are dates.
        since: the first plausible day, and ``until`` the one behind the last.
        mixed: rows that are plausible in another unit, ``other``, in words.
    """

    rows: int
    example: str
    unit: int | str
    since: str
    until: str
    mixed: int = 0
    other: str | None = None


class Measures(_Part):
    """What sequences are like.

    Attributes:
        users: number of users; likewise ``items`` and ``rows``.
        first: earliest time, in ISO 8601 (UTC) if it can be a moment, else the number; None without times.
        last: latest time.
        tied: share of rows that share their time with another row of their user; None without times.
        duplicates: share of rows that repeat user, item and time of another; None without times.
        repeats: share of rows whose item is in their user's history already.
        returns: share of validation targets that are in their user's history, by which `mclrec.data.returns` says
            which protocol suits; None where nobody has three interactions.
        unmeasured: users with fewer than three interactions, whose items are trained on and never held out; of a log in
            three files those without a test target.
        lengths: of the histories.
        mean_length: interactions a user.
        gini: Gini coefficient of the items' popularity, 0 for items that are all alike.
        top_item: the most popular item, and ``top_share`` its share of the rows.
        top_hundredth: share of the rows that the most popular 1 % of items have; likewise ``top_tenth`` 10 %.
        far: times that are far from the others; None without any.
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
    """What was counted in a column that was read for nothing else.

    Attributes:
        kind: what it holds.
        name: of the column in the log.
        rows: that were looked at, before those without a value were left out.
        below: of amounts: rows with less than zero; likewise ``zero``.
        values: of events and ratings: each value with its rows, the most frequent first.
    """

    kind: WatchedKind
    name: str
    rows: int
    below: int = 0
    zero: int = 0
    values: tuple[tuple[str, int], ...] = ()


class DoubtfulIds(_Part):
    """What is doubtful about the ids of users or of items, before any rule dropped rows.

    Attributes:
        role: whose.
        column: that a condition may name; None where there is none.
        ids: how many there are.
        alike: those that differ from another only in how they are written, of which ``pair`` has two.
        nobody: ids that stand for nobody or nothing, each with its share of the rows.
        giant: a user that has more rows than a person, with its share.
    """

    role: IdRole
    column: str | None
    ids: int
    alike: int = 0
    pair: tuple[str, str] | None = None
    nobody: tuple[tuple[int | str, float], ...] = ()
    giant: tuple[int | str, float] | None = None


class PartsTaken(_Part):
    """What was taken of a log that came in files for training, validation and test.

    Attributes:
        places: the three files.
        rows: that are left of each.
        repeated: rows of lists in the last two files that only say again what came before.
        leaked: rows of the last two files that an earlier file has too, with the same user, item and time.
        disordered: users with a row that is older than one of an earlier file.
        untrained: users without a row in the first file.
    """

    places: tuple[str, str, str]
    rows: tuple[int, int, int]
    repeated: int
    leaked: int
    disordered: int
    untrained: int

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The second and third place, with the name of the option that gave it."""
        return (("valid", self.places[1]), ("test", self.places[2]))


class Intake(_Part):
    """What was taken of a log.

    Attributes:
        place: the log.
        format: as it was detected.
        columns: by role; empty where nobody knows, as for arrays.
        tie_order: what orders rows of a user at one time, such as `HASHED`; None where times decide nothing.
        read: sizes of the log as it was read, rows without ids included.
        steps: rules that were applied, in order.
        left: what the sequences are like.
        fingerprint: of the sequences.
        parts: of a log that came in three files; None for one log.
        watched: columns that may say that rows are no interactions like the others.
        dates: the form of numbers that were read as dates, such as ``YYYYMMDD``; None where times are none.
        doubtful: ids that may be no users or items of their own.
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
        """The record as a JSON object with a checksum of what it says."""
        return sealed(self.model_dump(mode="json"))

    @classmethod
    def of_json(cls, found: Any, where: str, error: type[MclrecError] = DataError) -> Intake:
        """Read what `to_json` made.

        Args:
            found: what was parsed.
            where: file, for messages.
            error: raised for what is damaged, edited or something else.
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
        format: as it was detected, in words.
        columns: those that were read.
        read: rows of the log, where some of them were dropped while it was read; None if none was.
        steps: the rules that dropped them.
        columns_again: the columns, as a further file of the log is to be read; None where it is read by its own.
        lists: whether a row was a list of items.
        followed: whether an item of its own followed each list.
        text_ids: whether ids are those of text, which are integers where all look like it.
        watched: what was counted in columns that were read for nothing else.
        day: a column that may hold the days of the times, if these should be hours.
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
    """What a reader found that left out rows in which a value is missing."""
    step = Step(
        rule="missing", option="--drop-missing", left=Counts(users=None, items=None, rows=rows - dropped)
    )
    return Found(read=rows, steps=(step,))


def taken_columns(names: Mapping[str, str], samples: Mapping[str, Any]) -> tuple[TakenColumn, ...]:
    """Columns by role, with a sample value of those that have one; long values are cut."""
    return tuple(
        TakenColumn(role=role, name=shortened(name), sample=_sample(samples.get(role)))
        for role, name in names.items()
    )


def _sample(value: Any) -> str | None:
    return None if value is None else shortened(value)


def shortened(value: Any) -> str:
    """A value as text that fits into a line: long ones are cut, and control characters are escapes."""
    text = visible(str(value)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
