"""The intake file of a run, which records what was read from its log; reading it needs no training code."""

from __future__ import annotations

from pathlib import Path

from mclrec.data.intake import Intake
from mclrec.data.returns import suited_protocol
from mclrec.errors import ModelFileError
from mclrec.json_files import read_json
from mclrec.wording import percent

__all__ = ["INTAKE", "read_intake", "returns_note", "returns_of"]

INTAKE = "intake.json"
"""Name of the file."""


def read_intake(directory: Path) -> Intake | None:
    """Read what was taken from the log of a run; None for runs of earlier versions, and for models that are not runs.

    Raises:
        ModelFileError: the file is damaged.
    """
    path = directory / INTAKE
    if not path.exists():
        return None
    return Intake.of_json(read_json(path, ModelFileError), str(path), ModelFileError)


def returns_of(directory: Path) -> float | None:
    """Share of a run's validation targets that are in their user's history; None if nothing is known about its log.

    Raises:
        ModelFileError: the file is damaged.
    """
    intake = read_intake(directory)
    return None if intake is None else intake.left.returns


def returns_note(directory: Path, option: str) -> str | None:
    """Note that users of the log return to items, which are left out of lists unless they are asked for.

    Args:
        directory: directory of the model.
        option: name of the option that includes them.

    Returns:
        A sentence, or None if hardly anybody returns or nothing is known about the log.
    """
    try:
        returns = returns_of(directory)
    except ModelFileError:  # recommending does not need this file
        return None
    if returns is None or suited_protocol(returns) != "U":
        return None
    return f"in this log, {percent(returns)} of next items are ones the user had before: {option} lists such items too"
