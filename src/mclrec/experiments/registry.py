"""What ``mclrec reproduce`` can make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mclrec.errors import ConfigError, unknown_name
from mclrec.experiments import (
    claim_regularizer,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    figure7,
    figure8,
    table3,
    table4,
)
from mclrec.experiments.cells import Datasets
from mclrec.experiments.sheet import Sheet
from mclrec.experiments.sizes import sizes_by_data, sizes_by_group
from mclrec.experiments.target import Target

__all__ = ["ALL", "SIZES", "TARGETS", "names"]

TARGETS: Mapping[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (
        table3,
        table4,
        claim_regularizer,
        figure2,
        figure3,
        figure4,
        figure5,
        figure6,
        figure7,
        figure8,
    )
}
"""What is trained for."""

SIZES: Mapping[str, Callable[[Datasets, Sequence[str]], list[Sheet]]] = {
    "table2": sizes_by_data,
    "table5": sizes_by_group,
}
"""What is only counted."""

ALL = "all"


def names(what: str) -> list[str]:
    """The targets of a name: itself, or every one of them.

    Raises:
        ConfigError: no such target.
    """
    known = sorted([*TARGETS, *SIZES])
    if what == ALL:
        return known
    if what not in known:
        raise ConfigError(unknown_name("target", what, [*known, ALL]))
    return [what]
