from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch

from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.models.phases import NextItem, Phase, StepContext, Term, next_item_examples

ROWS = [[1, 2, 3, 4, 5, 6], [7, 1], [3], [2, 4, 6, 1, 3, 5, 7, 2, 4], [5, 6, 7]]
ITEMS = 7
UNITS = pytest.mark.parametrize("unit", ["prefixes", "sequences"])
Unit = Literal["prefixes", "sequences"]


def data() -> SequenceData:
    packed = Packed.of(ROWS)
    items, users = Vocabulary(range(ITEMS)), Vocabulary(range(len(ROWS)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, items, users)


@UNITS
@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_counts_of_an_epoch_add_up_to_its_targets(unit: Unit, batch_size: int) -> None:
    phase = Phase([], next_item_examples(unit, 3), NextItem())
    examples, rng = phase.examples(data()), np.random.default_rng(0)
    order = rng.permutation(len(examples))
    cuts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    batches = [phase.collate(examples, rows, rng) for rows in cuts]
    assert sum(len(batch.targets) for batch in batches) == examples.num_targets
    assert sum(batch.count for batch in batches) == pytest.approx(examples.num_targets)
    # The count per example is the same in every batch, however many targets the batch holds.
    shares = [batch.count / len(batch) for batch in batches]
    assert shares == pytest.approx([examples.num_targets / len(examples)] * len(batches))


@UNITS
def test_holds_what_the_examples_say(unit: Unit) -> None:
    phase = Phase([], next_item_examples(unit, 3), NextItem())
    examples, rows = phase.examples(data()), np.array([2, 0, 3])
    batch = phase.collate(examples, rows, np.random.default_rng(0))
    assert batch.histories.items.tolist() == examples.inputs(rows).items.tolist()
    assert batch.targets.tolist() == examples.targets(rows).tolist()
    assert batch.histories.users.tolist() == (examples.at(rows).users + 1).tolist()
    assert (batch.views, batch.negatives) == ((), None)
    assert len(batch.targets) == (3 if unit == "prefixes" else len(batch.histories.items))


@UNITS
def test_views_and_negatives_are_drawn_by_the_generator(unit: Unit) -> None:
    def shuffled(inputs: Packed, rng: np.random.Generator) -> Sequence[Packed]:
        return [Packed(rng.permutation(inputs.items), inputs.offsets) for _ in range(2)]

    phase = Phase([], next_item_examples(unit, 3), NextItem(shuffled, UniformNegatives()))
    examples = phase.examples(data())
    batch, again, other = (
        phase.collate(examples, np.arange(4), np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert len(batch.views) == 2
    assert batch.negatives is not None
    assert batch.negatives.shape == batch.targets.shape
    for view in batch.views:
        assert sorted(view.items.tolist()) == sorted(batch.histories.items.tolist())
        assert view.users.tolist() == batch.histories.users.tolist()
    drawn, same, different = (
        [
            b.negatives.tolist() if b.negatives is not None else [],
            *(view.items.tolist() for view in b.views),
        ]
        for b in (batch, again, other)
    )
    assert drawn == same
    assert drawn != different


def test_a_term_shows_its_mean_without_its_weight() -> None:
    assert float(Term(torch.tensor(6.0), count=4.0, weight=0.1).mean) == 1.5


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.randn(3, 2)
    assert StepContext().gather(rows) is rows
