"""Warnings about doubtful ids: ids that are written in two ways or stand for nobody, users with too many rows."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.data.intake import DoubtfulIds, shortened
from mclrec.data.watched_text import condition_option
from mclrec.wording import percent

__all__ = ["id_warnings"]

_SHOWN = 3


def id_warnings(doubtful: Sequence[DoubtfulIds]) -> list[tuple[str, str]]:
    """The warnings about doubtful ids of users and items: the kind of each warning, and its text."""
    return [
        (kind, text)
        for found in doubtful
        for kind, text in (("nobody", _nobody(found)), ("giant", _giant(found)), ("alike", _alike(found)))
        if text is not None
    ]


def _nobody(found: DoubtfulIds) -> str | None:
    """The warning about ids that stand for nobody or nothing."""
    if not found.nobody:
        return None
    most = sorted(found.nobody, key=lambda pair: -pair[1])
    shown = ", ".join(f"{_written(value)} {percent(share)}" for value, share in most[:_SHOWN])
    more = ", ..." if len(most) > _SHOWN else ""
    what = "nobody, yet their rows count as one user's history" if found.role == "user" else "nothing"
    return (
        f"some ids of the {found.role} column may stand for {what} ({shown}{more} of rows); "
        f"{_removal_advice(found, [value for value, _ in most])}"
    )


def _giant(found: DoubtfulIds) -> str | None:
    """The warning about a user with more rows than a person has."""
    if found.giant is None:
        return None
    value, share = found.giant
    return (
        f"the user {_written(value)} has {percent(share)} of the rows; if it stands for many people, or for a program, "
        f"{_removal_advice(found, [value])}"
    )


def _alike(found: DoubtfulIds) -> str | None:
    """The warning about ids that differ only in how they are written."""
    if found.pair is None:
        return None
    one, other = map(_written, found.pair)
    return (
        f"{found.alike:,} of {found.ids:,} {found.role}s ({percent(found.alike / found.ids)}) differ from another only "
        f"in how they are written, such as {one} and {other}, and each counts as a separate {found.role}; if they "
        "are the same, write them in one way (case, blanks, leading zeros, Unicode form) before the log is read"
    )


def _removal_advice(found: DoubtfulIds, values: Sequence[int | str]) -> str:
    """How to leave out the rows of some ids."""
    if found.column is None:
        return "remove these from the log"
    constants = [
        str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'" for value in values
    ]
    sign, constant = ("<>", constants[0]) if len(constants) == 1 else ("NOT IN", f"({', '.join(constants)})")
    return f"{condition_option(found.column, sign, constant)} leaves them out"


def _written(value: int | str) -> str:
    """An id as a literal, with invisible characters escaped."""
    return shortened(value if isinstance(value, int) else ascii(value))
