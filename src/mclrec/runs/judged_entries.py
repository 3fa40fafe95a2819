"""Entries of a judgement: recommendation lists and runs, each with a name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mclrec.arguments import list_of, text_of
from mclrec.data.places import suffix_of
from mclrec.errors import ConfigError, quoted
from mclrec.models.directory import CONFIG
from mclrec.runs.run import Run, open_run

__all__ = ["Entry", "entries_of"]


class Entry(NamedTuple):
    """A file or frame of lists, or a run.

    Attributes:
        name: name of the system; None for an unnamed run, which is called by its model.
        source: a run, a path, or a frame.
    """

    name: str | None
    source: Any

    @property
    def run(self) -> Run | None:
        """The run, or None if the entry is not one."""
        return self.source if isinstance(self.source, Run) else None


def entries_of(given: Any) -> list[Entry]:
    """Parse what the user gave to be judged.

    Args:
        given: paths of lists and directories of runs, each as it is or as ``NAME=PATH``; runs; or a mapping of names to
            any of these, or to frames.

    Raises:
        ConfigError: nothing is given, or something that cannot be judged, or one file is given twice.
    """
    if isinstance(given, str | os.PathLike | Run):
        raise ConfigError(
            "judge takes a list of files and runs, or a mapping of names to them, not a single one"
        )
    if isinstance(given, Mapping):
        found = [_entry(_name_of(name), source) for name, source in given.items()]
    else:
        sources = list_of("files and runs", "lists", given, ordered=True)
        found = [_unnamed(source) for source in sources]
        _refuse_alike(found, sources)
    if not found:
        raise ConfigError("judge needs at least one file of lists, or a run")
    _refuse_twice(found)
    return found


def _name_of(name: Any) -> str:
    if not text_of("name", name).strip():
        raise ConfigError("the name of a system is empty; give one that tables can show")
    return str(name)


def _unnamed(source: Any) -> Entry:
    """Parse a source that may be prefixed by its name, as in ``theirs=lists.csv``."""
    if isinstance(source, Run):
        return Entry(None, source)
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"a {type(source).__name__} has no name: give a mapping of names to frames, such as {{'theirs': frame}}"
        )
    text = os.fspath(source)
    name, equals, path = text.partition("=")
    if equals and name and path and "/" not in name and not Path(text).exists():
        return _entry(name, path)
    found = _entry(None, text)
    return found if found.run is not None else Entry(_stem(Path(text)), found.source)


def _entry(name: str | None, source: Any) -> Entry:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return Entry(name, open_run(path) if (path / CONFIG).is_file() else path)
    return Entry(name, source)


def _stem(path: Path) -> str:
    """Name of a file without its suffixes for type and compression."""
    kind = suffix_of(path)
    end = path.name.lower().rindex(kind) if kind else len(path.name)
    return path.name[:end] or path.name


def _refuse_alike(entries: list[Entry], given: Sequence[Any]) -> None:
    """Refuse unnamed files with equal stems, which would be taken for trainings of one system.

    Raises:
        ConfigError: there are two such files.
    """
    names = [entry.name for entry in entries]
    for entry, source in zip(entries, given, strict=True):
        unnamed = isinstance(entry.source, Path) and os.fspath(source) == os.fspath(entry.source)
        if unnamed and names.count(entry.name) > 1:
            raise ConfigError(
                f"two systems are called {entry.name}; name them as in NAME={entry.source}, with the same name if they "
                "are trainings of one system"
            )


def _refuse_twice(entries: list[Entry]) -> None:
    """Refuse a file given twice, which would count as two trainings.

    Raises:
        ConfigError: there is such a file.
    """
    paths = [entry.source.resolve() for entry in entries if isinstance(entry.source, Path)]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"{path}: is given twice ({quoted(path.name)}); leave one out")
