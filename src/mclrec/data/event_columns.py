"""Columns that say what kind of event a row is, of which a log with several kinds warns if nobody chose one."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence

from mclrec.data.columns import untyped
from mclrec.data.intake import shortened
from mclrec.data.raw_tables import RawTable

__all__ = ["doubtful_events", "events_of_table"]

_NAMES = {
    *("event", "eventtype", "eventname", "type", "behavior", "behaviour", "behaviortype", "behaviourtype"),
    *("action", "actiontype", "interaction", "interactiontype", "feedback", "feedbacktype", "activity"),
}
_MOST = 12  # kinds of events that a log may have
_SHOWN = 4
_LOOKED_AT = 10_000
_REPEATED = 2  # rows a kind, on average, below which values are no kinds


def _event_column(names: Sequence[str], taken: Sequence[str]) -> str | None:
    """The first column that is called like a kind of event, and not taken for something else."""
    for name in names:
        compact = "".join(sign for sign in untyped(name).lower() if sign.isalnum())
        if compact in _NAMES and name not in taken and names.count(name) == 1:
            return name
    return None


def doubtful_events(
    names: Sequence[str], taken: Sequence[str], values: Callable[[str], Sequence[object]]
) -> str | None:
    """A warning of several kinds of events that are all read alike; None if there is no such column.

    Args:
        names: columns of the log.
        taken: those that were read for something.
        values: some of the values of a column.
    """
    column = _event_column(names, taken)
    if column is None:
        return None
    found = Counter(str(value) for value in values(column) if value not in (None, ""))
    if not 1 < len(found) <= _MOST or found.total() < _REPEATED * len(found):
        return None
    kinds = [kind for kind, _ in found.most_common()]
    shown = ", ".join(map(shortened, kinds[:_SHOWN])) + (", ..." if len(kinds) > _SHOWN else "")
    word = column if column.isidentifier() and column.isascii() else '"' + column.replace('"', '""') + '"'
    constant = "'" + kinds[-1].replace("'", "''") + "'"
    option = shlex.quote(f"{word} = {constant}") if '"' in word else f'"{word} = {constant}"'
    return (
        f"column {shortened(column)} holds kinds of events ({shown}), and all are read alike; "
        f"--where {option} takes one kind"
    )


def events_of_table(raw: RawTable, taken: Sequence[str]) -> str | None:
    """The same for a table whose columns can be read more than once."""
    if not raw.in_order:
        return None

    def values(column: str) -> Sequence[object]:
        for arrays in raw.read([raw.names.index(column)]).batches:
            found: list[object] = arrays[0].slice(0, _LOOKED_AT).to_pylist()
            return found
        return []

    return doubtful_events(raw.names, taken, values)
