"""The model directory: what was saved is loaded, and damage is detected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import Field
from tests.helpers import edit_sealed
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.parquet_files import write_parquet
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ModelFileError
from mclrec.models import registry
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.directory import FORMAT, weights_checksum
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase
from mclrec.models.storage import LoadedModel, load_model, save_model
from mclrec.models.tensors import load_tensors, save_tensors


class TinyConfig(ModelConfig):
    hidden_size: int = Field(default=4, ge=1)
    lambda_: float = Field(default=0.5, alias="lambda")


class Tiny(VectorRecommender):
    """Projected mean of item vectors, with a shared module, integer and empty buffers, and a bf16 scalar."""

    config_type = TinyConfig
    config: TinyConfig
    max_length = 3

    def __init__(self, config: TinyConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.table = nn.Embedding(num_items + 1, config.hidden_size)
        self.first = nn.Linear(config.hidden_size, config.hidden_size)
        self.second = self.first
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.bfloat16))
        self.register_buffer("steps", torch.tensor([7, 8]))
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("nothing_either", torch.zeros(0))

    def phases(self) -> tuple[Phase, ...]:
        return ()

    def query_vectors(self, histories: Histories) -> Tensor:
        items, lengths = histories.padded()
        mean = self.table(items).sum(1) / lengths[:, None]
        return self.second(self.first(mean)) * self.scale  # type: ignore[no-any-return]

    def items(self) -> ItemTable:
        return ItemTable(self.table.weight, self.num_items)


class TinyUsers(Tiny):
    needs_users: ClassVar[bool] = True


ITEMS = Vocabulary(["b", "ä", "item 3", "日本", "e"])
COUNTS = np.array([0, 5, 4, 3, 2, 1])
USERS = Vocabulary([30, 10, 20])


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in {"tiny": "Tiny", "tiny-users": "TinyUsers"}.items():
        monkeypatch.setitem(
            registry._MODELS, name, registry.Entry(f"{__name__}:{kind}", kind, 2024, "none", "U", ())
        )


def tiny(kind: type[Tiny] = Tiny) -> Tiny:
    torch.manual_seed(3)
    return kind(TinyConfig.model_validate({"hidden_size": 4, "lambda": 0.25}), len(ITEMS), len(USERS))


def saved(directory: Path, **extra: Any) -> Path:
    save_model(directory, name="tiny", model=tiny(), items=ITEMS, counts=COUNTS, extra=extra)
    return directory


def scores(model: VectorRecommender) -> Tensor:
    with torch.inference_mode():
        return model.scores(Histories.of(Packed.of([[1, 2], [3], [5, 4, 1]])))


def refused(directory: Path, *messages: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        load_model(directory)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(directory))
    for message in messages:
        assert message in text


def test_a_loaded_model_is_the_saved_one(tmp_path: Path) -> None:
    model = tiny().train()
    save_model(
        tmp_path / "m", name="tiny", model=model, items=ITEMS, counts=COUNTS, users=USERS, extra={"seed": 1}
    )
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, LoadedModel)
    assert isinstance(loaded.model, Tiny)
    assert (loaded.name, loaded.model.config, loaded.users) == ("tiny", model.config, None)
    assert not loaded.model.training
    assert list(loaded.items) == list(ITEMS)
    assert loaded.counts.tolist() == COUNTS.tolist()
    assert loaded.counts.dtype == np.int64
    assert (loaded.info["seed"], loaded.info["config"]) == (1, {"hidden_size": 4, "lambda": 0.25})
    stored = loaded.model.state_dict()
    assert stored.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(stored[name], value), name
        assert stored[name].dtype == value.dtype
    assert torch.equal(scores(loaded.model), scores(model))
    assert model.training
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "model.safetensors",
        "config.json",
        "items.parquet",
    }


def test_users_are_kept_for_models_that_need_them(tmp_path: Path) -> None:
    save_model(tmp_path, name="tiny-users", model=tiny(TinyUsers), items=ITEMS, counts=COUNTS, users=USERS)
    loaded = load_model(tmp_path)
    assert loaded.users is not None
    assert (list(loaded.users), loaded.model.num_users) == ([30, 10, 20], 3)
    (tmp_path / "users.parquet").unlink()
    refused(tmp_path, "users.parquet: no such file")


def test_a_shared_tensor_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    weight = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    values = {"a": weight, "b": weight, "head": weight[:10], "turned": weight.T}
    save_tensors(path, values)
    assert path.stat().st_size < 2.7 * weight.nbytes
    tensors, metadata = load_tensors(path)
    assert metadata == {}
    assert tensors.keys() == values.keys()
    for name, value in values.items():
        assert torch.equal(tensors[name], value), name


def test_tensors_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    values = {
        "scalar": torch.tensor(2.5),
        "bf16": torch.tensor([1.0, -2.0]).bfloat16(),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "long": torch.tensor([[2**40]]),
        "nan": torch.tensor([float("nan"), float("inf")]),
    }
    save_tensors(path, values, {"position": "äö"})
    tensors, metadata = load_tensors(path)
    assert metadata == {"position": "äö"}
    assert tensors.keys() == values.keys()
    for name, value in values.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name].nan_to_num(9), value.nan_to_num(9))


def test_writing_leaves_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.ones(2)})

    def broken(file: IO[bytes], parts: object, notes: object) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("mclrec.models.tensors._write", broken)
    with pytest.raises(OSError, match="disk full"):
        save_tensors(path, {"a": torch.zeros(2)})
    assert load_tensors(path)[0]["a"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=60)
@given(draw=st.data())
def test_one_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damage") / "t.safetensors"
    save_tensors(path, {"a": torch.arange(6.0), "b": torch.tensor([1, 2])}, {"note": "x"})
    content = bytearray(path.read_bytes())
    place = draw.draw(st.integers(0, len(content) - 1))
    before = content[place]
    content[place] ^= draw.draw(st.integers(1, 255))
    assume(not bytes([before, content[place]]).isspace())  # the header ends with insignificant blanks
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"t\.safetensors: "):
        load_tensors(path)


def test_files_that_are_missing_cut_or_foreign(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole")
    damages: dict[str, tuple[Callable[[Path], object], str]] = {
        "missing": (Path.unlink, "config.json"),
        "cut": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), ""),
        "empty": (lambda path: path.write_bytes(b""), ""),
        "foreign": (lambda path: path.write_bytes(b"PK\x03\x04 something else altogether"), ""),
    }
    for name in ("config.json", "model.safetensors", "items.parquet"):
        for kind, (damage, _) in damages.items():
            directory = tmp_path / f"{name}-{kind}"
            shutil.copytree(whole, directory)
            damage(directory / name)
            refused(directory, name)


def test_what_is_no_model_directory(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such model directory")
    refused(tmp_path, "not a model directory")
    file = tmp_path / "file"
    file.touch()
    refused(file, "no such model directory")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT - 1}, f"but this version of mclrec reads {FORMAT}; train it again"),
        ({"format": FORMAT + 1}, f"but this version of mclrec reads {FORMAT}; update mclrec"),
        ({"format": None}, "format None"),
        ({"model": "tinny"}, "unknown model 'tinny'; did you mean 'tiny'"),
        ({"model": 3}, "model is missing or not of type str"),
        ({"num_items": 6}, "items.parquet: holds 5 ids, config.json says 6"),
        ({"num_items": "5"}, "num_items is missing or not of type int"),
        ({"config": {"hidden_size": 4, "lamda": 1}}, "unknown key 'lamda'"),
        ({"config": {"hidden_size": 0}}, "hidden_size = 0: should be greater than or equal to 1"),
        ({"config": {"hidden_size": 5}}, "config.json: config.lambda is missing"),
        (
            {"config": {"hidden_size": 5, "lambda": 0.25}},
            "model.safetensors: does not fit config.json: size mismatch",
        ),
        ({"config": {"hidden_size": 10**15}}, "config.json: "),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = saved(tmp_path) / "config.json"
    edit_sealed(path, lambda info: info.update(change))
    refused(tmp_path, message)


@pytest.mark.parametrize("name", registry.names())
def test_settings_that_came_later_have_the_values_that_were_trained(name: str) -> None:
    config_type = registry.model_class(name).config_type
    later, told = config_type.before(), set[str]()
    usual = {"unit": "sequences"} if "contrast_by" in later else {}
    for chosen in (usual, {**usual, "encoder": "hstu"}) if "last_norm" in later else (usual,):
        earlier = {key: later[key] for key in later.keys() - config_type.of_layers(chosen).idle()}
        told |= earlier.keys()
        config = config_type.of_layers({**chosen, **earlier})
        stored = config.model_dump(by_alias=True)
        assert earlier.keys() <= stored.keys()
        older = {key: value for key, value in stored.items() if key not in earlier}
        assert config_type.of_stored(older) == config
        assert config.identity().keys() == older.keys()
        for key in older:
            named = r"\w+" if key == "encoder" else key  # without the encoder, more settings are missing
            with pytest.raises(ValueError, match=rf"config\.{named} is missing"):
                config_type.of_stored({other: value for other, value in older.items() if other != key})
    assert told == later.keys()


def test_a_config_that_was_edited(tmp_path: Path) -> None:
    path = saved(tmp_path) / "config.json"
    path.write_text(path.read_text().replace("0.25", "0.5"))
    refused(tmp_path, "config.json: damaged or edited: its checksum differs")


def test_foreign_json_and_tensors(tmp_path: Path) -> None:
    saved(tmp_path)
    config = (tmp_path / "config.json").read_text()
    for text, message in {
        "[]": "it has no format",
        '{"a": 1}': "it has no format",
        "{\n,": "config.json:2",
    }.items():
        (tmp_path / "config.json").write_text(text)
        refused(tmp_path, message)
    (tmp_path / "config.json").write_text(config)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    refused(tmp_path, "model.safetensors: was not written by mclrec")
    save_tensors(tmp_path / "model.safetensors", tiny().state_dict() | {"more": torch.ones(1)})
    refused(tmp_path, "config.json: was made from different weights than model.safetensors")
    weights = weights_checksum(tmp_path / "model.safetensors")
    edit_sealed(tmp_path / "config.json", lambda info: info.update(weights=weights))
    refused(tmp_path, 'model.safetensors: does not fit config.json: Unexpected key(s) in state_dict: "more"')


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["a"] * 5}, "not written by mclrec"),
        ({"id": list("abcde")}, "no column 'count'"),
        ({"id": list("abcde"), "count": [1.0] * 5}, "no column 'count' of whole numbers"),
        ({"id": list("abcde"), "count": [1, 2, 3, 4, None]}, "no column 'count' of whole numbers"),
        ({"id": list("abcda"), "count": [1] * 5}, "duplicated"),
        ({"id": list("abcd"), "count": [1] * 4}, "holds 4 ids"),
    ],
)
def test_a_vocabulary_that_is_none(tmp_path: Path, table: dict[str, list[Any]], message: str) -> None:
    saved(tmp_path)
    write_parquet(tmp_path / "items.parquet", pa.table(table))
    refused(tmp_path, "items.parquet: ", message)


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sizes"):
        save_model(tmp_path / "m", name="tiny", model=tiny(), items=ITEMS, counts=COUNTS[1:])
    with pytest.raises(ValueError, match="sizes"):
        save_model(tmp_path / "m", name="tiny-users", model=tiny(TinyUsers), items=ITEMS, counts=COUNTS)
    with pytest.raises(ValueError, match="num_items"):
        saved(tmp_path / "m", num_items=3)
    assert not (tmp_path / "m").exists()
