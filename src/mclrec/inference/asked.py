"""What a caller asks of a model: refused where it is no list or length, and told where some of it is not known."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain

from mclrec.data.vocabulary import OutsideId, id_list, is_integer
from mclrec.errors import DataError, EvaluationError, MclrecWarning, quoted

__all__ = ["check_history", "check_k", "warn_of"]


def check_k(k: int, num_items: int) -> None:
    """Refuse a length that is not an integer in 1..V.

    Raises:
        EvaluationError: it is not.
    """
    if not is_integer(k) or not 1 <= k <= num_items:
        raise EvaluationError(
            f"k = {quoted(k)}: a list has 1 place to {num_items}, as many as the catalogue has items"
        )


def check_history(history: object) -> None:
    """Refuse what is no list of ids; a text would be taken for one of letters.

    Raises:
        EvaluationError: it is none.
    """
    try:
        id_list(history)
    except DataError:
        raise EvaluationError(f"a history is a list of item ids, not {quoted(history)}") from None


def warn_of(unknown: Iterable[Sequence[OutsideId]], empty: int, stacklevel: int) -> None:
    """Say which items are unknown, and how many histories get popular items.

    Args:
        unknown: unknown items, by history.
        empty: histories without a known item.
        stacklevel: at which the caller of the package is, seen from here.
    """
    names = list(dict.fromkeys(chain.from_iterable(unknown)))
    if names:
        shown = ", ".join(quoted(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        text = f"{len(names)} items are not in the model's catalogue and are skipped: {shown}"
        if len(names) == 1:
            text = f"item {shown} is not in the model's catalogue and is skipped"
        warnings.warn(text, MclrecWarning, stacklevel=stacklevel)
    if empty:
        subject = (
            "1 history without a known item gets"
            if empty == 1
            else f"{empty} histories without a known item get"
        )
        warnings.warn(f"{subject} the popular items", MclrecWarning, stacklevel=stacklevel)
