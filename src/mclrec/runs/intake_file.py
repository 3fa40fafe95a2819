"""The file of a run that holds what was taken of its log, read without anything that trains."""

from __future__ import annotations

from pathlib import Path

from mclrec.data.intake import Intake
from mclrec.data.returns import suited_protocol
from mclrec.errors import ModelFileError
from mclrec.files import read_json
from mclrec.wording import percent

__all__ = ["INTAKE", "read_intake", "returns_note", "returns_of"]

INTAKE = "intake.json"
"""Name of the file."""


def read_intake(directory: Path) -> Intake | None:
    """What was taken of the log of a run; None for runs of earlier versions, and models that are no run.

    Raises:
        ModelFileError: the file is damaged.
    """
    path = directory / INTAKE
    if not path.exists():
        return None
    return Intake.of_json(read_json(path, ModelFileError), str(path), ModelFileError)


def returns_of(directory: Path) -> float | None:
    """Share of a run's validation targets in their user's history; None where nothing is known of its log.

    Raises:
        ModelFileError: the file is damaged.
    """
    intake = read_intake(directory)
    return None if intake is None else intake.left.returns


def returns_note(directory: Path, option: str) -> str | None:
    """Say that the users of a log return to items, which are left out of lists unless somebody asks for them.

    Args:
        directory: of the model.
        option: what asks for them.

    Returns:
        A sentence, or None where hardly anybody returns or nothing is known of the log.
    """
    try:
        returns = returns_of(directory)
    except ModelFileError:  # of a file that recommending does not need
        return None
    if returns is None or suited_protocol(returns) != "U":
        return None
    return f"{percent(returns)} of what this log's users take they have had before: {option} lists such items too"
