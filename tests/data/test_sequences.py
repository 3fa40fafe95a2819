import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import DataError

STRINGS = st.lists(st.text(st.characters(codec="utf-8")), unique=True)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True)


@settings(max_examples=50, deadline=None)
@given(ids=STRINGS | INTEGERS)
def test_vocabulary_is_a_bijection_that_survives_arrow(ids: list[OutsideId]) -> None:
    for vocabulary in (Vocabulary(ids), Vocabulary.from_arrow(Vocabulary(ids).to_arrow())):
        assert list(vocabulary) == ids
        assert [vocabulary[dense] for dense in range(1, len(ids) + 1)] == ids
        assert vocabulary.dense_all(ids).tolist() == list(range(1, len(ids) + 1))


def test_look_up_in_every_form() -> None:
    numbers, names = Vocabulary(np.array([10, 7, -2])), Vocabulary(["10", "é", "07"])
    assert numbers.integers
    assert not names.integers
    assert [numbers.dense(value) for value in (7, np.int32(7), np.int64(-2), "10", "é", 8, "")] == [
        2,
        2,
        3,
        1,
        0,
        0,
        0,
    ]
    assert [names.dense(value) for value in (10, np.int64(10), np.str_("é"), "07", 7)] == [1, 1, 2, 3, 0]
    assert numbers.dense_all(np.array([7, 8], dtype=np.uint8)).tolist() == [2, 0]
    assert Vocabulary([np.int64(3), 4]).integers
    assert list(Vocabulary([1, "b"])) == ["1", "b"]


@pytest.mark.parametrize(
    "outside", ["007", "+7", " 7", "1_0", "-0", "7.0", "\u0667", "9" * 5000, 10**400, ""]
)
def test_only_the_one_way_to_write_an_integer_names_it(outside: OutsideId) -> None:
    assert Vocabulary([7, 10, 0]).dense(outside) == 0


@pytest.mark.parametrize(
    "outside", [None, True, 5.7, 5.0, float("inf"), float("nan"), b"5", np.bool_(True), [5]]
)
@pytest.mark.parametrize("ids", [[5, 1], ["5", "1", "True", "None"]])
def test_what_is_no_id_is_refused(outside: object, ids: list[OutsideId]) -> None:
    for ask in (
        Vocabulary(ids).dense,
        lambda value: Vocabulary(ids).dense_all([value]),
        lambda value: Vocabulary([value]),
    ):
        with pytest.raises(DataError, match="not an id of an item or user"):
            ask(outside)  # type: ignore[arg-type]


@pytest.mark.parametrize("ids", ["abc", b"abc", None, 5, np.array(5)])
def test_a_text_is_no_list_of_ids(ids: object) -> None:
    with pytest.raises(DataError, match="not a list of ids"):
        Vocabulary(["a", "b", "c"]).dense_all(ids)  # type: ignore[arg-type]


def test_integers_beyond_64_bits_are_kept_as_text() -> None:
    ids = np.array([2**63 + 5, 3], dtype=np.uint64)
    assert list(Vocabulary(ids)) == ["9223372036854775813", "3"]
    assert Vocabulary(ids).dense_all(ids).tolist() == [1, 2]


def test_two_ids_that_are_the_same_as_text_are_refused() -> None:
    with pytest.raises(DataError, match="two ids are the same as text"):
        Vocabulary([1, "1"]).dense("1")


@pytest.mark.parametrize("dense", [0, -1, 4])
def test_padding_and_mask_have_no_outside_id(dense: int) -> None:
    with pytest.raises(IndexError, match=rf"dense id {dense} is not in 1\.\.3"):
        Vocabulary([5, 6, 7])[dense]
    with pytest.raises(IndexError):
        Vocabulary([5, 6, 7]).outside_all(np.array([1, dense]))


@pytest.mark.parametrize("ids", [[5, -7, 2**62], ["a", "ü", "5", ""], ["a", 5], []])
def test_outside_ids_of_many_are_those_of_each(ids: list[OutsideId]) -> None:
    items, rng = Vocabulary(ids), np.random.default_rng(0)
    dense = rng.integers(1, len(ids) + 1, size=50) if ids else np.empty(0, dtype=np.int64)
    found = items.outside_all(dense)
    assert found == [items[one] for one in dense.tolist()]
    assert list(map(type, found)) == [type(items[one]) for one in dense.tolist()]


def test_take() -> None:
    assert list(Vocabulary(["a", "b", "c"]).take(np.array([2, 0]))) == ["c", "a"]


