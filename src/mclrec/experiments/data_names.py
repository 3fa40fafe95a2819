"""Names of the data of a campaign: of registered data sets, and short ones of paths that are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mclrec.data.datasets import is_dataset

__all__ = ["data_name", "dataset_at"]


def dataset_at(place: str) -> str | None:
    """Name of the registered data set that a place is; None for a path."""
    return place if is_dataset(place) else None


def data_name(place: str, among: Iterable[str] = ()) -> str:
    """Name of the data in titles: the data set's name, or the last part of a path.

    Args:
        place: name or path.
        among: of all data that are shown: the name has as much of the path as tells it from the others.

    >>> data_name("a/log.csv"), data_name("a/log.csv", ["b/log.csv"]), data_name("log.csv", ["a/log.csv"])
    ('log', 'a/log', 'log.csv')
    """
    taken = {name for other in among if other != place for name in _ends(other)}
    return next((name for name in _ends(place) if name not in taken), place)


def _ends(place: str) -> Iterator[str]:
    """The ends of a path, shortest first, each without its suffix and with it."""
    path = Path(place)
    for length in range(1, len(path.parts) + 1):
        *folders, last = path.parts[-length:]
        yield "/".join([*folders, Path(last).stem])
        yield "/".join([*folders, last])
