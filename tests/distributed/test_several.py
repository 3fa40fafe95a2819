"""Several processes, each with a part of every batch, give the results of one process with whole batches."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.distributed.several import Case, Outcome, outcome, outcomes
from tests.helpers import tiny_data
from tests.test_model_contract import CASES
from tests.threads import members, together
from tests.training.stub import real_trainer

from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.models import registry
from mclrec.nn.dropout import Seeded
from mclrec.randomness import Stream, generator

BCE: dict[str, Any] = {"unit": "sequences", "loss": "bce", "positions": "newest"}
PREFIXES: dict[str, Any] = {"unit": "prefixes", "loss": "softmax", "positions": "oldest"}
QUICK: list[Case] = [
    ("sasrec", PREFIXES),
    ("sasrec", BCE),
    ("mclrec", PREFIXES),
    ("mclrec", BCE | {"updates": "joint", "shared_augmenter": True}),
    ("cl4srec", PREFIXES),
    ("duorec", PREFIXES | {"contrast": "both"}),
    ("lma4rec", BCE),
]
MCLREC: list[Case] = [
    ("mclrec", {"updates": updates, "regularizer": r, "shared_augmenter": shared, **unit})
    for updates, r, shared, unit in product(
        ("three", "two", "joint"),
        ("official", "paper", "off"),
        (False, True),
        (PREFIXES, PREFIXES | {"unit": "sequences"}),
    )
]
SHARDED: list[Case] = [
    ("mclrec", PREFIXES),
    ("sasrec", {"unit": "sequences", "loss": "sampled", "samples": 7}),
    ("gru4rec", {"unit": "prefixes", "loss": "softmax"}),
    ("sasrec", BCE | {"average": 2.0}),
    ("sasrec", BCE | {"positions": "relative"}),
    ("mclrec", BCE | {"temperature": 0.1}),
    ("sasrec", PREFIXES),
    ("sasrec", {"unit": "sequences", "loss": "gbce", "negatives": 3}),
    ("gru4rec", {"unit": "sequences", "loss": "softmax", "label_smoothing": 0.2}),
]
OTHERS: list[Case] = [case for case in CASES if not registry.entry(case[0]).only_counts]

_SHARE = {2: 1, 3: 3}
"""Stride over the cases per number of processes: more processes than cores mostly wait for each other."""

SHARDABLE = SHARDED + [case for case in OTHERS if registry.model_class(case[0]).supports_sharding]


def check(cases: list[Case], steps: int, count: int, folder: Path, *, shard: bool = False) -> None:
    named = {f"{name} {settings}": (name, settings) for name, settings in cases}
    found = outcomes(named, steps, count, folder, shard=shard)
    for number, (name, case) in enumerate(named.items()):
        compare_all(name, found[name], outcome(case, steps, folder / f"alone-{number}"), steps)


def compare_all(name: str, found: list[Outcome], alone: Outcome, steps: int) -> None:
    assert len(alone["losses"]) >= steps, name
    for process in found:
        compare(name, process, alone)
        # Weights are exactly equal on all processes, not just close.
        assert process["weights"] == found[0]["weights"], name


def compare(name: str, several: Outcome, alone: Outcome) -> None:
    if several["losses"]:  # the main process has a reporter
        for step, (first, second) in enumerate(zip(several["losses"], alone["losses"], strict=True)):
            assert first == pytest.approx(second, rel=1e-5, abs=1e-5), (name, step)
    for part in ("history", "best", "ranks"):
        assert several[part] == alone[part], (name, part)
    for key, values in alone["weights"].items():
        np.testing.assert_allclose(several["weights"][key], values, atol=1e-5, err_msg=f"{name}: {key}")


@pytest.mark.parametrize(
    ("count", "case"),
    [(2, SHARDED[0]), (3, SHARDED[1]), (2, SHARDED[2]), (4, SHARDED[3]), (2, SHARDED[4]), (3, SHARDED[-1])],
)
def test_items_may_be_sharded(count: int, case: Case, tmp_path: Path) -> None:
    """Uses threads in place of processes: no gradient of the table is summed over processes, and none is missing."""
    found = together(
        members(count), lambda member: outcome(case, 8, tmp_path / "several", member, shard=True)
    )
    compare_all(case[0], found, outcome(case, 8, tmp_path / "alone"), 8)


@pytest.mark.slow
def test_two_come_to_what_one_does(tmp_path: Path) -> None:
    check(QUICK, 8, 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cases", [MCLREC, OTHERS], ids=["mclrec", "all models"])
def test_however_many_come_to_what_one_does(cases: list[Case], count: int, tmp_path: Path) -> None:
    check(cases[:: _SHARE[count]], 12, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cases", [MCLREC, SHARDABLE], ids=["mclrec", "all models"])
def test_however_many_shard_the_items(cases: list[Case], count: int, tmp_path: Path) -> None:
    check(cases[:: _SHARE[count]], 12, count, tmp_path, shard=True)


@pytest.mark.parametrize("count", [1, 3])
def test_streams_of_dropout(count: int, tmp_path: Path) -> None:
    """Draws for a whole batch are equal in all processes, and every process has its own stream for dropped units."""

    def draws(processes: Processes) -> list[list[float]]:
        trainer = real_trainer("lma4rec", tiny_data(), tmp_path, processes=processes, dropout=0.5)
        [phase] = trainer.model.phases()
        steps = trainer._steps(phase, trainer._optimisers(phase), phase.examples(trainer.split.training))
        found = []
        for number in range(len(phase.updates)):
            steps._seed_dropout(number, (1, 0, 1, 5))
            seeded = [module for module in trainer.model.modules() if isinstance(module, Seeded)]
            for_batch = next(module.generator for module in seeded if module.for_batch)
            own = next(module.generator for module in seeded if not module.for_batch)
            assert for_batch is not None
            assert own is not None
            assert all(module.generator in (own, for_batch) for module in seeded)
            found += [for_batch.random(4).tolist(), own.random(4).tolist()]
        return found

    group: list[Processes] = [SINGLE_PROCESS] if count == 1 else [*members(count)]
    everyone = [draws(member) for member in group]
    for_batch = [(found[0], found[2]) for found in everyone]
    assert for_batch == for_batch[:1] * count
    drawn = {tuple(numbers) for found in everyone for numbers in found}
    assert len(drawn) == 2 * (1 + count)  # two updates, each with a batch stream and one per process
    alone = generator(1, Stream.DROPOUT, 0, 1, 5, 0)
    assert everyone[0][0] == alone.random(4).tolist()
    if count == 1:
        assert everyone[0][1] == alone.random(4).tolist()  # both draw from the same stream
