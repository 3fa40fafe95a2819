"""Display names of a campaign's data: names of registered data sets, and short but distinct names of paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mclrec.data.datasets import is_dataset

__all__ = ["data_name", "dataset_at"]


def dataset_at(place: str) -> str | None:
    """The registered data set that ``place`` names; None for a path."""
    return place if is_dataset(place) else None


def data_name(place: str, among: Iterable[str] = ()) -> str:
    """Name of the data in titles: the data set's name, or the end of a path.

    Args:
        place: name or path.
        among: names and paths of all data shown: the name has as much of the path as distinguishes it from these.

    >>> data_name("a/log.csv"), data_name("a/log.csv", ["b/log.csv"]), data_name("log.csv", ["a/log.csv"])
    ('log', 'a/log', 'log.csv')
    """
    taken = {name for other in among if other != place for name in _ends(other)}
    return next((name for name in _ends(place) if name not in taken), place)


def _ends(place: str) -> Iterator[str]:
    """The trailing parts of a path, shortest first, each without and with the suffix."""
    path = Path(place)
    for length in range(1, len(path.parts) + 1):
        *folders, last = path.parts[-length:]
        yield "/".join([*folders, Path(last).stem])
        yield "/".join([*folders, last])
