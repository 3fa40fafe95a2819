"""Where data come from: the place, how the log was read, and the fingerprint that recognises the result."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mclrec.data.columns import Columns

__all__ = ["Kind", "Origin", "Reading"]

Kind = Literal["dataset", "file", "prepared", "memory"]
"""A registered data set, a log in files, a folder of prepared data, or a frame (or arrays) in memory."""


class Reading(BaseModel):
    """How a log becomes sequences: the options of `mclrec.load` that change the result.

    Attributes:
        min_count: interactions that each user and item must have (k-core); None for the default.
        drop_repeats: whether only the first interaction of a user with an item is kept.
        columns: names of the columns; None where all are guessed.
        header: whether delimited text begins with names; None where that is guessed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_count: Annotated[int, Field(ge=1)] | None = None
    drop_repeats: bool = False
    columns: Columns | None = None
    header: bool | None = None

    def words(self) -> list[str]:
        """The options of the command line that read a log in this way; none for the defaults."""
        words = [] if self.min_count is None else ["--min-count", str(self.min_count)]
        if self.drop_repeats:
            words.append("--drop-repeats")
        for role in ("user", "item", "time", "sequence"):
            if (name := getattr(self.columns, role, None)) is not None:
                words += [f"--{role}-column", name]
        if self.columns is not None and self.columns.file_order:
            words.append("--file-order")
        if self.header is not None:
            words.append("--header" if self.header else "--no-header")
        return words

    def filled(self, usual: Reading) -> Reading:
        """What is given here, and what ``usual`` gives where nothing is."""
        given = {name: value for name, value in self.options().items() if value not in (None, False)}
        return usual.model_copy(update=given | ({} if self.header is None else {"header": self.header}))

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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    place: str
    path: str | None = None
    reading: Reading = Reading()
    fingerprint: str
    times: str | None = None
    log: Origin | None = None

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
        text = " ".join([kinds[self.kind], self.place, *self.reading.words()])
        return text if self.log is None else f"{text}, made of {self.log}"
