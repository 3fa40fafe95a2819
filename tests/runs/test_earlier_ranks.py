"""Ranks of an earlier model on newer targets: as in the service, and a miss for a target that it does not know."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data
from tests.runs.conftest import SASREC

from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.evaluation.ranking import rank_targets
from mclrec.inference.model import Model
from mclrec.models.storage import load_model
from mclrec.runs.earlier_ranks import earlier_ranks
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

CPU = torch.device("cpu")
MODELS = ["sasrec", "markov", "bpr"]


@pytest.fixture(scope="module", params=MODELS)
def earlier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {
        "sasrec": SASREC | {"repeat_bias": True},
        "markov": {},
        "bpr": {"hidden_size": 8, "epochs": 1},
    }[request.param]
    out = tmp_path_factory.mktemp("earlier") / "run"
    return train(TrainRequest(tiny_data(), request.param, settings=settings, out=out, measured=False))


def shuffled(data: SequenceData, rng: np.random.Generator) -> SequenceData:
    """The same interactions with permuted dense item ids and users in another order."""
    items, users = rng.permutation(data.num_items), rng.permutation(data.num_users)
    lengths = data.lengths[users]
    return replace(
        data,
        items=(np.argsort(items) + 1)[np.concatenate([data.sequence(user) for user in users]) - 1].astype(
            np.int32
        ),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item_ids=data.item_ids.take(items),
        user_ids=data.user_ids.take(users),
        times=None,
    )


@pytest.mark.parametrize("seen", ["keep", "drop"])
def test_dense_ids_change_nothing(earlier: Run, seen: Literal["keep", "drop"]) -> None:
    model, data = load_model(earlier.directory), tiny_data()
    if model.model.repeats is not None:
        model.model.repeats.adopt({"returns": 1.0, "frequency": 2.0})  # makes the whole history matter
    targets = leave_one_out(data).test
    expected = rank_targets(model.model, targets, seen=seen)
    assert earlier_ranks(model, targets, seen, CPU).tolist() == expected.tolist()
    other = shuffled(data, np.random.default_rng(1))
    place = {user: row for row, user in enumerate(other.user_ids)}
    rows = [place[user] for user in data.user_ids]
    assert earlier_ranks(model, leave_one_out(other).test, seen, CPU)[rows].tolist() == expected.tolist()


@pytest.mark.filterwarnings("ignore::mclrec.MclrecWarning")
def test_it_answers_as_the_service_does(earlier: Run) -> None:
    """Includes unknown users, unknown items in histories and as targets, and histories of unknown items only."""
    rng, old = np.random.default_rng(2), tiny_data()
    newer = replace(
        tiny_data(users=60, items=30, seed=3),
        item_ids=Vocabulary([f"item {number:03d}" for number in rng.permutation(60)[:30]]),
    )
    model, targets = Model.load(earlier.directory), leave_one_out(newer).test
    ranks = earlier_ranks(load_model(earlier.directory), targets, "keep", CPU)
    histories = targets.histories(np.arange(len(targets)))
    kinds = set()
    for row, rank in enumerate(ranks.tolist()):
        item = newer.item_ids[int(targets.items[row])]
        history = [newer.item_ids[one] for one in histories[row].tolist()]
        if item not in set(old.item_ids):
            assert rank > 10**6
            kinds.add("unknown")
            continue
        user = newer.user_ids[int(targets.users[row]) + 1]
        found = model.recommend(history, old.num_items, user=user, include_seen=True)
        scores = dict(found)
        own = scores[item]
        kinds.add("popular" if not set(history) & set(old.item_ids) else "asked")
        better = sum(score > own + 1e-6 for score in scores.values())
        as_good = sum(score >= own - 1e-6 for score in scores.values())
        assert better < rank <= as_good
    assert kinds == {"unknown", "asked", "popular"}
