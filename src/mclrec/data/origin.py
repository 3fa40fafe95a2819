"""Where data come from: the place, how the log was read, and the fingerprint that recognises the result."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypedDict

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from mclrec.data.columns import Columns
from mclrec.data.part_sources import PartSource
from mclrec.data.ties import TieRule
from mclrec.errors import ConfigError, invalid_value, quoted

__all__ = ["Kind", "Origin", "Quote", "Reading", "ReadingOptions"]

Quote = Literal["none", '"', "'"]
"""What encloses the fields of delimited text."""

Kind = Literal["dataset", "file", "prepared", "memory"]
"""A registered data set, a log in files, a folder of prepared data, or a frame (or arrays) in memory."""


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is no encoding of text that Python knows") from None
    return name


def _condition(text: str) -> str:
    from mclrec.data.conditions import parsed

    try:
        parsed(text)
    except ConfigError as problem:
        raise ValueError(str(problem).removeprefix("where: ")) from None
    return text


class ReadingOptions(TypedDict, total=False):
    """The fields of `Reading` as keyword arguments."""

    min_count: int | None
    drop_repeats: bool
    columns: Columns | None
    header: bool | None
    quote: Quote | None
    encoding: str | None
    time_format: str | None
    drop_missing: bool
    ties: TieRule | None
    drop_duplicates: bool
    where: str | None
    valid: Any
    test: Any


class Reading(BaseModel):
    """How a log becomes sequences: every option that changes the result, in one structure that travels.

    `mclrec.load` and `mclrec.prepare` take it whole or field by field, the commands have an option for each field, runs
    and prepared folders keep it.

    Attributes:
        min_count: interactions that each user and item must have (k-core); None for the default.
        drop_repeats: whether only the first interaction of a user with an item is kept.
        columns: names of the columns; None where all are guessed.
        header: whether delimited text begins with names; None where that is guessed.
        quote: what encloses fields of delimited text: ``none``, ``"`` or ``'``; None where that is found out.
        encoding: of text, such as ``latin-1``; UTF-8 if None.
        time_format: how text writes times, in the signs of strptime; ISO if None.
        drop_missing: whether rows without a value are left out, and not refused.
        ties: what orders rows of a user at one time: ``hash``, which tells nothing about their items, or ``file``, the
            order in which the log has them. None for the hash, of which a warning speaks where many rows are tied.
        drop_duplicates: whether of rows with the same user, item and time only the first is kept.
        where: a condition over the columns of the log, in DuckDB's SQL; rows for which it is not true are left out.
        valid: the validation set, where the log is a training set that somebody split off; a path or frame as it is.
        test: likewise the test set; both are given, or neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_count: Annotated[int, Field(ge=1)] | None = None
    drop_repeats: bool = False
    columns: Columns | None = None
    header: bool | None = None
    quote: Quote | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    time_format: Annotated[str, Field(min_length=1)] | None = None
    drop_missing: bool = False
    ties: TieRule | None = None
    drop_duplicates: bool = False
    where: Annotated[str, AfterValidator(_condition)] | None = None
    valid: PartSource | None = None
    test: PartSource | None = None

    @model_validator(mode="after")
    def _whole(self) -> Reading:
        if (self.valid is None) != (self.test is None):
            given, lacking = ("valid", "test") if self.test is None else ("test", "valid")
            raise ValueError(f"{given} is given without {lacking}; a split in files needs both")
        return self

    @property
    def in_parts(self) -> bool:
        """Whether validation and test set are read from places of their own."""
        return self.test is not None

    @model_serializer(mode="wrap")
    def _given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The options that were given: what earlier versions wrote, which had fewer, says as much."""
        written: dict[str, Any] = serialise(self)
        if self.columns is not None:
            written["columns"] = {name: value for name, value in asdict(self.columns).items() if value}
        return {
            name: value
            for name, value in written.items()
            if getattr(self, name) != type(self).model_fields[name].default
        }

    @classmethod
    def of(cls, reading: Reading | None = None, /, **options: Any) -> Reading:
        """A reading with some of its fields given; those that are not given, or None, are those of ``reading``.

        Raises:
            ConfigError: there is no such field, its value cannot be, or what was given is no reading.
        """
        if reading is not None and not isinstance(reading, Reading):
            raise ConfigError(f"reading = {quoted(reading)}: should be an mclrec.Reading")
        try:
            fields = {} if reading is None else reading.options()
            given = {name: value for name, value in options.items() if value is not None}
            return cls.model_validate(fields | given)
        except ValidationError as problem:
            raise ConfigError(invalid_value(problem)) from None

    def words(self) -> list[str]:
        """The options of the command line that read a log in this way; none for the defaults."""
        words = []
        for name, value in self.options().items():
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, Columns):
                words += value.words()
            elif value is True:
                words.append(option)
            elif value is False:
                words += ["--no-header"] if name == "header" else []
            elif value is not None:
                words += [option, str(value)]
        return words

    def filled(self, usual: Reading) -> Reading:
        """What is given here, and what ``usual`` gives where nothing is."""
        given = {name: value for name, value in self.options().items() if value not in (None, False)}
        if self.header is not None:
            given["header"] = self.header
        if self.columns is not None:
            given["columns"] = self.columns.filled(usual.columns)
        return usual.model_copy(update=given)

    def beside(self, usual: Reading) -> Reading:
        """What is given here and differs from ``usual``."""
        given = self.options()
        return Reading(**{name: value for name, value in given.items() if value != getattr(usual, name)})

    def options(self) -> dict[str, Any]:
        """The same as keyword arguments of `mclrec.load`."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Origin(BaseModel):
    """Where some data come from; kept in prepared folders and in the configuration of runs.

    Attributes:
        kind: of the place.
        place: name of the data set, path as it was given, or kind of the frame.
        path: the same path from the root of the file system; None for other kinds.
        reading: how the log was read; the defaults for a prepared folder, whose ``log`` knows.
        fingerprint: of the sequences that came out.
        times: checksum of their times; None where they have none, and in what earlier versions wrote.
        log: of a prepared folder: where its sequences came from, if that is known.
        parts: paths of the validation and test set from the root of the file system, by their names in ``reading``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    place: str
    path: str | None = None
    reading: Reading = Reading()
    fingerprint: str
    times: str | None = None
    log: Origin | None = None
    parts: dict[str, str] | None = None

    @property
    def source(self) -> Origin:
        """The log itself: the origin of a prepared folder's log, where that is known, else this origin."""
        return self if self.log is None else self.log.source

    def words(self) -> list[str]:
        """The data of a command line, with the options that read them; ``DATA`` for data from memory."""
        return ["DATA"] if self.kind == "memory" else [self.place, *self.reading.words()]

    def __str__(self) -> str:
        """A phrase for people, such as "file log.csv --min-count 1"."""
        kinds = {"dataset": "data set", "file": "file", "prepared": "prepared folder", "memory": "memory:"}
        text = " ".join([kinds[self.kind], self.place, *map(shlex.quote, self.reading.words())])
        return text if self.log is None else f"{text}, made of {self.log}"
