"""Resolution of the split rule: the one that was requested, or the default for the data."""

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
    """The split rule of a request, as the text of a `SplitRule`.

    Args:
        data: as for `mclrec.data.loading.load`.
        reading: likewise.
        split: name of the rule; None for ``files`` if the data come in parts, and ``leave-one-out`` otherwise.
        valid_from: as for `SplitRule.of`; likewise ``test_from``, ``test_until`` and ``targets``.

    Raises:
        ConfigError: there is no such rule, or it does not apply to the data.
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
            f"--split {rule.name} cannot be used with a log that comes in files for training, validation and test, "
            "which are its split; leave out one of the two"
        )
    return str(rule)


def _in_parts(data: Any, reading: Reading) -> bool:
    if isinstance(data, SequenceData):
        return data.cuts is not None
    if reading.in_parts:
        return True
    named = isinstance(data, str) and is_dataset(data)
    return isinstance(data, str | Path) and not named and comes_in_parts(Path(data))
