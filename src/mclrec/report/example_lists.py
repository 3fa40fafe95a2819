"""Example users of a report: their histories, the items that a system recommends next, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, make_split
from mclrec.errors import DataError
from mclrec.evaluation.protocol import RankTable
from mclrec.inference.model import Model
from mclrec.randomness import Stream, generator
from mclrec.report.systems import Study, System
from mclrec.runs.remeasure import run_data

__all__ = ["Example", "draw_examples"]

_EXAMPLES = 5
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Example:
    """One user of the test set.

    Attributes:
        user: outside id.
        history: the newest items before the target, oldest first.
        left_out: number of older items, which are not shown.
        target: the item that came next.
        recommended: the system's list, best first: each item, and whether it is the target.
        ranks: rank of the target by each system, as text.
    """

    user: str
    history: Sequence[str]
    left_out: int
    target: str
    recommended: Sequence[tuple[str, bool]]
    ranks: str


def draw_examples(study: Study, system: System) -> list[Example]:
    """Draw random test users, with the recommendations of one system, which leave out items of the history.

    Raises:
        MclrecError: the data or the model cannot be read.
    """
    run = system.first
    data = run_data(run)
    targets, table = make_split(data, run.info.split).test, system.ranks["F"][0]
    _check_rows(targets, table, data)
    chosen = generator(0, Stream.BOOTSTRAP).choice(len(table), min(_EXAMPLES, len(table)), replace=False)
    model = run.model
    return [_example(study, model, targets, table, int(place)) for place in np.sort(chosen)]


def _check_rows(targets: Targets, table: RankTable, data: SequenceData) -> None:
    """Check row by row that the ranks belong to these targets.

    Raises:
        DataError: they do not.
    """
    users = [data.user_ids[user + 1] for user in targets.users.tolist()]
    if users != table.users or [data.item_ids[item] for item in targets.items.tolist()] != table.items:
        raise DataError(f"{data.name}: the saved ranks are for other targets; evaluate the run again")


def _example(study: Study, model: Model, targets: Targets, table: RankTable, place: int) -> Example:
    # The history ends at the target's position, not at the last occurrence of its item.
    dense = targets.histories(np.array([place])).items.tolist()
    history = [targets.data.item_ids[item] for item in dense]
    target = table.items[place]
    user = table.users[place] if model.users is not None else None
    found = model.recommend(history, k=min(_SHOWN, study.num_items), user=user)
    return Example(
        str(table.users[place]),
        [str(item) for item in history[-_SHOWN:]],
        max(len(history) - _SHOWN, 0),
        str(target),
        [(str(item), item == target) for item, _ in found],
        _ranks(study, place),
    )


def _ranks(study: Study, place: int) -> str:
    """Rank of one target by each system, as text."""
    return ", ".join(f"{system.label} {_rank(study, system, place)}" for system in study.systems)


def _rank(study: Study, system: System, place: int) -> str:
    rank = int(system.ranks["F"][0].ranks[place])
    return "none" if rank > study.num_items else f"{rank:,}"
