"""Checks of a caller's arguments: errors for invalid lists and lengths, warnings about unknown ids and short lists."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from mclrec.arguments import check_flag
from mclrec.data.vocabulary import OutsideId, Vocabulary, id_list, is_integer
from mclrec.errors import DataError, EvaluationError, MclrecWarning, quoted
from mclrec.inference.bulk import BulkFacts
from mclrec.inference.queries import Query
from mclrec.wording import count_of

__all__ = [
    "check_history",
    "check_k",
    "check_query",
    "queries_of",
    "told_lists",
    "warn_of",
    "warn_of_bulk",
    "warn_of_reasons",
]


def check_k(k: int, num_items: int) -> None:
    """Check that k is an integer in 1..V.

    Raises:
        EvaluationError: it is not.
    """
    if not is_integer(k) or not 1 <= k <= num_items:
        raise EvaluationError(
            f"k = {quoted(k)}: should be from 1 to {num_items}, the number of items in the catalogue"
        )


def check_query(query: object, num_items: int) -> None:
    """Check a query of a caller: its k, its lists, and that it is a query at all.

    Raises:
        EvaluationError: it is not a query, k is not in 1..V, or a list can be read only once or is not a list.
        ConfigError: its ``include_seen`` is not a boolean.
    """
    if not isinstance(query, Query):
        raise EvaluationError(f"{quoted(query)}: not a Query; give mclrec.Query(history, k=...)")
    check_k(query.k, num_items)
    check_history(query.history)
    check_flag("include_seen", query.include_seen)
    for name in ("history", "exclude", "allow"):
        if isinstance(getattr(query, name), Iterator):
            raise EvaluationError(
                f"{name} of a query is a generator, which can be read only once; give a list"
            )


def check_history(history: object) -> None:
    """Check that a history is a list of ids: a text would be read as a list of letters, and a set has no order.

    Raises:
        EvaluationError: it is not.
    """
    if isinstance(history, set | frozenset):
        raise EvaluationError(
            f"a history is a list of item ids, oldest first; {quoted(history)} has no order"
        )
    try:
        id_list(history)
    except DataError:
        raise EvaluationError(f"a history is a list of item ids, not {quoted(history)}") from None


def warn_of(unknown: Iterable[Sequence[OutsideId]], empty: int, stacklevel: int) -> None:
    """Warn which items are unknown, and how many histories get popular items.

    Args:
        unknown: unknown items of each history.
        empty: number of histories without a known item.
        stacklevel: of the package's caller, relative to this function.
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


def warn_of_reasons(unknown: Sequence[OutsideId], known: bool, stacklevel: int) -> None:
    """Warn which items of an explained history are unknown, and that scores are counts if none is known.

    Args:
        unknown: unknown items of the history.
        known: whether one of its items is known.
        stacklevel: of the package's caller, relative to this function.
    """
    warn_of([unknown], 0, stacklevel + 1)
    if not known:
        text = "without a known item in the history, scores are counts in training, which nothing explains"
        warnings.warn(text, MclrecWarning, stacklevel=stacklevel)


def queries_of(
    histories: Sequence[Sequence[OutsideId]],
    users: Sequence[OutsideId | None] | None,
    asked: Query,
) -> Iterator[Query]:
    """One query per history; all other fields are those of ``asked``.

    Raises:
        EvaluationError: there is not one user per history, or a history is not a list.
    """
    histories = list(id_list(histories))
    if users is None:
        users = [None] * len(histories)
    elif len(users := list(id_list(users))) != len(histories):
        raise EvaluationError(
            f"{count_of(len(users), 'user')} for {count_of(len(histories), 'history', 'histories')}: give one for "
            "each, or none"
        )
    for history, user in zip(histories, users, strict=True):
        check_history(history)
        yield replace(asked, history=list(history), user=user)


def told_lists(
    known: Vocabulary, exclude: Iterable[OutsideId], allow: Iterable[OutsideId] | None, stacklevel: int
) -> tuple[tuple[OutsideId, ...], tuple[OutsideId, ...] | None]:
    """Convert both lists to tuples; warn if no item of one is known, so that it has no effect, or allows no item.

    Args:
        known: outside ids of the catalogue.
        exclude: items that may not be recommended.
        allow: the only items that may be recommended; None for all.
        stacklevel: of the package's caller, relative to this function.

    Raises:
        DataError: one of them is not a list of ids.
    """
    excluded, allowed = tuple(id_list(exclude)), None if allow is None else tuple(id_list(allow))
    for name, ids, effect in (
        ("exclude", excluded, "nothing is excluded"),
        ("allow", allowed, "nothing can be recommended"),
    ):
        if ids and not len(known.dense_known(ids)):
            text = f"{name}: no item is in the model's catalogue, for example {quoted(ids[0])}: {effect}"
            warnings.warn(text, MclrecWarning, stacklevel=stacklevel)
    return excluded, allowed


def warn_of_bulk(found: BulkFacts, items: Vocabulary, k: int, stacklevel: int) -> None:
    """Warn about a bulk run as `warn_of` does about histories, and about lists shorter than k.

    Args:
        found: counts of the run.
        items: outside ids of its log.
        k: requested length of the lists.
        stacklevel: of the package's caller, relative to this function.
    """
    warn_of([list(items.take(found.unknown))], found.empty, stacklevel + 1)
    if found.short:
        none = f", {found.without_list:,} of them with none" if found.without_list else ""
        lists = f"{count_of(found.short, 'list')} with fewer than {count_of(k, 'item')}"
        text = f"{lists}{none}: no more may be recommended"
        warnings.warn(text, MclrecWarning, stacklevel=stacklevel)
