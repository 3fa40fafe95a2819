"""The plan printed before training: its expected time, and how to shorten it if that is long."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.helpers import tiny_data

from mclrec.data.split import leave_one_out
from mclrec.recipes import resolve
from mclrec.runs import plan
from mclrec.runs.construction import LongestTimes
from mclrec.runs.plan import plan_lines
from mclrec.runs.recipe_choice import sizes_of


@pytest.mark.parametrize(
    ("section", "seconds", "cure"),
    [
        ("auto", 3599.0, None),
        ("auto", 3601.0, "--minutes 30 trains the best model that is found in half an hour"),
        (
            "default",
            601.0,
            "each prefix of a history is an example, as in the paper; --recipe auto takes 10 minutes",
        ),
        ("default", 599.0, None),
        ("sequences", 3601.0, None),
    ],
)
def test_a_long_training_says_how_it_can_be_shorter(
    section: str, seconds: float, cure: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mclrec.runs.plan.longest_times", lambda *_: LongestTimes(seconds - 1, 1.0))
    split = leave_one_out(tiny_data(users=24))
    sizes = sizes_of(split)
    recipe = resolve("mclrec", None, section, sizes=sizes)
    lines = plan_lines(recipe, split, sizes, torch.device("cpu"))
    [time] = [place for place, line in enumerate(lines) if line.startswith("time: ")]
    assert [line.strip() for line in lines[time + 1 :]] == ([] if cure is None else [cure])


def test_the_time_of_validation_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.runs.plan.longest_times", lambda *_: LongestTimes(1200.0, 600.0))
    split = leave_one_out(tiny_data(users=24))
    recipe = resolve("sasrec", None, "auto", {"epochs": 20}, sizes=sizes_of(split))
    lines = plan_lines(recipe, split, sizes_of(split), torch.device("cpu"))
    assert (
        "time: about 60 s per epoch and 30 s for its validation, at most 20 epochs: 30 minutes, less if validation "
        "stops rising"
    ) in lines


def test_very_many_test_targets_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    split = leave_one_out(tiny_data())
    recipe, sizes = resolve("markov", None), sizes_of(split)
    assert not any(
        line.startswith("test ")
        for line in plan_lines(recipe, split, sizes, torch.device("cpu"), timed=False)
    )
    monkeypatch.setattr(plan, "_MANY", len(split.test) - 1)
    lines = plan_lines(recipe, split, sizes, torch.device("cpu"), timed=False)
    count, items = len(split.test), split.data.num_items
    assert lines[-1] == f"test ranks all of {count} targets among {items} items after training, under U and F"


def test_a_validation_by_fewer_targets_than_there_are_is_told() -> None:
    split = leave_one_out(tiny_data(users=24))
    sizes = sizes_of(split)
    recipe = resolve("sasrec", None, "auto", {"validation_targets": 7}, sizes=sizes)
    device = torch.device("cpu")
    lines = plan_lines(recipe, split, sizes, device, timed=False)
    count = len(split.validation)
    assert (
        f"validation ranks 7 of {count} held-out items, drawn at random; --set validation_targets=none ranks all"
        in lines
    )
    every = replace(recipe, training=recipe.training.model_copy(update={"validation_targets": None}))
    assert not [line for line in plan_lines(every, split, sizes, device, timed=False) if "ranks" in line]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 second"), (1.2, "1 second"), (40, "40 seconds"), (240, "4 minutes"), (19_800, "5.5 hours")],
)
def test_a_length_of_time_as_people_say_it(seconds: float, told: str) -> None:
    assert plan.duration(seconds) == told
