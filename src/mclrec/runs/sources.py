"""What a run was trained on, written so that it can be found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mclrec.data.columns import Columns
from mclrec.data.sequences import SequenceData
from mclrec.data.sources import DATASETS, load
from mclrec.data.split import Split, by_time_quantiles, leave_one_out
from mclrec.errors import ConfigError, DataError, unknown_name

__all__ = ["SPLITS", "DataSource", "make_split", "open_source"]

SPLITS = {"leave-one-out": leave_one_out, "time": by_time_quantiles}
"""Ways to hold out, by name."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Name or path of data, and how it is prepared.

    Attributes:
        place: name of a data set or path; None for data that came from memory.
        options: arguments of `mclrec.data.sources.load`; the names of columns under ``columns``.
    """

    place: str | None
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> SequenceData:
        """Read and prepare.

        Raises:
            DataError: there is no place to read from, or it cannot be read.
        """
        if self.place is None:
            raise DataError("data from memory have no place to be read from")
        options = dict(self.options)
        if "columns" in options:
            options["columns"] = Columns(**options["columns"])
        return load(self.place, **options)

    def to_json(self) -> dict[str, Any]:
        """For a run's ``config.json``."""
        return {"source": self.place, "options": dict(self.options)}


def open_source(data: SequenceData | DataSource | str | Path) -> tuple[SequenceData, DataSource]:
    """The data themselves, and where they are."""
    if isinstance(data, SequenceData):
        return data, DataSource(data.name if data.name in DATASETS else None)
    source = data if isinstance(data, DataSource) else DataSource(str(data))
    return source.load(), source


def make_split(data: SequenceData, name: str) -> Split:
    """Hold out by the rule of that name.

    Raises:
        ConfigError: no such rule.
        DataError: the data are too short, or have no times.
    """
    if name not in SPLITS:
        raise ConfigError(unknown_name("split", name, SPLITS))
    return SPLITS[name](data)
