"""The place that a service reads its model from: a symbolic link, which changes from one model to the next at once."""

from __future__ import annotations

import secrets
from pathlib import Path

from mclrec.errors import ConfigError, OutputError
from mclrec.files import check_writable, system_reason

__all__ = ["check_link", "point"]


def check_link(place: Path) -> None:
    """Check, before the work, that ``place`` can be pointed to a directory.

    Raises:
        ConfigError: it is a file or folder, which could not be exchanged at once.
        OutputError: the folder that it lies in cannot be written.
    """
    if place.exists() and not place.is_symlink():
        raise ConfigError(
            f"{place}: is no symbolic link, and nothing else can be exchanged while it is read; move it away, and a "
            "link is made in its place"
        )
    check_writable(place.parent, "folder")


def point(place: Path, directory: Path) -> None:
    """Let the link ``place`` lead to ``directory``, atomically: who opens it finds the old one or the new one.

    Raises:
        ConfigError: as `check_link`.
        OutputError: the link cannot be made.
    """
    check_link(place)
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(6)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.symlink_to(directory.resolve(), target_is_directory=True)
        temporary.replace(place)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{place}: the link cannot be made: {system_reason(problem)}") from None
