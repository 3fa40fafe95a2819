"""Warm start from an earlier model: embedding rows are matched by outside id."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data
from tests.runs.conftest import SASREC, log_source, start
from tests.threads import members, together
from tests.training.stub import same, weights

from mclrec.configuration import option_text
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.distributed.shards import sharded
from mclrec.errors import ConfigError, MclrecWarning
from mclrec.models.base import Recommender
from mclrec.models.storage import LoadedModel, load_model, save_model
from mclrec.recipes import resolve
from mclrec.runs.construction import build
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train
from mclrec.runs.warm_start import check_earlier, warm_start

ITEMS = "encoder.items.weight"
EARLIER = Vocabulary(["ale", "bun", "egg", "fig"])
NEWER = Vocabulary(["bun", "cod", "egg", "ham", "ale"])
USERS = Vocabulary(["ann", "bob"])


def model(name: str, items: int, seed: int, users: int = 40, **settings: Any) -> Recommender:
    small = {"hidden_size": 8, "max_length": 8} | ({} if name in ("bpr", "hstu") else {"inner_size": 16})
    recipe = resolve(name, "tiny", None, small | settings)
    return build(recipe, tiny_data(items=items, users=users), seed)


@pytest.fixture
def earlier(tmp_path: Path) -> LoadedModel:
    save_model(
        tmp_path / "run", name="mclrec", model=model("mclrec", 4, 1), items=EARLIER, counts=np.arange(5)
    )
    return load_model(tmp_path / "run")


def test_rows_follow_their_outside_ids(earlier: LoadedModel) -> None:
    newer = model("mclrec", 5, 2)
    initial, old = weights(newer), weights(earlier.model)
    assert warm_start(newer, NEWER, USERS, earlier) == 3
    found = weights(newer)
    for place, outside in enumerate(NEWER, start=1):
        known = EARLIER.dense(outside)
        source = old[ITEMS][known] if known else initial[ITEMS][place]
        assert torch.equal(found[ITEMS][place], source), outside
    assert torch.equal(found[ITEMS][0], old[ITEMS][0])
    assert torch.equal(found[ITEMS][6:], old[ITEMS][5:])  # the mask
    assert len(found[ITEMS]) == 7
    assert all(torch.equal(found[name], old[name]) for name in found if name != ITEMS)
    assert same(weights(earlier.model), old)


@pytest.mark.parametrize("name", ["mclrec", "bert4rec"])
def test_shared_out_rows_follow_their_outside_ids(name: str, tmp_path: Path) -> None:
    save_model(tmp_path, name=name, model=model(name, 4, 1), items=EARLIER, counts=np.arange(5))
    expected = model(name, 5, 2)
    warm_start(expected, NEWER, USERS, load_model(tmp_path))
    parts = []
    for member in (group := members(3)):
        with sharded(member):
            parts.append(model(name, 5, 2))
    together(group, lambda member: warm_start(parts[member.rank], NEWER, USERS, load_model(tmp_path)))
    for key in (key for key in expected.state_dict() if key in expected.item_tensors):
        assert torch.equal(
            torch.cat([part.state_dict()[key] for part in parts]), expected.state_dict()[key]
        ), key


def test_co_occurrence_is_counted_anew(earlier: LoadedModel, tmp_path: Path) -> None:
    save_model(
        tmp_path / "counted",
        name="mclrec",
        model=model("mclrec", 4, 1, co_occurrence=2.0),
        items=EARLIER,
        counts=np.arange(5),
    )
    counted = load_model(tmp_path / "counted")
    for old, weight in ((counted, 2.0), (counted, 0.0), (earlier, 2.0)):
        newer = model("mclrec", 5, 2, co_occurrence=weight)
        assert warm_start(newer, NEWER, USERS, old) == 3


def test_another_class_is_refused(earlier: LoadedModel) -> None:
    other = model("sasrec", 5, 2)
    before = weights(other)
    with pytest.raises(ConfigError, match=r"cannot continue a mclrec model .*: use --model mclrec$"):
        warm_start(other, NEWER, USERS, earlier)
    assert same(weights(other), before)


@pytest.mark.parametrize("settings", [{"hidden_size": 16}, {"max_length": 9}, {"layers": 3}, {"layers": 1}])
def test_another_shape_is_refused(settings: dict[str, int], earlier: LoadedModel) -> None:
    other = model("mclrec", 5, 2, **settings)
    before = weights(other)
    with pytest.raises(ConfigError, match="give the same settings") as caught:
        warm_start(other, NEWER, USERS, earlier)
    assert "\n" not in str(caught.value)
    assert same(weights(other), before)


def test_a_model_that_counts_is_refused(tmp_path: Path) -> None:
    made = build(resolve("popularity", "tiny", None, {}), tiny_data(items=4), 1)
    save_model(tmp_path / "run", name="popularity", model=made, items=EARLIER, counts=np.arange(5))
    newer = build(resolve("popularity", "tiny", None, {}), tiny_data(items=5), 1)
    with pytest.raises(ConfigError, match=r"a popularity model only counts .* leave out --warm-start"):
        warm_start(newer, NEWER, USERS, load_model(tmp_path / "run"))


OTHER_FUNCTIONS = [
    ("mclrec", {"positions": "oldest"}, {"positions": "newest"}),
    ("mclrec", {"heads": 2}, {"heads": 1}),
    ("sasrec", {"heads": 2}, {"heads": 4}),
    ("hstu", {"temperature": 0.05}, {"temperature": 0.2}),
    ("hstu", {"temperature": None}, {"temperature": 0.2}),
    ("bsarec", {"alpha": 0.7}, {"alpha": 0.3}),
    ("bsarec", {"frequencies": 1}, {"frequencies": 3}),
    ("bsarec", {"filter": "window"}, {"filter": "causal"}),
    ("bsarec", {"unit": "prefixes"}, {"unit": "sequences"}),
]
HARMLESS = [
    ("mclrec", {"dropout": 0.1}, {"dropout": 0.5}),
    ("mclrec", {"lambda": 0.1, "beta": 0.1}, {"lambda": 0.2, "beta": 0.3}),
    ("mclrec", {"learning_rate": 1e-3}, {"learning_rate": 1e-2}),
    ("sasrec", {"dropout": 0.1, "attention_dropout": 0.1}, {"dropout": 0.5, "attention_dropout": 0.4}),
    ("sasrec", {"loss": "bce"}, {"loss": "softmax"}),
    ("mclrec", {"co_occurrence": 2.0}, {"co_occurrence": 0.0}),
    ("bpr", {}, {"learning_rate": 1e-2}),
]


def warned(path: Path, name: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Warnings of a warm start with other settings."""
    old = model(name, 4, 1, users=2, **before)
    with torch.no_grad():  # as after training: with initial weights, attention is nearly uniform
        for weight in old.parameters():
            if weight.dim() == 2:
                weight.mul_(20)
    save_model(path, name=name, model=old, items=EARLIER, counts=np.arange(5), users=USERS)
    newer = model(name, 5, 2, users=2, **now)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warm_start(newer, NEWER, USERS, load_model(path))
    assert newer.training
    return [str(one.message) for one in caught if one.category is MclrecWarning]


