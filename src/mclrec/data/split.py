"""Splits: training data and held-out targets. The training data are a copy without the held-out items."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from mclrec.arguments import check_choice
from mclrec.data.moments import moment, time_of
from mclrec.data.packed import IntArray, Packed, empty, ranges, spans
from mclrec.data.sequences import SequenceData
from mclrec.data.split_rules import SplitRule
from mclrec.data.target_choice import chosen_places
from mclrec.errors import DataError

__all__ = [
    "EVERYTHING",
    "PARTS",
    "Part",
    "Split",
    "Targets",
    "by_files",
    "by_time",
    "by_time_quantiles",
    "check_part",
    "check_rule",
    "everything",
    "leave_one_out",
    "looks_at_times",
    "make_split",
    "times_at",
]

Part = Literal["validation", "test"]
"""Parts of a split with held-out targets."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """M held-out items, each to be predicted from its user's earlier interactions.

    Attributes:
        data: the whole data, held-out items included.
        users: (M,) user rows.
        places: (M,) index of each target in ``data.items``.
    """

    data: SequenceData
    users: IntArray
    places: IntArray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def items(self) -> IntArray:
        """(M,) dense item ids of the targets."""
        return self.data.items[self.places].astype(np.int64)

    @property
    def gaps(self) -> IntArray | None:
        """(M,) time from the user's previous interaction to each target, in the data's unit; None without times."""
        times = self.data.times
        return None if times is None else times[self.places] - times[self.places - 1]

    def histories(self, rows: IntArray, max_length: int | None = None) -> Packed:
        """Histories before the targets ``rows``: their last ``max_length`` items, or all items."""
        starts, ends = self.data.offsets[self.users[rows]], self.places[rows]
        if max_length is not None:
            starts = np.maximum(starts, ends - max_length)
        lengths = ends - starts
        items = self.data.items[ranges(starts, lengths)].astype(np.int64)
        return Packed(items, np.concatenate([[0], np.cumsum(lengths)]))

    def take(self, rows: IntArray) -> Targets:
        """Select the targets ``rows``."""
        return Targets(self.data, self.users[rows], self.places[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Training data, and the targets of validation and test.

    Attributes:
        name: name of the rule, with its moments in time.
        data: all data.
        training: the data without everything that is held out.
        validation: targets for early stopping and the choice of settings.
        test: targets for the final evaluation.
    """

    name: str
    data: SequenceData
    training: SequenceData
    validation: Targets
    test: Targets

    def targets(self, part: Part) -> Targets:
        """The targets of one part.

        Raises:
            ConfigError: there is no such part.
        """
        check_part(part)
        return self.validation if part == "validation" else self.test


def leave_one_out(data: SequenceData) -> Split:
    """Leave-one-out split: a user's last item is the test target, the one before it the validation target.

    All earlier items are training data, and so are all items of users with fewer than three.

    Raises:
        DataError: no user has three interactions.
    """
    held = np.where(data.lengths >= 3, 2, 0)
    users = np.flatnonzero(held)
    if not len(users):
        raise DataError(
            f"{data.name}: no user has 3 interactions or more, so none can be held out; "
            "use a log with longer histories"
        )
    ends = data.offsets[1:]
    return Split(
        "leave-one-out",
        data,
        _head(data, data.lengths - held),
        Targets(data, users, ends[users] - 2),
        Targets(data, users, ends[users] - 1),
    )


