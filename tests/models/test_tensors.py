"""Sharded tensors in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.threads import Member, members, together
from torch import Tensor

from mclrec.distributed.layout import ParameterLayout
from mclrec.distributed.shards import Shard
from mclrec.errors import ModelFileError
from mclrec.models import tensors
from mclrec.models.tensors import load_tensors, save_tensors

WHOLE = {
    "table": torch.arange(44.0).reshape(22, 2),
    "bias": torch.arange(21, dtype=torch.float64),
    "table/step": torch.tensor(3.0),
    "other": torch.tensor([True, False, True]),
}


def layout(member: Member) -> ParameterLayout:
    return ParameterLayout(member, Shard(22, member), ("table", "bias"))


def own(member: Member) -> dict[str, Tensor]:
    shard = Shard(22, member)
    return {
        name: value[shard.first :][: shard.count(len(value))] if name in ("table", "bias") else value
        for name, value in WHOLE.items()
    }


def save(path: Path, size: int) -> None:
    def work(member: Member) -> None:
        save_tensors(path, own(member), {"a": "b"}, layout(member))

    together(members(size), work)


@pytest.mark.parametrize("size", [2, 3, 22, 30])
def test_the_file_is_the_one_that_one_process_writes(size: int, tmp_path: Path) -> None:
    save_tensors(tmp_path / "one", WHOLE, {"a": "b"})
    save(tmp_path / "several", size)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "several").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one", "several"]


@pytest.mark.parametrize("size", [2, 5])
def test_each_reads_its_own_rows(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_PIECE", 12)
    save_tensors(tmp_path / "file", WHOLE)
    for member in members(size):
        found, _ = load_tensors(tmp_path / "file", layout(member))
        assert found.keys() == WHOLE.keys()
        assert all(torch.equal(found[name], value) for name, value in own(member).items())


def test_other_readers_read_it(tmp_path: Path) -> None:
    save(tmp_path / "file", 3)
    found = load_file(tmp_path / "file")
    assert found.keys() == WHOLE.keys()
    assert all(torch.equal(found[name], value) for name, value in WHOLE.items())


def test_damage_in_rows_of_others_is_noticed(tmp_path: Path) -> None:
    save_tensors(tmp_path / "file", WHOLE)
    content = bytearray((tmp_path / "file").read_bytes())
    place = content.index(torch.tensor([40.0, 41.0]).numpy().tobytes())  # rows of the last process
    content[place] ^= 1
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum differs"):
        load_tensors(tmp_path / "file", layout(members(2)[0]))


def test_numbers_of_a_type_that_is_none_of_ours(tmp_path: Path) -> None:
    save_file({"table": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "x", {"mclrec.crc32": "0"})
    with pytest.raises(ModelFileError, match=r"numbers of type F8_E4M3"):
        load_tensors(tmp_path / "x")
