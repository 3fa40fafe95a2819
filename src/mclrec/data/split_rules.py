"""Split rules and their textual form, which is used on command lines and stored in runs, checkpoints and searches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from mclrec.arguments import check_choice, text_of
from mclrec.data.moments import check_moment
from mclrec.data.target_choice import TARGET_CHOICES, check_targets
from mclrec.errors import ConfigError, quoted

__all__ = ["SPLIT_NAMES", "SplitName", "SplitRule"]

SplitName = Literal["leave-one-out", "time", "files"]
"""What is held out: a user's last items, everything after moments common to all users, or files of their own."""

SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)

_WITH_DETAILS = re.compile(r"time\((.+)\)")
_UNTIL = "until "
_MOMENTS = 2


@dataclass(frozen=True, slots=True)
class SplitRule:
    """A rule by which targets are held out.

    Attributes:
        name: name of the rule.
        valid_from: with ``time``: the moment from which interactions are held out for validation: an ISO date or time,
            or an integer in the log's unit; None for the moment before which 80 % of all rows lie.
        test_from: likewise for the test; None for the moment before which 90 % lie.
        test_until: with both moments: the moment at which the test ends; None for no end.
        targets: with ``time``: which of a user's interactions in a part are targets: ``first``, ``last``, ``all``, or
            ``random`` for a random one, ``random-7`` for another seed than 1.
    """

    name: SplitName = "leave-one-out"
    valid_from: str | None = None
    test_from: str | None = None
    test_until: str | None = None
    targets: str = "first"

    @classmethod
    def of(
        cls,
        text: str,
        valid_from: object = None,
        test_from: object = None,
        test_until: object = None,
        targets: object = None,
    ) -> SplitRule:
        """Create a rule from its name and details, or from the text that `str` made of a rule.

        Args:
            text: ``leave-one-out``, ``time``, ``time(FROM, FROM)``, or ``files``. The two moments may be followed by
                ``until MOMENT`` and the choice of targets, which may also be in the parentheses alone.
            valid_from: date, datetime, integer, or text.
            test_from: likewise.
            test_until: likewise.
            targets: which interactions are targets; the first of each user if None.

        Raises:
            ConfigError: there is no such rule, a moment is invalid, or only one of the two moments is given.
        """
        found = _WITH_DETAILS.fullmatch(text_of("split", text))
        if found and (valid_from, test_from, test_until, targets) == (None, None, None, None):
            text = "time"
            valid_from, test_from, test_until, targets = _details(found[1])
        check_choice("split", text, SPLIT_NAMES)
        if text != "time" and targets is not None:
            raise ConfigError(
                f"split: {text} has one target per user and part; leave out --targets, or use --split time"
            )
        choice = "first" if targets is None else check_targets(targets)
        if valid_from is None and test_from is None:
            if test_until is not None:
                raise ConfigError("split: --test-until needs --valid-from and --test-from")
            return cls(name=_name(text), targets=choice)
        if text != "time":
            raise ConfigError(
                f"split: {text} takes no moments; leave out --valid-from and --test-from, or use --split time"
            )
        if valid_from is None or test_from is None:
            raise ConfigError("split: give both moments, --valid-from and --test-from, or neither")
        until = None if test_until is None else check_moment("--test-until", test_until)
        first, second = check_moment("--valid-from", valid_from), check_moment("--test-from", test_from)
        return cls("time", first, second, until, choice)

    def __str__(self) -> str:
        """The text of the rule, which `of` can parse."""
        details = [moment for moment in (self.valid_from, self.test_from) if moment is not None]
        details += [] if self.test_until is None else [f"{_UNTIL}{self.test_until}"]
        details += [] if self.targets == "first" else [self.targets]
        return f"{self.name}({', '.join(details)})" if details else self.name

    def words(self) -> list[str]:
        """The command-line options of the rule; none for the default, which is ``files`` for a log in parts."""
        if self.name != "time":
            return []
        words = ["--split", self.name]
        if self.valid_from is not None and self.test_from is not None:
            words += ["--valid-from", self.valid_from, "--test-from", self.test_from]
        if self.test_until is not None:
            words += ["--test-until", self.test_until]
        return words if self.targets == "first" else [*words, "--targets", self.targets]


def _details(text: str) -> tuple[object, object, object, object]:
    """Parse the details that `str` writes: both moments, the end of the test, the choice of targets; None if absent."""
    parts = text.split(", ")
    targets = parts.pop() if parts[-1].partition("-")[0] in TARGET_CHOICES else None
    until = parts.pop().removeprefix(_UNTIL) if parts and parts[-1].startswith(_UNTIL) else None
    if len(parts) not in (0, _MOMENTS) or (until is not None and not parts):
        raise ConfigError(f"split: {quoted(f'time({text})')}: write time(FROM, FROM), with the two moments")
    first, second = parts or (None, None)
    return first, second, until, targets


def _name(text: str) -> SplitName:
    return next(name for name in SPLIT_NAMES if name == text)
