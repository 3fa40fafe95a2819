"""Paths of logs: the regular files that a path, folder or pattern refers to, and links with names free of wildcards.

A path that exists is taken literally, whatever characters it contains; only a path that does not exist is a pattern.
A file that is reached twice through links is read once. In a folder, all files of known types are read except those
whose names begin with ``_`` or ``.``, as other writers name what they keep beside their data; they need to be of one
type.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mclrec.errors import DataError, quoted
from mclrec.files import irregular

__all__ = ["DELIMITED", "JSON", "KNOWN", "PARQUET", "linked", "log_files", "path_exists", "suffix_of"]

DELIMITED = {".csv", ".tsv", ".dat", ".data", ".inter", ".txt"}
JSON = {".jsonl", ".ndjson", ".json"}
PARQUET = {".parquet", ".pq"}
KNOWN = DELIMITED | JSON | PARQUET
_PACKED = (".gz", ".bz2", ".zst", ".zip")


def suffix_of(path: Path) -> str:
    """File suffix in lower case, without that of the compression: ``.csv`` for ``log.csv.gz``."""
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending) if name != ending else name
    return Path(name).suffix


def path_exists(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises:
        DataError: the text cannot be a path: it is empty, too long or not printable.
    """
    text = str(path)
    reason = "it is empty"
    if path != Path():
        try:
            if os.path.lexists(path) or text.isprintable() or _is_undecodable(text):
                return path.exists()
            reason = "it is not printable"
        except (OSError, ValueError) as problem:
            reason = (getattr(problem, "strerror", None) or str(problem)).lower()
    shown = "" if path == Path() else text
    raise DataError(f"{quoted(shown)} is neither the name of a data set nor a path: {reason}")


def _is_undecodable(text: str) -> bool:
    """Whether all unprintable characters are surrogates that stand for bytes that are not UTF-8."""
    return all(sign.isprintable() or "\udc80" <= sign <= "\udcff" for sign in text)


def log_files(path: Path) -> list[Path]:
    """The files of a log: one file of a known type, or those in a folder or matching a pattern, of one type, sorted.

    Raises:
        DataError: there is no file, one of them is not a regular file, types differ, or a type is unknown.
    """
    if path_exists(path):
        if not path.is_dir():
            return [_checked(path)]
        files = sorted(_logs_below(path))
        if not files:
            raise DataError(f"{path}: is a folder without a log; files that are read: {_listed()}")
    elif set(str(path)) & set("*?["):
        files = sorted(file for found in _matching(path) for file in _parts(found))
        if not files:
            raise DataError(f"{path}: no such file, and no file matches it as a pattern")
    else:
        raise DataError(f"{path}: no such file")
    return _checked_one_type(path, [_checked(file) for file in _without_repeats(files)])


def _checked_one_type(path: Path, files: list[Path]) -> list[Path]:
    """Return the files if all have the same type; both suffixes of Parquet count as one type."""
    kinds = sorted({".parquet" if suffix_of(file) in PARQUET else _type(file) for file in files})
    if len(kinds) > 1:
        raise DataError(
            f"{path}: holds files of several types ({', '.join(kinds)}); name those of one type, such as "
            f"{quoted(f'{path}/*{kinds[0]}' if path.is_dir() else f'*{kinds[0]}')}"
        )
    return files


def _type(path: Path) -> str:
    """Type of a file by its suffix; a zip file without an inner suffix has the type ``.zip``."""
    return suffix_of(path) or path.suffix.lower()


def _listed() -> str:
    return f"{' '.join(sorted(KNOWN))}, also compressed as {' '.join(_PACKED)}"


def _checked(path: Path) -> Path:
    """Return the path if it is a readable regular file of a known type."""
    try:
        kind = irregular(path.stat().st_mode)
    except OSError as problem:
        raise DataError(f"{path}: cannot be read: {problem.strerror}") from None
    if kind is not None:
        raise DataError(f"{path}: is {kind}, which cannot be read twice; write it to a file first")
    suffix = suffix_of(path)
    if suffix not in KNOWN and path.suffix.lower() != ".zip":
        raise DataError(
            f"{path}: cannot read files of type {quoted(suffix) if suffix else '(none)'}; known: {_listed()}"
        )
    if suffix in PARQUET and path.name.lower().endswith(".gz"):
        raise DataError(f"{path}: Parquet is not read from .gz; unpack it first")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: cannot be read: permission denied")
    return path


def _logs_below(folder: Path) -> Iterator[Path]:
    """Yield the logs in a folder and its subfolders; a folder reached again through a link is not re-entered."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(("_", ".")))
        yield from (
            Path(place, name) for name in files if not name.startswith(("_", ".")) and _is_log(Path(name))
        )


def _is_log(name: Path) -> bool:
    return suffix_of(name) in KNOWN or name.suffix.lower() == ".zip"


def _matching(pattern: Path) -> Iterable[Path]:
    root = Path(pattern.anchor) if pattern.is_absolute() else Path()
    try:
        return list(root.glob(str(pattern.relative_to(root))))
    except (ValueError, OSError, NotImplementedError) as problem:
        raise DataError(f"{pattern}: no such file, and not a pattern: {problem}") from None


def _parts(found: Path) -> Iterable[Path]:
    return _logs_below(found) if found.is_dir() else [found]


def _without_repeats(files: Iterable[Path]) -> list[Path]:
    """The files in order, without repeats of the same file under another name."""
    kept: dict[Path, Path] = {}
    for file in files:
        kept.setdefault(file.resolve(), file)
    return list(kept.values())


def linked(files: Iterable[Path], folder: Path, ending: str) -> list[Path]:
    """Link files under plain names, in order, for engines that would read other names as patterns.

    Args:
        files: regular files.
        folder: an empty folder in which the links are made.
        ending: suffix of the links' names.
    """
    links = []
    for number, file in enumerate(files):
        link = folder / f"part{number:06}{ending}"
        link.symlink_to(file.absolute())
        links.append(link)
    return links
