"""Tables 2 and 5: how large the data are. Nothing is trained for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mclrec.data.statistics import Sizes, table2, table5
from mclrec.experiments.cells import Datasets
from mclrec.experiments.sheet import Box, Sheet

__all__ = ["sizes_by_data", "sizes_by_group"]

_COLUMNS = ("", "users", "items", "actions", "average length", "sparsity")


def sizes_by_data(datasets: Datasets, names: Sequence[str]) -> list[Sheet]:
    """Table 2: one row a data set."""
    return [_sheet("Data sets (paper, table 2)", (table2(datasets[name]) for name in names), distinct=True)]


def sizes_by_group(datasets: Datasets, names: Sequence[str]) -> list[Sheet]:
    """Table 5: users with 5, 6 to 8, and more than 8 interactions."""
    return [
        _sheet(
            f"{name}: users by number of interactions (paper, table 5)",
            table5(datasets[name]),
            distinct=False,
        )
        for name in names
    ]


def _sheet(title: str, sizes: Iterable[Sizes], *, distinct: bool) -> Sheet:
    rows = [(size.name, _boxes(size, size.distinct_items if distinct else size.items)) for size in sizes]
    return Sheet(title, _COLUMNS, rows)


def _boxes(size: Sizes, items: int) -> list[Box]:
    numbers = [Box(f"{value:,}", value=value) for value in (size.users, items, size.actions)]
    shares = ((size.average_length, f"{size.average_length:.1f}"), (size.sparsity, f"{size.sparsity:.2%}"))
    return [*numbers, *(Box(text, value=value) for value, text in shares)]
