"""Provenance of data: the place, the options by which the log was read, and the fingerprint of the result."""

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
"""The quote character of delimited text."""

Kind = Literal["dataset", "file", "prepared", "memory"]
"""A registered data set, a log in files, a folder of prepared data, or a frame (or arrays) in memory."""


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is not a text encoding that Python knows") from None
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
    """Reading options: how a log becomes sequences, with every option that changes the result in one structure.

    `mclrec.load` and `mclrec.prepare` take it whole or field by field; commands have an option for each field; runs and
    prepared folders store it.

    Attributes:
        min_count: interactions that each user and item must have (k-core); None for the default.
        drop_repeats: whether only the first interaction of a user with an item is kept.
        columns: names of the columns; None to detect all of them.
        header: whether delimited text begins with a header; None to detect it.
        quote: quote character of delimited text: ``none``, ``"`` or ``'``; None to detect it.
        encoding: encoding of text, such as ``latin-1``; None for UTF-8.
        time_format: strptime format of times in text; None for ISO.
        drop_missing: whether rows with a missing value are dropped instead of refused.
        ties: what orders rows of a user at the same time: ``hash``, which reveals nothing about their items, or
            ``file``, their order in the log. None for the hash, with a warning if many rows are tied.
        drop_duplicates: whether only the first of several rows with the same user, item and time is kept.
        where: a condition on the columns of the log, in DuckDB's SQL; rows for which it is not true are dropped.
        valid: the validation set, if the log is the training set of an existing split; a path or a frame, like the log.
        test: the test set of that split; give both or neither.
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
        """Whether the validation and test set are read from sources of their own."""
        return self.test is not None

    @model_serializer(mode="wrap")
    def _given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialise only options that differ from their defaults, as earlier versions, which had fewer options, did."""
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
        """Create reading options from keyword arguments; those left out or None are taken from ``reading``.

        Raises:
            ConfigError: a field does not exist or has an invalid value, or ``reading`` is not a `Reading`.
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
        """The command-line options that read a log in this way; none for defaults."""
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
        """These options, with those that are not given taken from ``usual``."""
        given = {name: value for name, value in self.options().items() if value not in (None, False)}
        if self.header is not None:
            given["header"] = self.header
        if self.columns is not None:
            given["columns"] = self.columns.filled(usual.columns)
        return usual.model_copy(update=given)

    def beside(self, usual: Reading) -> Reading:
        """Only those of these options that differ from ``usual``."""
        given = self.options()
        return Reading(**{name: value for name, value in given.items() if value != getattr(usual, name)})

    def options(self) -> dict[str, Any]:
        """All options, as keyword arguments of `mclrec.load`."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Origin(BaseModel):
    """Origin of data; stored in prepared folders and in the configuration of runs.

    Attributes:
        kind: kind of source.
        place: name of the data set, path as it was given, or kind of the frame.
        path: the absolute path; None for other kinds.
        reading: how the log was read; the defaults for a prepared folder, whose ``log`` has the options.
        fingerprint: fingerprint of the resulting sequences.
        times: checksum of their times; None if they have none, and in files that earlier versions wrote.
        log: for a prepared folder: the origin of its sequences, if known.
        parts: absolute paths of the validation and test set, by their names in ``reading``.
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
        """The origin of the log itself: for a prepared folder that of its log, if known; otherwise this origin."""
        return self if self.log is None else self.log.source

    def words(self) -> list[str]:
        """The data argument of a command line with its reading options; ``DATA`` for data from memory."""
        return ["DATA"] if self.kind == "memory" else [self.place, *self.reading.words()]

    def __str__(self) -> str:
        """A readable description, such as "file log.csv --min-count 1"."""
        kinds = {"dataset": "data set", "file": "file", "prepared": "prepared folder", "memory": "memory:"}
        text = " ".join([kinds[self.kind], self.place, *map(shlex.quote, self.reading.words())])
        return text if self.log is None else f"{text}, made from {self.log}"
