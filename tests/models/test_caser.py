from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.helpers import tiny_data
from torch import nn

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.losses.sampled import binary_cross_entropy
from mclrec.models.caser import Caser, CaserConfig
from mclrec.models.phases import StepContext

DATA = tiny_data()


def model(**settings: Any) -> Caser:
    torch.manual_seed(0)
    small = {"hidden_size": 4, "vertical": 2, "horizontal": 3, "dropout": 0, "max_length": 3}
    made = Caser(CaserConfig.model_validate(small | settings), DATA.num_items, DATA.num_users)
    made.on_fit_start(DATA)
    torch.nn.init.normal_(made.item_biases)
    return made.double()


def naive(made: Caser, history: list[int]) -> torch.Tensor:
    """The paper's z of one history, filter by filter and window by window."""
    length = made.max_length
    image = [made.item_inputs.weight[item] for item in [0] * (length - len(history)) + history[-length:]]
    columns = []
    for weights in made.vertical.weight:
        columns.append(sum(weight * row for weight, row in zip(weights, image, strict=True)))
    rows = []
    for height, filters in enumerate(made.horizontal, start=1):
        assert isinstance(filters, nn.Conv1d)
        assert filters.bias is not None
        for weight, bias in zip(filters.weight, filters.bias, strict=True):  # weight: (d, height)
            windows = [torch.stack(image[start : start + height], 1) for start in range(length - height + 1)]
            rows.append(max(torch.relu((weight * window).sum() + bias) for window in windows))
    return torch.relu(made.layer(torch.cat([*columns, torch.stack(rows)])))


def test_queries_equal_naive_loops() -> None:
    made = model()
    rows = [[1, 2, 3], [4], [5, 6]]
    queries = made.query_vectors(Histories.of(Packed.of(rows), np.array([3, 0, 1])))
    users = made.user_vectors.weight
    for query, row, user in zip(queries, rows, (users[3], users[1:].mean(0), users[1]), strict=True):
        torch.testing.assert_close(query, torch.cat([naive(made, row), user]))


def test_a_window_predicts_the_items_that_follow_as_far_as_there_are_any() -> None:
    made = model(targets=3, negatives=2)
    [phase] = made.phases()
    examples = phase.examples(DATA)
    batch = phase.collate(examples, np.arange(len(examples)), np.random.default_rng(0))
    expected = []
    for user in range(DATA.num_users):
        items = DATA.sequence(user).tolist()
        items += [0, 0]
        expected += [items[place : place + 3] for place in range(1, len(items) - 2)]
    assert batch.targets.tolist() == expected
    assert batch.negatives is not None
    table, queries = made.items(), made.query_vectors(batch.histories)
    total = torch.zeros((), dtype=torch.float64)
    count = 0
    for row, targets in enumerate(expected):
        for number, target in enumerate(targets):
            if target:
                query, count = queries[row : row + 1], count + 1
                drawn = batch.negatives[row, 2 * number : 2 * number + 2]
                positive = table.pair_scores(query, torch.tensor([target]))
                total += binary_cross_entropy(positive, table.pair_scores(query, drawn))
    torch.testing.assert_close(made.loss(batch, StepContext())["rec"].mean, total / count)
