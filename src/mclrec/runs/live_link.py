"""Symbolic link from which a service reads its model, switched atomically from one model to the next."""

from __future__ import annotations

import secrets
from pathlib import Path

from mclrec.errors import ConfigError, OutputError
from mclrec.files import check_writable, system_reason

__all__ = ["check_link", "point"]


def check_link(place: Path) -> None:
    """Check, before any work is done, that ``place`` can become a link to a directory.

    Raises:
        ConfigError: it is a file or folder, which cannot be replaced atomically.
        OutputError: its parent folder cannot be written.
    """
    if place.exists() and not place.is_symlink():
        raise ConfigError(
            f"{place}: is not a symbolic link, and nothing else can be replaced while it is read; move it away, and a "
            "link is created there"
        )
    check_writable(place.parent, "folder")


def point(place: Path, directory: Path) -> None:
    """Point the link ``place`` to ``directory``, atomically: a reader finds either the old target or the new one.

    Raises:
        ConfigError: as in `check_link`.
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
        raise OutputError(f"{place}: the link cannot be created: {system_reason(problem)}") from None
