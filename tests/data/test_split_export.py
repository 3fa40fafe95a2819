"""Exported splits: files that give any system the same split, and a manifest from which the data are found again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.helpers import at_random_times, edit_sealed, tiny_data, write_log

from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.data.split import PARTS, Split, by_files, make_split
from mclrec.data.split_export import FORMATS, export_split, is_export, read_export, write_split
from mclrec.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    log = write_log(tmp_path_factory.mktemp("log") / "small.csv", at_random_times(tiny_data()))
    return load(log, min_count=1)


def outside(split: Split, part: str) -> list[tuple[object, object, list[object]]]:
    """User, item and history of each target, in outside ids."""
    targets = split.validation if part == "validation" else split.test
    data = targets.data
    histories = targets.histories(np.arange(len(targets))).tolist()
    return [
        (data.user_ids[user + 1], data.item_ids[item], [data.item_ids[one] for one in history])
        for user, item, history in zip(targets.users.tolist(), targets.items.tolist(), histories, strict=True)
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_our_own_reader_makes_the_same_split_of_the_files(
    data: SequenceData, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "split"
    manifest = write_split(data, out, "leave-one-out", kind)
    assert manifest == read_export(out)
    assert is_export(out)
    assert {path.name for path in out.iterdir()} == {*manifest.files, "split.json"}
    split = make_split(data, "leave-one-out")
    again = load(
        out / f"training.{kind}",
        valid=out / f"validation-targets.{kind}",
        test=out / f"test-targets.{kind}",
        columns=Columns(sequence="position"),
    )
    for part in PARTS:
        assert outside(by_files(again), part) == outside(split, part)
    assert manifest.files[f"training.{kind}"].rows == split.training.num_interactions
    assert manifest.files[f"items.{kind}"].rows == data.num_items


@pytest.mark.parametrize("rule", ["leave-one-out", "time", "time(last)"])
def test_histories_are_what_came_before_the_targets(data: SequenceData, tmp_path: Path, rule: str) -> None:
    write_split(data, tmp_path / "split", rule)
    split = make_split(data, rule)
    for part in PARTS:
        rows = pq.read_table(tmp_path / "split" / f"{part}-histories.parquet").to_pydict()
        histories: dict[object, list[object]] = {}
        for user, item, position in zip(rows["user"], rows["item"], rows["position"], strict=True):
            histories.setdefault(user, []).append(item)
            assert position == len(histories[user])
        targets = pq.read_table(tmp_path / "split" / f"{part}-targets.parquet").to_pydict()
        users = pq.read_table(tmp_path / "split" / f"{part}-users.parquet")["user"].to_pylist()
        found = [(u, i, histories[u]) for u, i in zip(targets["user"], targets["item"], strict=True)]
        assert found == outside(split, part)
        assert users == targets["user"]
        times = [data.times[place] for place in split.targets(part).places] if data.times is not None else []
        assert targets["time"] == times


def test_the_manifest_finds_the_data_again(tmp_path: Path) -> None:
    log = write_log(tmp_path / "small.csv", tiny_data())
    export_split(log, tmp_path / "split", reading=None)
    manifest = read_export(tmp_path / "split")
    assert manifest.data().fingerprint == manifest.origin.fingerprint
    assert set(manifest.protocols) == {"F", "U"}
    write_log(log, tiny_data(seed=1))
    with pytest.raises(DataError, match="export it again"):
        manifest.data()
    edit_sealed(tmp_path / "split" / "split.json", lambda found: found.update(split=3))
    with pytest.raises(DataError, match="split"):
        read_export(tmp_path / "split")
    (tmp_path / "split" / "split.json").write_text(
        '{"kind": "mclrec split", "checksum": "no"}', encoding="utf-8"
    )
    with pytest.raises(DataError, match="damaged or edited"):
        read_export(tmp_path / "split")


def test_an_export_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    log = write_log(tmp_path / "small.csv", tiny_data())
    for kind in FORMATS:
        export_split(log, tmp_path / "split", format=kind)
    assert (tmp_path / "split" / "training.csv").exists()
    assert not (tmp_path / "split" / "training.parquet").exists()
    shutil.copytree(tmp_path / "split", tmp_path / "mine")
    (tmp_path / "mine" / "split.json").unlink()
    with pytest.raises(DataError, match="does not hold an exported split"):
        export_split(log, tmp_path / "mine")
    with pytest.raises(ConfigError, match="format"):
        export_split(log, tmp_path / "new", format="xlsx")


def test_several_targets_of_a_user_are_no_export(data: SequenceData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several targets per user"):
        export_split(data, tmp_path / "split", split="time", targets="all")
    assert not (tmp_path / "split").exists()
