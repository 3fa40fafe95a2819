"""Statistics of sequences: sizes, time span, ties, repeats, lengths of histories and popularity of items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mclrec.data.far_times import far_times
from mclrec.data.intake import Counts, Intake, Measures, Quantiles, shortened
from mclrec.data.moments import moment, units_of
from mclrec.data.packed import IntArray, spans
from mclrec.data.returns import share_of_returns, validation_returns
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, by_files

__all__ = ["Ties", "gini", "intake_of", "measure", "split_intake", "ties_of"]

_HELD_OUT = 3
"""Number of interactions from which a user has held-out items."""


class Ties(NamedTuple):
    """Number of rows that share their time with another row of their user, and of rows that repeat an earlier one."""

    tied: int
    duplicates: int


def ties_of(
    users: npt.NDArray[np.integer[Any]],
    items: npt.NDArray[np.integer[Any]],
    times: npt.NDArray[Any],
) -> Ties:
    """Count ties and duplicates among rows that are ordered by user and time.

    Args:
        users: (N,) user of each row.
        items: (N,) item of each row; equal events are adjacent.
        times: (N,) time of each row, as exact as in the log.
    """
    tied = duplicates = 0
    size, before = 1 << 20, False  # whether the block's first row is tied with the row before it
    for start in range(0, len(users), size):
        stop = min(start + size, len(users))
        end = min(stop + 1, len(users))  # with the next block's first row
        same = (users[start : end - 1] == users[start + 1 : end]) & (
            times[start : end - 1] == times[start + 1 : end]
        )
        behind = same if end > stop else np.append(same, False)
        ahead = np.concatenate([[before], behind[:-1]])
        tied += int(np.count_nonzero(behind | ahead))
        duplicates += int(np.count_nonzero(same & (items[start : end - 1] == items[start + 1 : end])))
        before = bool(behind[-1])
    return Ties(tied, duplicates)


def measure(data: SequenceData, ties: Ties | None = None) -> Measures:
    """Compute the statistics of sequences.

    Args:
        data: sequences with at least one interaction.
        ties: ties among the log's exact times; if None, they are counted among the data's own times, which are rounded
            to seconds.
    """
    if ties is None and data.times is not None:
        ties = ties_of(np.repeat(np.arange(data.num_users), data.lengths), data.items, data.times)
    rows, lengths, popularity = data.num_interactions, data.lengths, data.popularity[1:]
    ordered = np.sort(popularity)[::-1]
    first, last = _span(data.times)
    return Measures(
        users=data.num_users,
        items=data.num_items,
        rows=rows,
        first=first,
        last=last,
        tied=None if ties is None else ties.tied / rows,
        duplicates=None if ties is None else ties.duplicates / rows,
        repeats=_repeats(data) / rows,
        returns=validation_returns(data),
        unmeasured=_unmeasured(data),
        lengths=_quantiles(lengths),
        mean_length=rows / data.num_users,
        gini=gini(popularity),
        top_item=shortened(data.item_ids[int(popularity.argmax()) + 1]),
        top_share=int(ordered[0]) / rows,
        top_hundredth=_top_share(ordered, 0.01),
        top_tenth=_top_share(ordered, 0.1),
        far=None if data.times is None else far_times(data.times),
    )


def intake_of(data: SequenceData, returns: float | None = None) -> Intake:
    """The intake of some sequences; if it is unknown, one that contains only their statistics.

    Args:
        data: sequences with at least one interaction.
        returns: share of validation targets in their user's history, if the split is not leave-one-out.
    """
    found = data.taken
    if found is None:
        left = measure(data)
        counts = Counts(users=left.users, items=left.items, rows=left.rows)
        found = Intake(
            place=data.name,
            format="",
            columns=(),
            tie_order=None if left.tied is None else "an unknown rule",
            read=counts,
            steps=(),
            left=left,
            fingerprint=data.fingerprint,
        )
    if returns is None:
        return found
    return found.model_copy(update={"left": found.left.model_copy(update={"returns": returns})})


def split_intake(split: Split) -> Intake:
    """The intake of a split's data, with the share of returns among the split's own validation targets.

    It is computed once: by preparation for leave-one-out and for splits in files, and here for other splits. All other
    code reads it from the intake.
    """
    if split.name in ("leave-one-out", "files"):
        return intake_of(split.data)
    return intake_of(split.data, share_of_returns(split.validation))


def _unmeasured(data: SequenceData) -> int:
    """Number of users without a test target."""
    if data.cuts is not None:
        return data.num_users - len(by_files(data).test)
    return int(np.count_nonzero(data.lengths < _HELD_OUT))


def gini(counts: IntArray) -> float:
    """Gini coefficient of counts: 0 if all are equal, close to 1 if one has everything."""
    ordered = np.sort(counts).astype(np.float64)
    size = len(ordered)
    ranks = np.arange(1, size + 1)
    return float((2 * ranks - size - 1) @ ordered / (size * ordered.sum()))


def _span(times: IntArray | None) -> tuple[str | None, str | None]:
    """The earliest and the latest time as text, in the unit of most times."""
    if times is None:
        return None, None
    least, most, unit = int(times.min()), int(times.max()), units_of(times)
    if unit is None:
        return str(least), str(most)
    return moment(least, unit), moment(most, unit)


def _repeats(data: SequenceData) -> int:
    """Number of interactions whose item their user has had before."""
    distinct, base = 0, data.num_items + 1
    for first, last in spans(data.offsets):
        rows = np.repeat(np.arange(last - first), data.lengths[first:last])
        pairs = rows * base + data.items[data.offsets[first] : data.offsets[last]]
        pairs.sort()
        distinct += (len(pairs) > 0) + int(np.count_nonzero(pairs[1:] != pairs[:-1]))
    return data.num_interactions - distinct


def _quantiles(values: IntArray) -> Quantiles:
    found = np.quantile(values, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], method="inverted_cdf").tolist()
    return Quantiles(**dict(zip(Quantiles.model_fields, map(int, found), strict=True)))


def _top_share(ordered: IntArray, share: float) -> float:
    """Share of the total held by the first ``share`` of counts in descending order, by at least one of them."""
    return int(ordered[: max(1, round(len(ordered) * share))].sum()) / int(ordered.sum())
