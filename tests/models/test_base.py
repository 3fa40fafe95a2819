from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData, Vocabulary
from mclrec.models.base import (
    ItemTable,
    ModelConfig,
    Phase,
    StepContext,
    Term,
    TrainingPhase,
    VectorRecommender,
)

ROWS = [[1, 2, 3, 4, 5, 6], [7, 1], [3], [2, 4, 6, 1, 3, 5, 7, 2, 4], [5, 6, 7]]
ITEMS = 7
UNITS = pytest.mark.parametrize("unit", ["prefixes", "sequences"])
Unit = Literal["prefixes", "sequences"]


def data() -> SequenceData:
    packed = Packed.of(ROWS)
    items, users = Vocabulary(range(ITEMS)), Vocabulary(range(len(ROWS)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, items, users)


def table(bias: bool, special: int = 1) -> tuple[ItemTable, Tensor, Tensor | None]:
    """Weights with rows for padding, items and ``special`` further ids."""
    torch.manual_seed(0)
    weight = torch.randn(ITEMS + 1 + special, 4, dtype=torch.float64, requires_grad=True)
    biases = torch.randn(ITEMS + 1 + special, dtype=torch.float64, requires_grad=True) if bias else None
    return ItemTable(weight, ITEMS, biases), weight, biases


class TestItemTable:
    @pytest.mark.parametrize("bias", [False, True])
    def test_cross_entropy_is_over_padding_and_items_and_no_special_id(self, bias: bool) -> None:
        items, weight, biases = table(bias, special=2)
        queries = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        targets = torch.tensor([1, 7, 3, 3, 5, 2])
        logits = queries @ weight[: ITEMS + 1].T
        logits = logits if biases is None else logits + biases[: ITEMS + 1]
        leaves = [leaf for leaf in (queries, weight, biases) if leaf is not None]
        ours, expected = (
            items.cross_entropy(queries, targets),
            F.cross_entropy(logits, targets, reduction="sum"),
        )
        torch.testing.assert_close(ours, expected)
        gradients = [torch.autograd.grad(loss, leaves) for loss in (ours, expected)]
        for left, right in zip(*gradients, strict=True):
            torch.testing.assert_close(left, right)
        of_weight = gradients[0][1]
        assert of_weight[0].abs().min() > 0
        assert of_weight[ITEMS + 1 :].abs().max() == 0

    @pytest.mark.parametrize("bias", [False, True])
    def test_pair_scores_are_products_of_rows(self, bias: bool) -> None:
        items, weight, biases = table(bias)
        queries, ids = torch.randn(3, 2, 4, dtype=torch.float64), torch.tensor([[1, 7], [3, 0], [2, 2]])
        scores = items.pair_scores(queries, ids)
        for place in np.ndindex(3, 2):
            item = ids[place]
            expected = queries[place] @ weight[item] + (0 if biases is None else biases[item])
            torch.testing.assert_close(scores[place], expected)

    @pytest.mark.parametrize("bias", [False, True])
    def test_scores_are_pair_scores_of_every_id_in_fp32(self, bias: bool) -> None:
        items, _, _ = table(bias)
        queries = torch.randn(3, 4, dtype=torch.float64)
        scores = items.scores(queries)
        assert scores.shape == (3, ITEMS + 1)
        assert scores.dtype == torch.float32
        for item in range(ITEMS + 1):
            pairs = items.pair_scores(queries, torch.full((3,), item))
            torch.testing.assert_close(scores[:, item], pairs.float())

    def test_lookup(self) -> None:
        items, weight, _ = table(False)
        ids = torch.tensor([[1, 2, 2], [7, 0, 3]])
        assert torch.equal(items.lookup(ids), weight[ids])


class TestTrainingPhase:
    @UNITS
    @pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
    def test_counts_of_an_epoch_add_up_to_its_targets(self, unit: Unit, batch_size: int) -> None:
        phase = TrainingPhase([], unit, 3)
        examples, rng = phase.examples(data()), np.random.default_rng(0)
        order = rng.permutation(len(examples))
        cuts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        batches = [phase.prepare(examples, rows, rng) for rows in cuts]
        assert sum(len(batch.targets) for batch in batches) == examples.num_targets
        assert sum(batch.count for batch in batches) == pytest.approx(examples.num_targets)
        # Batches of as many examples weigh a target the same, however many targets they hold.
        shares = [batch.count / len(batch) for batch in batches]
        assert shares == pytest.approx([examples.num_targets / len(examples)] * len(batches))

    @UNITS
    def test_holds_what_the_examples_say(self, unit: Unit) -> None:
        phase = TrainingPhase([], unit, 3)
        examples, rows = phase.examples(data()), np.array([2, 0, 3])
        batch = phase.prepare(examples, rows, np.random.default_rng(0))
        assert batch.histories.items.tolist() == examples.inputs(rows).items.tolist()
        assert batch.targets.tolist() == examples.targets(rows).tolist()
        assert batch.histories.users.tolist() == (examples.at(rows).users + 1).tolist()
        assert (batch.views, batch.negatives) == ((), None)
        assert len(batch.targets) == (3 if unit == "prefixes" else len(batch.histories.items))

    @UNITS
    def test_views_and_negatives_are_drawn_by_the_generator(self, unit: Unit) -> None:
        def shuffled(inputs: Packed, rng: np.random.Generator) -> Sequence[Packed]:
            return [Packed(rng.permutation(inputs.items), inputs.offsets) for _ in range(2)]

        phase = TrainingPhase([], unit, 3, shuffled, UniformNegatives())
        examples = phase.examples(data())
        batch, again, other = (
            phase.prepare(examples, np.arange(4), np.random.default_rng(seed)) for seed in (0, 0, 1)
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


class Widths(ModelConfig):
    hidden_size: int = 2


class Means(VectorRecommender):
    """Query: the mean of the history's vectors."""

    config_type = Widths

    def __init__(self, config: Widths, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.table = nn.Embedding(num_items + 1, config.hidden_size)

    def phases(self) -> Sequence[Phase]:
        return ()

    def query_vectors(self, histories: Histories) -> Tensor:
        parts = self.table(histories.items).split(histories.lengths.tolist())
        return torch.stack([part.mean(0) for part in parts])

    def items(self) -> ItemTable:
        return ItemTable(self.table.weight, self.num_items)


def test_a_vector_recommender_needs_vectors_only() -> None:
    torch.manual_seed(0)
    model = Means(Widths(), ITEMS, num_users=9)
    histories = Histories.of(Packed.of([[1, 2], [3]]))
    vectors = model.table.weight
    expected = torch.stack([(vectors[1] + vectors[2]) / 2, vectors[3]]) @ vectors.T
    torch.testing.assert_close(model.scores(histories), expected)
    assert model.num_users == 0  # it has no user vectors
    assert model.parameter_groups() == {"all": list(model.parameters())}


def test_configurations_are_frozen_and_know_their_keys() -> None:
    with pytest.raises(ValidationError, match="widht"):
        Widths.model_validate({"widht": 3})
    with pytest.raises(ValidationError, match="frozen"):
        Widths().hidden_size = 3


def test_a_term_shows_its_mean_without_its_weight() -> None:
    assert float(Term(torch.tensor(6.0), count=4.0, weight=0.1).mean) == 1.5


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.randn(3, 2)
    assert StepContext().gather(rows) is rows