@pytest.mark.parametrize(("name", "before", "now"), OTHER_FUNCTIONS)
def test_weights_that_mean_something_else_are_told(
    tmp_path: Path, name: str, before: dict[str, Any], now: dict[str, Any]
) -> None:
    [message] = warned(tmp_path, name, before, now)
    for key in now:
        assert f"{key} = {option_text(now[key])}, earlier {option_text(before[key])}" in message
    assert "had another meaning" in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "before", "now"), HARMLESS)
def test_settings_of_training_leave_weights_their_meaning(
    tmp_path: Path, name: str, before: dict[str, Any], now: dict[str, Any]
) -> None:
    assert warned(tmp_path, name, before, now) == []


def test_users_keep_their_vectors(tmp_path: Path) -> None:
    old, new = model("bpr", 4, 1, users=3), model("bpr", 5, 2, users=2)
    names = Vocabulary(["bob", "cid", "dan"])
    save_model(tmp_path / "run", name="bpr", model=old, items=EARLIER, counts=np.arange(5), users=names)
    initial = weights(new)["user_vectors.weight"]
    warm_start(new, NEWER, USERS, load_model(tmp_path / "run"))
    found, source = weights(new)["user_vectors.weight"], weights(old)["user_vectors.weight"]
    assert torch.equal(found[1], initial[1])  # ann is new
    assert torch.equal(found[2], source[1])


