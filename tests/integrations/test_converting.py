"""Checkpoints with RecBole's names give the same scores here, execute no code, and cause clear errors if unsuitable."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integrations.published_sasrec import PublishedSASRec

import mclrec
from mclrec.errors import ConfigError, DataError, ModelFileError
from mclrec.integrations.checkpoints import read_checkpoint
from mclrec.integrations.converting import convert
from mclrec.integrations.sasrec_weights import sasrec_of, sizes_of

ITEMS = ["pear", "apple", "fig", "kiwi", "plum"]
"""Items in the order in which they appear in the log."""

BEAUTY = os.environ.get("MCLREC_OFFICIAL_BEAUTY")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two users, with seven and eight interactions, whose rows are ordered neither by user nor by time."""
    rows = [("u2", "pear", 9), ("u1", "apple", 5), ("u2", "fig", 3), ("u1", "kiwi", 7), ("u2", "plum", 4)]
    rows += [("u1", item, 10 + place) for place, item in enumerate(ITEMS)]
    rows += [("u2", item, 20 + place) for place, item in enumerate(reversed(ITEMS))]
    path = tmp_path / "log.inter"
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def network() -> PublishedSASRec:
    torch.manual_seed(3)
    return PublishedSASRec(len(ITEMS))


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A class like RecBole's `Config`, in a module of the same name, with an object that pickle would call on load."""
    module = types.ModuleType("recbole.config.configurator")

    class Config:
        def __init__(self, settings: dict[str, Any], **defaults: Any) -> None:
            self.external_config_dict = settings
            self.final_config_dict = {
                "n_heads": 2,
                "hidden_act": "gelu",
                "kind": Kind(),
                **defaults,
                **settings,
            }
            self.yaml_loader = Kind

    class Kind:
        def __reduce__(self) -> Any:
            return Kind, ()

    for one in (Config, Kind):
        one.__module__, one.__qualname__ = module.__name__, one.__name__
        setattr(module, one.__name__, one)
    for name in ("recbole", "recbole.config", module.__name__):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield Config
    monkeypatch.undo()


@pytest.mark.parametrize("protocol", [2, 4])
def test_scores_are_those_of_recbole(
    log: Path, network: PublishedSASRec, configuration: Any, tmp_path: Path, protocol: int
) -> None:
    settings = {"USER_ID_FIELD": "user_id", "n_heads": 2, "seed": 7, "topk": {3, 5}, "loss_type": "CE"}
    state = {"config": configuration(settings), "epoch": 3, "best": 0.5, "state_dict": network.state_dict()}
    torch.save(state, tmp_path / "model.pth", pickle_protocol=protocol)
    sys.modules.pop("recbole.config.configurator")  # the reader of the file does not have RecBole
    run = convert(tmp_path / "model.pth", log, tmp_path / "run")
    model = mclrec.Model.load(run.directory)
    assert sorted(map(str, model.items)) == sorted(ITEMS)
    for history in (["fig"], ["fig", "pear", "plum"], [*ITEMS, *ITEMS]):
        expected = network.scores([1 + ITEMS.index(item) for item in history])
        found = {one.item: one.score for one in model.recommend(history, 5, include_seen=True)}
        assert [found[item] for item in ITEMS] == pytest.approx(expected[1:].tolist(), abs=1e-5)
    assert run.info.seed == 7
    assert set(run.metrics) == {"U", "F"}
    assert mclrec.evaluate(run.directory, seen="keep").metrics == run.metrics["U"]


