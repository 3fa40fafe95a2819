"""Rules by which targets are held out, as text that travels: on command lines, in runs, checkpoints and searches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from mclrec.arguments import check_choice, text_of
from mclrec.data.moments import check_moment
from mclrec.errors import ConfigError

__all__ = ["SPLIT_NAMES", "SplitName", "SplitRule"]

SplitName = Literal["leave-one-out", "time", "files"]
"""A user's last items, what happened after moments that are the same for all users, or what own files hold."""

SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)

_WITH_MOMENTS = re.compile(r"time\(([^,]+), ([^,]+)\)")


@dataclass(frozen=True, slots=True)
class SplitRule:
    """A rule by which targets are held out.

    Attributes:
        name: of the rule.
        valid_from: with ``time``: the moment from which interactions are held out for validation, an ISO date or time,
            or an integer of the log's unit; None for the one before which 80 % of all rows lie.
        test_from: the moment from which they are held out for the test; None for the one before which 90 % lie.
    """

    name: SplitName = "leave-one-out"
    valid_from: str | None = None
    test_from: str | None = None

    @classmethod
    def of(cls, text: str, valid_from: object = None, test_from: object = None) -> SplitRule:
        """The rule of a name, or of what `str` made of a rule.

        Args:
            text: ``leave-one-out``, ``time``, ``time(FROM, FROM)``, or ``files``.
            valid_from: date, datetime, integer, or text.
            test_from: likewise.

        Raises:
            ConfigError: there is no such rule, or its moments are none, or only one is given.
        """
        found = _WITH_MOMENTS.fullmatch(text_of("split", text))
        if found and valid_from is None and test_from is None:
            text, valid_from, test_from = "time", found[1], found[2]
        check_choice("split", text, SPLIT_NAMES)
        if valid_from is None and test_from is None:
            return cls(name=_name(text))
        if text != "time":
            raise ConfigError(
                f"split: {text} takes no moments; leave out --valid-from and --test-from, or say time"
            )
        if valid_from is None or test_from is None:
            raise ConfigError("split: give both moments, --valid-from and --test-from, or neither")
        return cls("time", check_moment("--valid-from", valid_from), check_moment("--test-from", test_from))

    def __str__(self) -> str:
        """The rule as `of` takes it."""
        return self.name if self.valid_from is None else f"{self.name}({self.valid_from}, {self.test_from})"

    def words(self) -> list[str]:
        """The options of the command line; none for the default, which is ``files`` for a log that comes in parts."""
        if self.name != "time":
            return []
        words = ["--split", self.name]
        if self.valid_from is not None and self.test_from is not None:
            words += ["--valid-from", self.valid_from, "--test-from", self.test_from]
        return words


def _name(text: str) -> SplitName:
    return next(name for name in SPLIT_NAMES if name == text)