# ------------------------------------------------------------------------------ items in common


def renamed(data: SequenceData, start: int) -> SequenceData:
    """The same data, with item ids numbered from ``start``."""
    ids = Vocabulary([f"item {number:03d}" for number in range(start, start + data.num_items)])
    return replace(data, item_ids=ids)


def test_a_model_of_other_ids_is_refused(trained: Run, tmp_path: Path) -> None:
    other = renamed(tiny_data(), 900)
    with pytest.raises(ConfigError, match="no item in common") as caught:
        train(TrainRequest(other, "sasrec", settings=SASREC, warm_start=trained, out=tmp_path / "run"))
    said = str(caught.value)
    assert str(trained.directory) in said
    assert trained.info.data.place in said
    assert "'item 900', 'item 901'" in said
    assert "'item 001', 'item 002'" in said
    assert not (tmp_path / "run").exists()


def test_hardly_any_item_in_common_is_warned_of(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = renamed(tiny_data(items=100, users=5), 15)  # one of the fifteen is known
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_earlier(trained, newer, "leave-one-out")
    monkeypatch.setattr("mclrec.runs.warm_start._FEW", 0.1)
    with pytest.warns(MclrecWarning, match=r"hardly any item in common .*: 1 of 15;"):
        check_earlier(trained, newer, "leave-one-out")


# ------------------------------------------------------------------------------ what is held out


def later(data: SequenceData, start: int) -> SequenceData:
    """The data, followed from time ``start`` on by a second half in which each user repeats the same items."""
    lengths = np.repeat(data.lengths, 2)
    rows = [part for user in range(data.num_users) for part in (data.sequence(user), data.sequence(user))]
    times = [np.arange(len(row)) + (start if place % 2 else 0) for place, row in enumerate(rows)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])[::2]
    return replace(
        data, items=np.concatenate(rows).astype(np.int32), offsets=offsets, times=np.concatenate(times)
    )


def test_another_rule_must_not_hold_out_what_was_learnt(trained: Run, log: Path, tmp_path: Path) -> None:
    """With leave-one-out a model learns up to the end of the log, so only newer rows can be held out by time."""
    last = int((trained.intake.left.last if trained.intake else None) or 0)
    newer = later(log_source(log), last + 1)
    check_earlier(trained, newer, f"time({last + 2}, {last + 5})")
    check_earlier(trained, newer, "leave-one-out")
    with pytest.raises(
        ConfigError, match=rf"has learnt from rows before {last + 1}, held out by leave-one-out; [0-9]+ of "
    ):
        check_earlier(trained, newer, f"time(5, {last + 5})")
    with pytest.raises(
        ConfigError, match=r"targets that time holds out are not newer: split by leave-one-out again"
    ):
        check_earlier(trained, log_source(log), "time")
    with pytest.raises(ConfigError, match="not newer"):
        start(log, tmp_path / "run", warm_start=trained, split="time")
    with pytest.warns(MclrecWarning, match="without times it is not known whether it has learnt"):
        check_earlier(trained, replace(newer, times=None, cuts=halves(newer)), "files")


def halves(data: SequenceData) -> np.ndarray:
    """Cuts as of split files: the last two rows of each user are the validation and the test set."""
    ends = data.lengths
    return np.stack([ends - 2, ends - 2, ends - 1, ends - 1])


def test_the_reverse(log: Path, tmp_path: Path) -> None:
    """A model with a split by time learnt nothing newer, but leave-one-out holds out older rows of inactive users."""
    moments = start(log, tmp_path / "fixed", split="time(6000, 8000)", measured=False)
    with pytest.raises(
        ConfigError, match=r"has learnt from rows before 6000, held out by time; .* by time\(6000, 8000\)"
    ):
        check_earlier(moments, log_source(log), "leave-one-out")
    newer = later(log_source(log), 6000)
    check_earlier(moments, newer, "leave-one-out")
    shares = start(log, tmp_path / "shares", split="time", measured=False)
    with pytest.warns(
        MclrecWarning, match=r"may have learnt from rows before [0-9]+, held out by time; .* not newer"
    ):
        check_earlier(shares, log_source(log), "leave-one-out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_earlier(shares, log_source(log), "time")
