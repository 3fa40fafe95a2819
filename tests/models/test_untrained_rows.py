"""Table rows that training never reached affect no answer: later users and items, positions of longer histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import at_random_times, tiny_data

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, by_time, leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.evaluation.ranking import rank_targets
from mclrec.inference.queries import DenseQuery
from mclrec.inference.torch_engine import torch_engine
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.models.storage import LoadedModel
from mclrec.training.config import TrainingConfig
from mclrec.training.trainer import Trainer

SMALL = {"hidden_size": 8, "heads": 2, "inner_size": 16, "max_length": 4, "layers": 1}
ROWS = 40


@pytest.fixture(scope="module")
def split() -> Split:
    """A split with users without training rows, and items that training shows as targets alone or not at all."""
    split = by_time(at_random_times(tiny_data(items=30)), 1500, 4000)
    lengths, shown = split.training.lengths, split.training.popularity[1:]
    assert {0, 1} <= set(lengths.tolist())
    assert 0 < np.count_nonzero(shown == 0) < len(shown)
    return split


def trained(
    name: str, split: Split, folder: Path, **more: Any
) -> tuple[Recommender, dict[str, torch.Tensor]]:
    """A model trained for two epochs, and its tensors before training."""
    kind = registry.model_class(name)
    settings: dict[str, Any] = {
        key: value for key, value in {**SMALL, **more}.items() if key in kind.config_type.model_fields
    }
    if kind.needs_users:
        settings["negatives"] = 40  # enough to meet every item
    torch.manual_seed(1)
    model = kind(kind.config_type.model_validate(settings), split.data.num_items, split.data.num_users)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = TrainingConfig(batch_size=16, epochs=2, weight_decay=0, precision="fp32")
    Trainer(model, split, config, seed=1, directory=folder, device=torch.device("cpu"), identity={}).fit()
    return model, before


def poison(model: Recommender, before: dict[str, torch.Tensor]) -> int:
    """Put NaN into the rows that training has not changed; returns their number."""
    count = 0
    counted = model.counted_tensors  # none of these is an initial value
    for name in {*model.user_tensors, *model.item_tensors}.difference(counted):
        tensor = model.state_dict().get(name)
        if tensor is not None and tensor.is_floating_point():
            same = (tensor == before[name]).reshape(len(tensor), -1).all(1)
            same[0] = False  # padding and unknown users
            same[model.num_items + 1 if name in model.item_tensors else len(tensor) :] = False  # special ids
            tensor[same] = torch.nan
            count += int(same.sum())
    return count


@pytest.mark.parametrize(
    "name", [name for name in registry.names() if registry.model_class(name).item_tensors]
)
def test_rows_that_training_never_reached_do_not_answer(name: str, split: Split, tmp_path: Path) -> None:
    model, before = trained(name, split, tmp_path)
    rng = np.random.default_rng(0)
    rows = Packed.of([rng.integers(1, model.num_items + 1, rng.integers(1, 5)) for _ in range(ROWS)])
    histories = Histories.of(rows, np.arange(ROWS))  # each user, and an unknown one
    with torch.inference_mode():
        expected = model.scores(histories)
        count = poison(model, before)
        found = model.scores(histories)
    assert count or not model.user_tensors
    assert torch.equal(found[:, 1:], expected[:, 1:])


@pytest.mark.parametrize("name", ["bpr", "caser"])
def test_a_user_without_training_rows_is_an_unknown_one(name: str, split: Split, tmp_path: Path) -> None:
    model, _ = trained(name, split, tmp_path)
    strangers = np.flatnonzero(~model.trained_users()) + 1
    least = {"bpr": 1, "caser": 2}[name]  # Caser learns from items that follow another
    assert strangers.tolist() == (np.flatnonzero(split.training.lengths < least) + 1).tolist()
    rows = Packed.of([[1, 2, 3]] * len(strangers))
    with torch.inference_mode():
        unknown = model.scores(Histories.of(rows, np.zeros(len(strangers), dtype=np.int64)))
        assert torch.equal(model.scores(Histories.of(rows, strangers)), unknown)


WITH_POSITIONS = [
    name for name in registry.names() if "positions" in registry.model_class(name).config_type.model_fields
]
LONGEST, POSITIONS = 50, "encoder.positions.weight"


@pytest.mark.parametrize(
    ("name", "count_from"), [*((name, "oldest") for name in WITH_POSITIONS), ("sasrec", "newest")]
)
def test_positions_that_training_never_reached_do_not_answer(
    name: str, count_from: str, tmp_path: Path
) -> None:
    short = leave_one_out(tiny_data())
    model, before = trained(name, short, tmp_path, max_length=LONGEST, positions=count_from)
    assert 2 < model.reads <= short.training.lengths.max() < LONGEST
    rng = np.random.default_rng(0)
    data = SequenceData(
        rng.integers(1, model.num_items + 1, 40 * 30).astype(np.int32),
        np.arange(0, 1201, 30),
        short.data.item_ids,
        Vocabulary(range(40)),
    )
    targets = leave_one_out(data).test
    expected = rank_targets(model, targets, seen="keep")
    rows = model.state_dict()[POSITIONS]
    untouched = (rows == before[POSITIONS]).all(1)
    assert untouched.sum() > LONGEST / 2
    rows[untouched] = torch.nan
    assert np.array_equal(rank_targets(model, targets, seen="keep"), expected)
    served = LoadedModel("served", model, data.item_ids, data.popularity, None, {}, "")
    found = torch_engine(served).answer([DenseQuery(data.sequence(0).astype(np.int64), 5)])[0]
    assert np.isfinite(found.scores).all()
