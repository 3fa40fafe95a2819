"""An earlier model on random newer data, whose ids are known, new, or in another order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.attack.inputs import Attack
from tests.helpers import tiny_data
from tests.runs.test_earlier_ranks import CPU, shuffled

from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.models.storage import load_model
from mclrec.runs.earlier_ranks import earlier_ranks
from mclrec.runs.request import TrainRequest
from mclrec.runs.training_run import train

pytestmark = pytest.mark.attack


def test_ranks_do_not_depend_on_dense_ids(attack: Attack, tmp_path: Path) -> None:
    run = train(TrainRequest(tiny_data(), "markov", out=tmp_path / "run", measured=False))
    earlier = load_model(run.directory)
    for rng in attack.inputs():
        items = int(rng.integers(2, 40))
        data = tiny_data(users=int(rng.integers(1, 60)), items=items, seed=int(rng.integers(1 << 30)))
        numbers = rng.permutation(60)[:items]
        newer = replace(data, item_ids=Vocabulary([f"item {number:03d}" for number in numbers.tolist()]))
        other = shuffled(newer, rng)
        found = []
        for one in (newer, other):
            targets = leave_one_out(one).test
            ranks = earlier_ranks(earlier, targets, "keep", CPU)
            known = earlier.items.dense_all([one.item_ids[item] for item in targets.items.tolist()]) > 0
            assert ((ranks >= 1) & (ranks <= 15))[known].all()
            assert (ranks[~known] > 10**6).all()
            users = [one.user_ids[user + 1] for user in targets.users.tolist()]
            found.append(dict(zip(users, ranks.tolist(), strict=True)))
        assert found[0] == found[1]
