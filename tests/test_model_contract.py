"""The contract of every registered model: the trainer, the evaluation and the engines rely on nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data
from tests.threads import members
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.distributed.shards import sharded
from mclrec.models import registry
from mclrec.models.base import Recommender, VectorRecommender
from mclrec.models.phases import FitContext, Phase, StepContext, Update
from mclrec.models.storage import load_model, save_model
from mclrec.nn.dropout import Dropout, Seeded, seed_dropout
from mclrec.randomness import Stream, generator

SMALL = {"hidden_size": 8, "heads": 2, "inner_size": 16, "max_length": 8}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sasrec": [
        {},
        {"unit": "sequences"},
        {"unit": "sequences", "loss": "bce", "positions": "newest"},
        {"loss": "bce"},
        {"loss": "sampled", "samples": 9},
        {"loss": "gbce", "negatives": 3, "unit": "sequences"},
        {"temperature": 0.1},
        {"norm": "pre"},
        {"norm": "pre", "positions": "relative"},
        {"repeat_bias": True, "positions": "newest"},
        {"repeat_bias": True, "loss": "sampled", "samples": 9, "unit": "sequences"},
        {"repeat_bias": True, "loss": "gbce", "negatives": 3},
        {"co_occurrence": 2.0},
        {"co_occurrence": 2.0, "repeat_bias": True, "unit": "windows"},
        {"alpha": 0.5, "positions": "newest"},
        {"positions": "rotary", "feed_forward": "swiglu", "unit": "sequences"},
        {"alpha": 0.3, "norm": "pre", "positions": "relative", "unit": "windows"},
    ],
    "mclrec": [
        {},
        {"unit": "sequences"},
        {"lambda": 0.0},
        {"beta": 0.0},
        {"beta": 0.0, "lambda": 0.0},
        {"gamma": 0.0},
        {"updates": "two", "regularizer": "paper"},
        {"updates": "joint", "mask": "own"},
        {"positions": "relative"},
        {"shared_augmenter": True, "regularizer": "off"},
        {"encoder": "gru", "augmenter": "attention"},
        {"encoder": "convolution", "augmenter": "convolution", "unit": "sequences"},
        {"encoder": "hstu", "temperature": 0.1, "unit": "windows"},
        {"loss": "sampled", "samples": 9, "unit": "sequences"},
        {"loss": "gbce", "negatives": 3},
        {"temperature": 0.1, "unit": "sequences"},
        {"repeat_bias": True, "unit": "sequences", "updates": "two"},
        {"co_occurrence": 1.0, "repeat_bias": True, "loss": "sampled", "samples": 9},
        {"alpha": 0.4, "frequencies": 3, "unit": "sequences"},
        {"positions": "rotary", "norm": "pre", "feed_forward": "swiglu"},
    ],
    "bpr": [{}, {"negatives": 3}],
    "cooccurrence": [{}, {"max_length": 3}],
    "ease": [{}, {"neighbours": 3}],
    "itemknn": [{}, {"neighbours": 3, "shrink": 2.0}, {"repeats": True}],
    "gru4rec": [
        {"inner_size": 16},
        {"unit": "sequences"},
        {"unit": "sequences", "loss": "bpr-max", "samples": 9},
        {"loss": "top1-max", "samples": 9, "layers": 2},
        {"label_smoothing": 0.2, "temperature": 0.1},
        {"loss": "gbce", "negatives": 3, "temperature": 0.1},
        {"repeat_bias": True, "unit": "windows"},
    ],
    "bsarec": [
        {"positions": "newest", "heads": 1},
        {"unit": "sequences"},
        {"filter": "causal", "positions": "relative", "frequencies": 3, "loss": "sampled", "samples": 9},
        {"unit": "windows", "loss": "bce", "repeat_bias": True},
    ],
    "hstu": [
        {"unit": "sequences"},
        {"temperature": None, "heads": 1, "loss": "sampled", "samples": 9},
        {"unit": "windows", "loss": "bce", "repeat_bias": True, "layers": 3},
    ],
    "caser": [{"max_length": 5}, {"targets": 1, "negatives": 1}],
    "bert4rec": [{}, {"last_only": 1.0, "positions": "newest"}, {"alpha": 0.5, "positions": "rotary"}],
    "s3rec": [
        {"unit": "sequences", "loss": "bce", "positions": "newest", "pretrain_epochs": 2},
        {"pretrain_epochs": 0},
        {"alpha": 0.5, "pretrain_epochs": 2, "unit": "windows"},
    ],
    "cl4srec": [
        {"unit": "sequences", "loss": "bce", "positions": "newest", "contrast": "all"},
        {"encoder": "gru"},
        {"encoder": "convolution", "unit": "sequences"},
        {"lambda": 0.0},
    ],
    "coserec": [
        {"unit": "sequences", "loss": "bce", "positions": "newest"},
        {"warm_up": 0, "short": 3},
    ],
    "lma4rec": [{"unit": "sequences", "loss": "bce", "positions": "newest"}, {"warm_up": 0}],
    "srma": [
        {
            "unit": "sequences",
            "loss": "bce",
            "positions": "newest",
            "complement": 0.5,
            "complement_epochs": 1,
        },
        {"distinct_layers": True},
        {"dropped_layers": 0},
        {"further_layers": 0},
    ],
    "iclrec": [
        {"unit": "sequences", "loss": "bce", "positions": "newest", "intents": 4},
        {"intents": 4},
        {"lambda": 0.0, "unit": "sequences"},
    ],
    "duorec": [
        {},
        {"contrast": "both", "unit": "sequences"},
        {"contrast": "unsupervised", "encoder": "gru"},
        {"contrast": "supervised", "encoder": "convolution"},
    ],
}
ESTIMATED = {("lma4rec", "masks")}
"""Updates whose gradient is a random estimate, so that one batch shows little: see `tests/nn/test_bernoulli.py`."""
CASES = [(name, variant) for name in registry.names() for variant in VARIANTS.get(name, [{}])]


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return tiny_data()


def build(name: str, variant: dict[str, Any], data: SequenceData) -> Recommender:
    model_class = registry.model_class(name)
    known = model_class.config_type.model_fields
    config = model_class.config_type.of_layers({k: v for k, v in SMALL.items() if k in known}, variant)
    torch.manual_seed(5)
    model = model_class(config, data.num_items, data.num_users)
    model.on_fit_start(data)
    return model


def batches(model: Recommender, phase: Phase, data: SequenceData, steps: int = 1) -> Iterator[Batch]:
    examples = phase.examples(data)
    model.on_phase_start(phase.name)
    model.on_epoch_start(FitContext(data, 1, lambda: generator(1, Stream.CLUSTERING)))
    for step in range(steps):
        rows = generator(1, Stream.ORDER, step).permutation(len(examples))[:24]
        yield phase.collate(examples, rows, generator(1, Stream.VIEWS, step))


def total(model: Recommender, update: Update, batch: Batch, step: int = 0) -> Tensor:
    seed_dropout(model, generator(1, Stream.DROPOUT, step))
    losses = update.loss(batch, StepContext())
    return torch.stack([term.weight * term.mean for term in losses.values()]).sum()


def histories(data: SequenceData, model: Recommender, count: int = 9) -> Histories:
    rows = [data.sequence(user)[-model.max_length :][: 1 + user % model.max_length] for user in range(count)]
    return Histories.of(Packed.of(rows), np.arange(1, count + 1))


@pytest.mark.parametrize(("name", "variant"), CASES)
class TestContract:
    def test_scores_are_fp32_and_do_not_depend_on_the_rest_of_the_batch(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data).eval()
        batch = histories(data, model)
        together = model.scores(batch)
        assert together.shape == (len(batch), data.num_items + 1)
        assert together.dtype == torch.float32
        assert together[:, 1:].isfinite().all()
        for row in range(len(batch)):
            items = batch.items[batch.offsets[row] : batch.offsets[row + 1]]
            alone = Histories(batch.users[row : row + 1], items, torch.tensor([0, len(items)]))
            torch.testing.assert_close(model.scores(alone)[0, 1:], together[row, 1:])

    def test_scores_are_queries_times_items(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data).eval()
        if not isinstance(model, VectorRecommender):
            return
        batch, table = histories(data, model), model.items()
        queries = model.query_vectors(batch)
        pairs = table.pair_scores(queries, batch.last_items())
        expected = model.scores(batch).gather(1, batch.last_items()[:, None]).squeeze(1)
        torch.testing.assert_close(pairs, expected)

    def test_padded_histories_give_the_same_queries(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data).eval()
        if not isinstance(model, VectorRecommender):
            return
        rows = [data.sequence(user)[-model.max_length :][: 1 + user % model.max_length] for user in range(17)]
        batch = Histories.of(Packed.of(rows))  # of unknown users
        assert batch.lengths.max() == model.max_length
        items, lengths = batch.padded("left")
        torch.testing.assert_close(model.padded_query_vectors(items, lengths), model.query_vectors(batch))

    def test_each_update_moves_its_own_group_and_lowers_its_loss(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data)
        for module in model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0  # so that the loss of a batch is certain to fall
        for phase in model.phases():
            [batch] = batches(model, phase, data)
            for update in phase.updates:
                group = model.parameter_groups()[update.group]
                model.requires_grad_(False)
                for parameter in group:
                    parameter.requires_grad_(True)
                before = copy.deepcopy(model.state_dict())
                optimiser = torch.optim.Adam(group, lr=1e-2)
                values = []
                for _ in range(12):
                    loss = total(model, update, batch)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    values.append(float(loss.detach()))
                assert np.isfinite(values).all()
                assert values[-1] < values[0] or (name, update.group) in ESTIMATED
                own = {id(parameter) for parameter in group}
                for parameter_name, parameter in model.named_parameters():
                    if id(parameter) not in own:
                        assert torch.equal(parameter, before[parameter_name]), parameter_name
                assert any(not torch.equal(model.state_dict()[key], value) for key, value in before.items())

    def test_the_seed_decides(self, name: str, variant: dict[str, Any], data: SequenceData) -> None:
        def losses(first_step: int) -> list[float]:
            model = build(name, variant, data).train()
            return [
                float(total(model, update, batch, step + first_step).detach())
                for phase in model.phases()
                for step, batch in enumerate(batches(model, phase, data, 2))
                for update in phase.updates
            ]

        assert losses(0) == losses(0)
        if any(isinstance(module, Seeded) for module in build(name, variant, data).modules()):
            assert losses(0) != losses(1)

    def test_saves_everything(
        self, name: str, variant: dict[str, Any], data: SequenceData, tmp_path: Path
    ) -> None:
        model = build(name, variant, data).eval()
        save_model(
            tmp_path, name=name, model=model, items=data.item_ids, counts=data.popularity, users=data.user_ids
        )
        loaded = load_model(tmp_path).model
        assert loaded.config == model.config
        assert loaded.state_dict().keys() == model.state_dict().keys()
        for key, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key
        assert torch.equal(loaded.scores(histories(data, model)), model.scores(histories(data, model)))

    def test_item_tensors_have_a_row_an_item(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data)
        assert not isinstance(model, VectorRecommender) or model.item_tensors
        present = model.state_dict().keys() & set(model.item_tensors)
        assert present or not model.item_tensors
        for key in present:
            assert len(model.state_dict()[key]) > data.num_items

    def test_supports_sharding_is_what_its_item_tensors_do(
        self, name: str, variant: dict[str, Any], data: SequenceData
    ) -> None:
        model = build(name, variant, data)
        parts = []
        for member in members(3):
            with sharded(member):
                parts.append(build(name, variant, data).state_dict())
        present = [key for key in model.item_tensors if key in model.state_dict()]
        split = [
            sum(len(part[key]) for part in parts) == len(model.state_dict()[key])
            and torch.equal(torch.cat([part[key] for part in parts]), model.state_dict()[key])
            for key in present
        ]
        assert (bool(present) and all(split)) == model.supports_sharding
        others = model.state_dict().keys() - set(present)
        assert not model.supports_sharding or all(
            torch.equal(part[key], model.state_dict()[key]) for part in parts for key in others
        )