def by_time(
    data: SequenceData,
    validation_from: int,
    test_from: int,
    test_until: int | None = None,
    targets: str = "first",
) -> Split:
    """Split at two moments, the same for all users, in the unit of ``data.times``.

    Training data are the interactions before ``validation_from``. By default, a user's validation target is the first
    interaction from ``validation_from`` until ``test_from`` that has a history, and the test target the first from
    ``test_from`` on; ``targets`` selects other ones. Histories hold all of the user's interactions before the target.
    Targets may be items that do not occur in training.

    Args:
        data: data with times.
        validation_from: moment at which training ends and validation begins.
        test_from: moment at which validation ends and the test begins.
        test_until: moment at which the test ends; None for no end.
        targets: which of a user's interactions in a part are targets; see `mclrec.data.target_choice`.

    Raises:
        DataError: the data have no times, the moments are not in order, or a part is empty.
    """
    times = _times(data)
    if validation_from >= test_from:
        raise DataError(
            f"{data.name}: validation must begin before the test, not at {validation_from} and {test_from}"
        )
    if test_until is not None and test_until <= test_from:
        raise DataError(
            f"{data.name}: the test must end after {test_from}, where it begins, not at {test_until}"
        )
    starts, ends = data.offsets[:-1], data.offsets[1:]
    in_training = _before(validation_from, times, data.offsets)
    before_test = _before(test_from, times, data.offsets)
    if test_until is not None:
        ends = starts + _before(test_until, times, data.offsets)
    end = "" if test_until is None else f", until {test_until}"
    kind = "" if targets == "first" else f", {targets}"
    split = Split(
        f"by-time({validation_from}, {test_from}{end}{kind})",
        data,
        _head(data, in_training),
        _targets(data, starts + in_training, starts + before_test, targets),
        _targets(data, starts + before_test, ends, targets),
    )
    parts: dict[str, Sized] = {
        "training": split.training.items,
        "validation": split.validation,
        "test": split.test,
    }
    empty = [part for part, content in parts.items() if not len(content)]
    if empty:
        span = f"{moment(int(times.min()))} to {moment(int(times.max()))}" if len(times) else "none"
        raise DataError(
            f"{data.name}: split at {moment(validation_from)} and {moment(test_from)} leaves nothing for "
            f"{' and '.join(empty)}; times are {span}"
        )
    return split


def by_time_quantiles(
    data: SequenceData, validation: float = 0.8, test: float = 0.9, targets: str = "first"
) -> Split:
    """Split by `by_time` at the moments before which the fractions ``validation`` and ``test`` of all rows lie.

    Raises:
        DataError: as for `by_time`; or the fractions are not ascending between 0 and 1, or fall on one moment.
    """
    if not 0 < validation < test < 1:
        raise DataError(
            f"{data.name}: fractions must satisfy 0 < validation < test < 1, not {validation} and {test}"
        )
    first, second = times_at(data, (validation, test))
    if first == second:
        raise DataError(
            f"{data.name}: {validation:.0%} and {test:.0%} of all rows lie before the same moment, {moment(first)}, so "
            "there is no time for validation between them; name both moments with --valid-from and --test-from"
        )
    return by_time(data, first, second, targets=targets)


def times_at(data: SequenceData, fractions: Sequence[float]) -> list[int]:
    """Times before which the given fractions (0 <= fraction < 1) of all rows lie.

    Raises:
        DataError: the data have no times, or no rows.
    """
    times = _times(data)
    if not len(times):
        raise DataError(f"{data.name}: has no rows to split by time")
    # Not np.quantile: floats cannot represent nanoseconds exactly.
    ordered = empty(len(times), times.dtype)
    ordered[:] = times
    ordered.sort()
    return [int(ordered[int(len(ordered) * fraction)]) for fraction in fractions]


def by_files(data: SequenceData) -> Split:
    """Split by the log's own files: training data, and each user's first row in the validation and in the test file.

    Histories hold all rows before the target: those of training, then of validation, then of test. A target has at
    least one item before it, and may be an item that does not occur in training.

    Raises:
        DataError: the log did not come in three files, or the validation or test file has no target.
    """
    if data.cuts is None:
        raise _no_files_error(data)
    starts, ends = data.offsets[:-1], data.offsets[1:]
    in_training, validation, before_test, test = data.cuts
    split = Split(
        "files",
        data,
        _head(data, in_training),
        _first(data, starts + validation, starts + before_test),
        _first(data, starts + test, ends),
    )
    for part in PARTS:
        if not len(split.targets(part)):
            raise DataError(
                f"{data.name}: no row of the {part} file has a row of its user before it, so there is nothing to "
                "predict; are users written the same way in all files?"
            )
    return split


def everything(data: SequenceData) -> Split:
    """Split that holds nothing out: all data are training data, and both parts have no targets."""
    none: IntArray = np.empty(0, dtype=np.int64)
    targets = Targets(data, none, none)
    return Split(EVERYTHING, data, data, targets, targets)