def test_a_state_that_was_saved_alone(log: Path, network: PublishedSASRec, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    reading = mclrec.Reading(min_count=1)
    run = convert(tmp_path / "weights.pth", log, tmp_path / "run", reading=reading)
    names = tmp_path / "items.txt"
    names.write_text("\n".join(ITEMS), encoding="utf-8")
    again = convert(tmp_path / "weights.pth", log, tmp_path / "again", reading=reading, items=names, heads=2)
    assert f" --items {names} --heads 2 --out " in again.info.command
    assert run.metrics == again.metrics
    with pytest.raises(ConfigError, match="not empty"):
        convert(tmp_path / "weights.pth", log, tmp_path / "run", reading=reading)


@settings(max_examples=15)
@given(
    items=st.integers(1, 9),
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    longest=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_scores_of_any_size(items: int, heads: int, layers: int, longest: int, seed: int) -> None:
    torch.manual_seed(seed)
    theirs = PublishedSASRec(items, 6 * heads, heads, layers, 5, longest)
    tensors = theirs.state_dict()
    rows = torch.randperm(items) + 1
    ours = sasrec_of(tensors, sizes_of(tensors, {}, heads), rows.numpy())
    history = torch.randint(1, items + 1, (8,))
    from mclrec.data.batches import Histories
    from mclrec.data.packed import Packed

    known = history.numpy()[-ours.reads :]
    with torch.inference_mode():
        found = ours.scores(Histories.of(Packed.of([known])))[0, 1:]
    expected = theirs.scores(rows[history - 1].tolist())[rows]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


class _Runs:
    """An object that makes a directory when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_that_would_run_code_is_refused(log: Path, tmp_path: Path, protocol: int) -> None:
    state = {"state_dict": {"a": torch.zeros(1)}, "config": _Runs(tmp_path / "made")}
    torch.save(state, tmp_path / "model.pth", pickle_protocol=protocol)
    with pytest.raises(ModelFileError, match=r"would run '(posix|os)\.mkdir'"):
        convert(tmp_path / "model.pth", log, tmp_path / "run")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_checkpoints(network: PublishedSASRec, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelFileError, match=r"torch 1\.6"):
        read_checkpoint(path)
    path.write_text("no checkpoint", encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"torch 1\.6"):
        read_checkpoint(path)
    with pytest.raises(ModelFileError):
        read_checkpoint(tmp_path / "none.pth")
    torch.save([1, 2], path)
    with pytest.raises(ModelFileError, match="has no model state"):
        read_checkpoint(path)
    torch.save(network.state_dict(), path)
    whole = path.read_bytes()
    locator = whole.rindex(b"PK\x06\x07")  # torch always writes the Zip64 locator
    path.write_bytes(whole[: locator + 16] + b"\x09" + whole[locator + 17 :])
    with pytest.raises(ModelFileError, match="span multiple disks"):
        read_checkpoint(path)
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("LayerNorm.bias"), "there is no LayerNorm.bias"),
        (lambda state: state.pop("item_embedding.weight"), "not the weights of a SASRec"),
        (lambda state: state.update({"mlp.weight": torch.zeros(2)}), "leave_out=PREFIX"),
        (lambda state: state.update({"LayerNorm.bias": torch.zeros(2)}), "have the shape (2,), not (8,)"),
        (
            lambda state: state.update({"item_embedding.weight": torch.zeros(9, 8)}),
            "has padding and 8 items, but the log has 5 items",
        ),
    ],
)
def test_weights_that_do_not_fit(
    log: Path, network: PublishedSASRec, tmp_path: Path, change: Any, message: str
) -> None:
    state = network.state_dict()
    change(state)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ModelFileError) as problem:
        convert(tmp_path / "model.pth", log, tmp_path / "run", reading=mclrec.Reading(min_count=1))
    assert message in str(problem.value)
    assert str(tmp_path / "model.pth") in str(problem.value)


def test_tensors_may_be_left_out(log: Path, network: PublishedSASRec, tmp_path: Path) -> None:
    state = {**network.state_dict(), "augmenter.0.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "model.pth")
    reading = mclrec.Reading(min_count=1)
    run = convert(tmp_path / "model.pth", log, tmp_path / "run", leave_out=("augmenter.",), reading=reading)
    assert " --leave-out augmenter. --out " in run.info.command
    assert run.info.num_items == 5
    # A text would be read as a list of letters, and every name begins with the empty prefix.
    for odd in ("augmenter.", [""], [3]):
        with pytest.raises(ConfigError, match="leave_out"):
            convert(tmp_path / "model.pth", log, tmp_path / "odd", leave_out=odd, reading=reading)  # type: ignore[arg-type]


def test_another_network_is_refused(
    log: Path, network: PublishedSASRec, configuration: Any, tmp_path: Path
) -> None:
    state = {"config": configuration({"hidden_act": "relu"}), "state_dict": network.state_dict()}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match="hidden_act = 'relu'"):
        convert(tmp_path / "model.pth", log, tmp_path / "run")
    torch.save(network.state_dict(), tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match="heads = 3 does not divide"):
        convert(tmp_path / "model.pth", log, tmp_path / "run", heads=3)


def test_rows_by_ids_and_by_files(network: PublishedSASRec, log: Path, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "model.pth")
    reading = mclrec.Reading(min_count=1)
    with pytest.raises(ConfigError, match="not the numbers 1 to 5"):
        convert(tmp_path / "model.pth", log, tmp_path / "run", items="ids", reading=reading)
    (tmp_path / "items.txt").write_text("pear\napple\nlemon\n", encoding="utf-8")
    with pytest.raises(DataError, match="'lemon' is not an item"):
        convert(tmp_path / "model.pth", log, tmp_path / "run", items=tmp_path / "items.txt", reading=reading)
    (tmp_path / "items.txt").write_text("pear\napple\n", encoding="utf-8")
    with pytest.raises(DataError, match="has 2 of 5 items"):
        convert(tmp_path / "model.pth", log, tmp_path / "run", items=tmp_path / "items.txt", reading=reading)
    with pytest.raises(ConfigError, match="did you mean 'appearance'"):
        convert(tmp_path / "model.pth", log, tmp_path / "run", items="appearence", reading=reading)


def test_prepared_data_are_not_read_otherwise(
    network: PublishedSASRec, log: Path, configuration: Any, tmp_path: Path
) -> None:
    settings = {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)"}
    state = {"config": configuration(settings), "state_dict": network.state_dict()}
    torch.save(state, tmp_path / "model.pth")
    (tmp_path / "items.txt").write_text("\n".join(ITEMS) + "\n", encoding="utf-8")
    data = mclrec.load(log, min_count=1)
    run = convert(tmp_path / "model.pth", data, tmp_path / "run", items=tmp_path / "items.txt")
    assert run.info.num_items == len(ITEMS)
    with pytest.raises(DataError, match="is already prepared"):
        convert(
            tmp_path / "model.pth", data, tmp_path / "other", items=tmp_path / "items.txt",
            reading=mclrec.Reading(min_count=2),
        )  # fmt: skip


@pytest.mark.skipif(BEAUTY is None, reason="MCLREC_OFFICIAL_BEAUTY names no official checkpoint of Beauty")
def test_the_official_checkpoint_of_beauty(tmp_path: Path) -> None:
    run = convert(str(BEAUTY), "beauty", tmp_path / "run", items="ids")
    assert round(run.metrics["U"]["HR@20"], 4) == 0.1243
    assert round(run.metrics["U"]["NDCG@20"], 4) == 0.0539
