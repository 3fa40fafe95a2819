import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mclrec.data.packed import Packed
from mclrec.errors import EvaluationError
from mclrec.losses.additions import Additions
from mclrec.models.item_table import ItemTable, ranks_among

ITEMS = 7


def table(bias: bool, special: int = 1) -> tuple[ItemTable, Tensor, Tensor | None]:
    """An item table, its weights and its biases, with rows for padding, items and ``special`` further ids."""
    torch.manual_seed(0)
    weight = torch.randn(ITEMS + 1 + special, 4, dtype=torch.float64, requires_grad=True)
    biases = torch.randn(ITEMS + 1 + special, dtype=torch.float64, requires_grad=True) if bias else None
    return ItemTable(weight, ITEMS, biases), weight, biases


@pytest.mark.parametrize("bias", [False, True])
def test_cross_entropy_is_over_padding_and_items_and_no_special_id(bias: bool) -> None:
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
def test_pair_scores_are_products_of_rows(bias: bool) -> None:
    items, weight, biases = table(bias)
    queries, ids = torch.randn(3, 2, 4, dtype=torch.float64), torch.tensor([[1, 7], [3, 0], [2, 2]])
    scores = items.pair_scores(queries, ids)
    for place in np.ndindex(3, 2):
        item = ids[place]
        expected = queries[place] @ weight[item] + (0 if biases is None else biases[item])
        torch.testing.assert_close(scores[place], expected)


@pytest.mark.parametrize("bias", [False, True])
def test_scores_are_pair_scores_of_every_id_in_fp32(bias: bool) -> None:
    items, _, _ = table(bias)
    queries = torch.randn(3, 4, dtype=torch.float64)
    scores = items.scores(queries)
    assert scores.shape == (3, ITEMS + 1)
    assert scores.dtype == torch.float32
    for item in range(ITEMS + 1):
        pairs = items.pair_scores(queries, torch.full((3,), item))
        torch.testing.assert_close(scores[:, item], pairs.float())


@pytest.mark.parametrize("bias", [False, True])
def test_mean_scores_are_over_items_alone(bias: bool) -> None:
    items, weight, biases = table(bias, special=2)
    queries = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    scores = torch.stack([items.pair_scores(queries, torch.full((3,), item)) for item in range(1, ITEMS + 1)])
    found, expected = items.mean_scores(queries), scores.mean(0)
    torch.testing.assert_close(found, expected)
    leaves = [leaf for leaf in (queries, weight, biases) if leaf is not None]
    gradients = [torch.autograd.grad(loss.square().sum(), leaves) for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_lookup() -> None:
    items, weight, _ = table(False)
    ids = torch.tensor([[1, 2, 2], [7, 0, 3]])
    assert torch.equal(items.lookup(ids), weight[ids])


def test_ranks_are_of_all_items_that_are_not_excluded() -> None:
    items, weight, _ = table(False)
    queries = torch.randn(5, 4, dtype=torch.float64)
    asked, lists = torch.tensor([1, 7, 3, 2, 2]), Packed.of([[2], [], [1, 4], [5, 6, 7, 1], [3, 3]])
    for excluded in (None, lists):
        found = items.ranks(queries, asked, excluded, rows=2)
        for row, (query, item) in enumerate(zip(queries, asked.tolist(), strict=True)):
            scores = (weight[: ITEMS + 1] @ query).float()
            out = set(lists[row].tolist()) if excluded else set()
            others = [other for other in range(1, ITEMS + 1) if other != item and other not in out]
            assert found[row] == 1 + sum(not bool(scores[other] < scores[item]) for other in others)


def test_additions_are_part_of_scores_ranks_and_cross_entropy() -> None:
    items, weight, _ = table(False)
    queries, asked = torch.randn(5, 4, dtype=torch.float64), torch.tensor([1, 7, 3, 2, 2])
    rows, ids = torch.tensor([0, 2, 2, 2, 4]), torch.tensor([1, 3, 3, 6, 5])
    values = torch.tensor([9.0, -2.0, -3.0, 4.0, 1.0], dtype=torch.float64, requires_grad=True)
    additions = Additions(torch.tensor([0, 1, 1, 4, 4, 5]), rows, ids, values)
    wanted = (queries @ weight[: ITEMS + 1].T).index_put((rows, ids), values, accumulate=True)
    torch.testing.assert_close(items.scores(queries, additions), wanted.float())
    for size in (1, 2, 9):
        ranks = items.ranks(queries, asked, None, size, additions)
        assert torch.equal(ranks, ranks_among(wanted.float(), asked))
    found = items.detach().cross_entropy(queries, asked, additions)
    expected = F.cross_entropy(wanted, asked, reduction="sum")
    torch.testing.assert_close(found, expected.float())
    torch.testing.assert_close(torch.autograd.grad(found, values), torch.autograd.grad(expected, values))


def test_a_table_without_a_row_for_padding_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"7 rows, not V \+ 1 = 8"):
        ItemTable(torch.zeros(ITEMS, 4), ITEMS).ranks(torch.zeros(1, 4), torch.tensor([1]), None, rows=9)