EVERYTHING = "everything"
"""Name of the rule that holds nothing out. Final models are trained by it; measured runs cannot use it."""


def make_split(data: SequenceData, rule: SplitRule | str) -> Split:
    """Split data by a rule, or by the text of a rule.

    Raises:
        ConfigError: there is no such rule.
        DataError: the rule does not apply to the data (`check_rule`), or leaves a part without targets.
    """
    check_rule(data, str(rule))
    if rule == EVERYTHING:
        return everything(data)
    rule = SplitRule.of(rule) if isinstance(rule, str) else rule
    if rule.name == "files":
        return by_files(data)
    if rule.name == "leave-one-out":
        return leave_one_out(data)
    if rule.valid_from is None or rule.test_from is None:
        return by_time_quantiles(data, targets=rule.targets)
    times = _times(data)
    first, second = (time_of(moment, times, data.name) for moment in (rule.valid_from, rule.test_from))
    until = None if rule.test_until is None else time_of(rule.test_until, times, data.name)
    return by_time(data, first, second, until, rule.targets)


def check_rule(data: SequenceData, rule: str) -> None:
    """Check that a rule, as stored in runs, applies to data: ``files`` to logs in files, other rules to single logs.

    Raises:
        ConfigError: there is no such rule.
        DataError: the rule does not apply to the data.
    """
    by_own_files = rule != EVERYTHING and SplitRule.of(rule).name == "files"
    if by_own_files and data.cuts is None:
        raise _no_files_error(data)
    if data.cuts is not None and not by_own_files and rule != EVERYTHING:
        raise DataError(
            f"{data.name}: comes in files for training, validation and test, which are its split; it cannot be split "
            f"by {rule}: give one log"
        )


def _no_files_error(data: SequenceData) -> DataError:
    return DataError(
        f"{data.name}: is one log, without files for validation and test; name them with --valid and --test"
    )


def looks_at_times(rule: str) -> bool:
    """Whether the targets of a rule, as stored in runs, depend on times and not only on the order."""
    return rule != EVERYTHING and SplitRule.of(rule).name == "time"


def check_part(name: str) -> None:
    """Check that a name is that of a part with held-out targets.

    Raises:
        ConfigError: it is not; the closest name is suggested.
    """
    check_choice("part", name, PARTS)


def _times(data: SequenceData) -> IntArray:
    if data.times is None:
        raise DataError(f"{data.name}: has no times, so it cannot be split by time; use leave-one-out")
    return data.times


def _before(moment: int, times: IntArray, offsets: IntArray) -> IntArray:
    """(U,) number of interactions of each user before a moment."""
    counts = np.zeros(len(offsets) - 1, dtype=np.int64)
    for first, last in spans(offsets):
        marked = times[offsets[first] : offsets[last]] < moment
        total = np.concatenate([[0], np.cumsum(marked)])
        own = offsets[first : last + 1] - offsets[first]
        counts[first:last] = np.diff(total[own])
    return counts


def _first(data: SequenceData, starts: IntArray, ends: IntArray) -> Targets:
    """The first interaction of each user in ``starts[u]:ends[u]`` that has a history."""
    return _targets(data, starts, ends, "first")


def _targets(data: SequenceData, starts: IntArray, ends: IntArray, choice: str) -> Targets:
    """The chosen interactions of each user in ``starts[u]:ends[u]``, all of which have a history."""
    return Targets(data, *chosen_places(np.maximum(starts, data.offsets[:-1] + 1), ends, choice))


def _head(data: SequenceData, lengths: IntArray) -> SequenceData:
    """Copy the first ``lengths[u]`` interactions of each user."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])

    def copied(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        kept = empty(int(offsets[-1]), values.dtype)
        for first, last in spans(offsets):
            places = ranges(data.offsets[first:last], lengths[first:last])
            kept[offsets[first] : offsets[last]] = values[places]
        return kept

    times = None if data.times is None else copied(data.times)
    return replace(data, items=copied(data.items), offsets=offsets, times=times, cuts=None)
