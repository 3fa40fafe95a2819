"""Descriptions of watched columns, and warnings that suggest a condition for selecting the right rows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from mclrec.data.columns import untyped
from mclrec.data.intake import Watched
from mclrec.wording import in_quotes, percent

__all__ = ["column_word", "condition_option", "watched_lines", "watched_warnings"]

_SHOWN = 4
_MOST_KINDS = 12
_REPEATED = 2  # mean rows per value below which values are not kinds of events
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_MONEY = re.compile(r".*(price|revenue|value|sales|cost|spend|total|paid)", re.IGNORECASE)
_UNDOING = re.compile(
    r".*(remove|return|refund|cancel|delete|reject|fail|dislike|unlike|skip|impression|ignore)", re.IGNORECASE
)
_WANTED = ("purchase", "buy", "bought", "transaction", "order", "sale", "paid", "complet", "deliver")
"""Parts of words for the kind of event that a model is usually trained on, in order of preference."""

_LIKED = 0.75  # fraction of the way from the lowest rating to the highest


def watched_lines(watched: Sequence[Watched]) -> list[tuple[str, str]]:
    """The kind of each doubtful column, and a line on what it holds."""
    return [(found.kind, _line(found)) for found in watched if _doubtful(found)]


def watched_warnings(watched: Sequence[Watched]) -> list[tuple[str, str]]:
    """Warnings about rows that may not be ordinary interactions: the kind of each warning, and its text.

    Only one of several columns of amounts gets a warning, as refunds have negative quantities and negative prices.
    """
    doubtful = [found for found in watched if _doubtful(found)]
    amounts = [found for found in doubtful if found.kind == "amounts"]
    events = [found for found in doubtful if found.kind == "events"]
    return [(found.kind, _warning(found)) for found in [*amounts[:1], *events[:1]]]


def _doubtful(found: Watched) -> bool:
    """Whether the values of a column tell rows apart. A price of zero alone does not: the item may have been a gift."""
    if found.kind == "ratings":
        return len(found.values) > 1
    if found.kind == "events":
        count = sum(count for _, count in found.values)
        return 1 < len(found.values) <= _MOST_KINDS and count >= _REPEATED * len(found.values)
    return bool(found.below or (found.zero and not _MONEY.fullmatch(found.name)))


def _line(found: Watched) -> str:
    if found.kind == "amounts":
        return f"{found.name}: {_amounts(found)}"
    if found.kind == "events":
        return f"{found.name}: {_kinds(found)}"
    least, most = (edge(float(value) for value, _ in found.values) for edge in (min, max))
    liked = math.ceil(least + _LIKED * (most - least))
    low = sum(count for value, count in found.values if float(value) < liked)
    return (
        f"{found.name} from {least:g} to {most:g}: {percent(low / found.rows)} of rows are below {liked} and count "
        f"like the others; {condition_option(found.name, '>=', str(liked))} leaves them out"
    )


def _warning(found: Watched) -> str:
    if found.kind == "amounts":
        sign = ">=" if found.zero and _MONEY.fullmatch(found.name) else ">"
        return (
            f"{found.name} is {_amounts(found)}, as for refunds, and these rows count like the others; "
            f"{condition_option(found.name, sign, '0')} leaves them out"
        )
    option = condition_option(found.name, "=", _constant(found))
    return (
        f"column {found.name} holds kinds of events ({_kinds(found)}), and all are treated alike; "
        f"{option} keeps one kind"
    )


def _amounts(found: Watched) -> str:
    parts = []
    if found.below:
        parts.append(
            f"below zero in {found.below:,} of {found.rows:,} rows ({percent(found.below / found.rows)})"
        )
    if found.zero:
        share = percent(found.zero / found.rows)
        parts.append(
            f"zero in {found.zero:,}"
            + (f" ({share})" if found.below else f" of {found.rows:,} rows ({share})")
        )
    return " and ".join(parts)


def _kinds(found: Watched) -> str:
    shown = ", ".join(f"{value} {percent(count / found.rows)}" for value, count in found.values[:_SHOWN])
    return shown + (", ..." if len(found.values) > _SHOWN else "")


def _constant(found: Watched) -> str:
    """The kind of event that is most likely wanted, as a constant in a condition."""
    kinds = [value for value, _ in found.values]
    telling = [
        kind for part in _WANTED for kind in kinds if part in kind.lower() and not _UNDOING.match(kind)
    ]
    plain = [kind for kind in reversed(kinds) if not _UNDOING.match(kind)]
    flags = [kind for kind in kinds if kind.lower() in ("1", "true", "yes")]
    if len(kinds) == 2 and flags:
        others = [kind for kind in kinds if kind not in flags]
        chosen = (others if _UNDOING.match(found.name) else flags)[0]
    else:
        chosen = [*telling, *plain, *kinds][0]
    if all(map(_NUMBER.fullmatch, kinds)):
        return chosen
    if {kind.lower() for kind in kinds} == {"true", "false"}:
        return chosen.lower()
    return "'" + chosen.replace("'", "''") + "'"


def condition_option(column: str, sign: str, constant: str) -> str:
    """The option ``--where`` with a comparison, quoted for a shell."""
    condition = f"{column_word(column)} {sign} {constant}"
    return f"--where {in_quotes(condition)}"


def column_word(column: str) -> str:
    """The name of a column as it is written in a condition, quoted if necessary."""
    column = untyped(column)
    return column if column.isidentifier() and column.isascii() else '"' + column.replace('"', '""') + '"'