@pytest.mark.parametrize("ids", [pa.array([1, 1]), pa.array(["a", None]), pa.array([1.5])])
def test_foreign_arrays_are_no_vocabulary(ids: pa.Array) -> None:
    with pytest.raises(DataError, match="not a vocabulary"):
        Vocabulary.from_arrow(ids)


def example(times: bool = True) -> SequenceData:
    return SequenceData(
        items=np.array([2, 1, 2, 3], dtype=np.int32),
        offsets=np.array([0, 3, 4]),
        item_ids=Vocabulary(["ä", "b", "日本"]),
        user_ids=Vocabulary([7, 9]),
        times=np.array([1, 2, 2, 5]) if times else None,
        name="toy",
    )


@pytest.mark.parametrize("times", [True, False])
def test_saved_data_come_back_mapped(tmp_path: Path, times: bool) -> None:
    data = example(times)
    data.save(tmp_path / "data")
    data.save(tmp_path / "data")
    found = SequenceData.load(tmp_path / "data")
    assert found.fingerprint == data.fingerprint
    assert found.name == data.name
    assert (list(found.item_ids), list(found.user_ids)) == (list(data.item_ids), list(data.user_ids))
    assert (None if found.times is None else found.times.tolist()) == ([1, 2, 2, 5] if times else None)
    assert isinstance(found.items.base, np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_foreign_directory_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="does not hold prepared data"):
        example().save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "name", ["items.npy", "offsets.npy", "times.npy", "items.parquet", "users.parquet", "meta.json"]
)
def test_damage_is_one_line(tmp_path: Path, name: str) -> None:
    for damage in ("cut", "gone", "foreign"):
        path = tmp_path / damage
        example().save(path)
        if damage == "cut":
            (path / name).write_bytes((path / name).read_bytes()[:-3])
        elif damage == "gone":
            (path / name).unlink()
        else:
            (path / name).write_bytes(b"something else entirely")
        with pytest.raises(DataError, match=str(path)) as caught:
            SequenceData.load(path)
        assert "\n" not in str(caught.value)


def test_files_of_different_data_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for name, values in {
        "items.npy": np.array([2, 1, 3, 3], dtype=np.int32),
        "times.npy": np.array([1, 2]),
    }.items():
        example().save(path)
        np.save(path / name, values)
        with pytest.raises(DataError, match="do not belong together"):
            SequenceData.load(path)
    example().save(path)
    np.save(path / "items.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(DataError, match=r"items\.npy: damaged"):
        SequenceData.load(path)
    example().save(path)
    replace(example(), item_ids=Vocabulary(["x", "y", "z"])).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "items.parquet", path / "items.parquet")
    with pytest.raises(DataError, match="do not belong together"):
        SequenceData.load(path)
    example().save(path)
    np.save(path / "times.npy", np.array([1, 2, 3, 5]))
    with pytest.raises(DataError, match="do not belong together"):
        SequenceData.load(path)
    example().save(path)
    pq.write_table(pa.table({"id": [7]}), path / "users.parquet")
    with pytest.raises(DataError, match="do not belong together"):
        SequenceData.load(path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    example().save(tmp_path / "data")
    meta = tmp_path / "data" / "meta.json"
    for change, message in (
        ({"format": 99}, "written in format 99"),
        ({"kind": "x"}, "not a directory of prepared"),
        ({"name": 5}, r"meta\.json: name = 5: should be a valid string; prepare the data again"),
        ({"times": True}, r"meta\.json: times = True: should be a valid string"),
    ):
        saved = json.loads(meta.read_text())
        meta.write_text(json.dumps(saved | change))
        with pytest.raises(DataError, match=message):
            SequenceData.load(tmp_path / "data")
        meta.write_text(json.dumps(saved))


def test_fingerprint_sees_items_borders_and_catalogue() -> None:
    data = example()
    changed = [
        replace(data, items=np.array([2, 1, 3, 3], dtype=np.int32)),
        replace(data, offsets=np.array([0, 2, 4])),
        replace(data, item_ids=Vocabulary(["a", "b", "c", "d"])),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in changed)}) == 4
    assert replace(data, name="other", times=None).fingerprint == data.fingerprint


def test_times_have_a_checksum_of_their_own() -> None:
    data = example()
    assert data.times_checksum == replace(data, times=np.array([1, 2, 2, 5])).times_checksum
    assert data.times_checksum != replace(data, times=np.array([1, 2, 3, 5])).times_checksum
    assert data.provenance.times == data.times_checksum
    assert data.same_rows(replace(data, item_ids=Vocabulary(["a", "b", "c"])))
    assert not data.same_rows(replace(data, times=None))
    assert replace(data, times=None).times_checksum is None


def test_popularity() -> None:
    assert example().popularity.tolist() == [0, 1, 2, 1]
