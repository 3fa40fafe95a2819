"""The rule of splitting that a request means: the one that it names, or the data's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mclrec.data.datasets import is_dataset
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData, comes_in_parts
from mclrec.data.split_rules import SplitRule
from mclrec.errors import ConfigError

__all__ = ["chosen_split"]


def chosen_split(
    data: Any,
    reading: Reading,
    split: str | None,
    valid_from: object = None,
    test_from: object = None,
    test_until: object = None,
    targets: object = None,
) -> str:
    """The rule of a request, as `SplitRule` writes it.

    Args:
        data: as `mclrec.data.loading.load` takes it.
        reading: likewise.
        split: name of the rule; None for ``files`` where the data come in parts, and for ``leave-one-out`` elsewhere.
        valid_from: as `SplitRule.of` takes it; likewise ``test_from``, ``test_until`` and ``targets``.

    Raises:
        ConfigError: no such rule, or none that goes with the data.
    """
    if not _in_parts(data, reading):
        name = "leave-one-out" if split is None else split
        rule = SplitRule.of(name, valid_from, test_from, test_until, targets)
        if rule.name == "files":
            raise ConfigError(
                "--split files needs --valid and --test, which name the validation and the test set"
            )
        return str(rule)
    rule = SplitRule.of("files" if split is None else split, valid_from, test_from, test_until, targets)
    if rule.name != "files":
        raise ConfigError(
            f"--split {rule.name} does not go with a log that comes in files for training, validation and test, which "
            "are its split; leave out one of the two"
        )
    return str(rule)


def _in_parts(data: Any, reading: Reading) -> bool:
    if isinstance(data, SequenceData):
        return data.cuts is not None
    if reading.in_parts:
        return True
    named = isinstance(data, str) and is_dataset(data)
    return isinstance(data, str | Path) and not named and comes_in_parts(Path(data))
