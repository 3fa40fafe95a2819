"""Training, validation and test files as one log: hand-written sequences, and leave-one-out in three files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mclrec
from mclrec.data.intake import PartsTaken
from mclrec.data.intake_text import Warned, intake_lines, intake_warnings
from mclrec.data.loading import load, prepare, read_again
from mclrec.data.measures import intake_of
from mclrec.data.sequences import SequenceData
from mclrec.data.split import by_files, leave_one_out, make_split
from mclrec.errors import ConfigError, DataError, MclrecError

TRAIN = "user,item,time\n1,a,1\n1,b,2\n2,a,1\n2,c,2\n3,b,5\n"
VALID = "user,item,time\n1,c,3\n1,d,4\n2,b,3\n"
TEST = "user,item,time\n1,a,9\n2,e,9\n3,a,6\n4,a,1\n4,b,2\n"


def write(
    folder: Path, train: str = TRAIN, valid: str = VALID, test: str = TEST, ending: str = ".csv"
) -> str:
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{name}{ending}").write_text(text)
    return str(folder / f"train{ending}")


def read(folder: Path, ending: str = ".csv", **options: Any) -> SequenceData:
    paths = {name: str(folder / f"{name}{ending}") for name in ("train", "valid", "test")}
    return prepare(paths.pop("train"), **(paths | options))


def histories(data: SequenceData) -> dict[Any, list[Any]]:
    return {
        data.user_ids[row + 1]: [data.item_ids[int(item)] for item in data.sequence(row)]
        for row in range(data.num_users)
    }


def taken(data: SequenceData) -> PartsTaken:
    found = intake_of(data).parts
    assert found is not None
    return found


def warned_of(data: SequenceData) -> list[Warned]:
    return intake_warnings(intake_of(data))


def targets(data: SequenceData, part: str) -> dict[Any, tuple[list[Any], Any]]:
    found = by_files(data).validation if part == "validation" else by_files(data).test
    packed = found.histories(np.arange(len(found)))
    return {
        data.user_ids[int(user) + 1]: (
            [data.item_ids[int(item)] for item in packed[row]],
            data.item_ids[int(found.items[row])],
        )
        for row, user in enumerate(found.users)
    }


@pytest.mark.parametrize("engine", ["duckdb", "polars", "pandas"])
def test_sequences_and_targets_are_those_of_the_files(tmp_path: Path, engine: str) -> None:
    write(tmp_path)
    data = read(tmp_path, engine=engine)
    assert histories(data) == {1: list("abcda"), 2: list("acbe"), 3: list("ba"), 4: list("ab")}
    training = by_files(data).training
    assert histories(training) == {1: ["a", "b"], 2: ["a", "c"], 3: ["b"], 4: []}
    assert targets(data, "validation") == {1: (["a", "b"], "c"), 2: (["a", "c"], "b")}
    assert targets(data, "test") == {
        1: (list("abcd"), "a"),
        2: (list("acb"), "e"),
        3: (["b"], "a"),
        4: (["a"], "b"),
    }
    assert data.fingerprint == read(tmp_path).fingerprint


def test_the_order_of_files_goes_before_the_times_and_that_is_told(tmp_path: Path) -> None:
    write(tmp_path, valid="user,item,time\n1,c,0\n2,b,3\n")
    data = read(tmp_path)
    assert histories(data)[1] == list("abca")
    [warned] = [warned for warned in warned_of(data) if warned.kind == "parts"]
    assert warned.text.startswith("1 of 4 users")


def test_a_row_in_two_files_is_counted_and_may_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, test=TEST + "1,a,1\n")
    data = read(tmp_path)
    parts = taken(data)
    assert parts.leaked == 1
    assert "leak" in [warned.kind for warned in warned_of(data)]
    dropped = read(tmp_path, drop_duplicates=True)
    assert (dropped.num_interactions, taken(dropped).leaked) == (data.num_interactions - 1, 0)
    assert histories(dropped)[1] == list("abcda")


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    data = read(tmp_path)
    parts = taken(data)
    assert (parts.rows, parts.untrained, intake_of(data).left.unmeasured) == (
        (5, 3, 5),
        1,
        0,
    )
    assert intake_of(data).read.rows == 13
    [line] = [text for label, text in intake_lines(intake_of(data)) if label == "split"]
    assert line.startswith("by files, no k-core: 5 for training (")


@pytest.mark.parametrize(
    ("test", "ids"),
    [("user,item,time\n1,7,9\n2,9,9\n", [7, 8, 9]), ("user,item,time\n1,7,9\n2,x,9\n", ["7", "8", "x"])],
)
def test_ids_are_those_of_one_file(tmp_path: Path, test: str, ids: list[Any]) -> None:
    write(tmp_path, "user,item,time\n1,7,1\n2,8,1\n", "user,item,time\n1,8,2\n", test)
    assert list(read(tmp_path).item_ids) == ids


def test_ids_that_one_file_would_write_in_another_way_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        "user,item,time\n1,7.0,1\n2,8.0,1\n",
        "user,item,time\n1,8.0,2\n",
        "user,item,time\n1,7.0,9\n2,x,9\n",
    )
    with pytest.raises(
        DataError, match=r"test.csv: the item column holds text, but that of .*train.csv integers"
    ):
        read(tmp_path)


def test_frames_beside_a_frame(tmp_path: Path) -> None:
    write(tmp_path)
    frames = {name: pl.read_csv(tmp_path / f"{name}.csv") for name in ("train", "valid", "test")}
    kinds: list[Callable[[pl.DataFrame], Any]] = [
        pl.DataFrame.lazy,
        pl.DataFrame.to_pandas,
        pl.DataFrame.to_arrow,
    ]
    for convert in kinds:
        made = {name: convert(frame) for name, frame in frames.items()}
        data = prepare(made["train"], valid=made["valid"], test=made["test"])
        assert data.fingerprint == read(tmp_path).fingerprint
        with pytest.raises(ConfigError, match="give paths if the log is a path"):
            prepare(made["train"], valid=str(tmp_path / "valid.csv"), test=made["test"])
        with pytest.raises(DataError, match="is read for both valid and test"):
            prepare(made["train"], valid=made["valid"], test=made["valid"])
        with pytest.raises(DataError, match=r"the test set: polars|the test set: .*unknown column 'item'"):
            prepare(
                made["train"], valid=made["valid"], test=convert(frames["test"].rename({"item": "thing"}))
            )


def test_integers_beside_text_in_frames_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    frames = [pl.read_csv(tmp_path / f"{name}.csv") for name in ("train", "valid", "test")]
    frames[2] = frames[2].with_columns(pl.col("user").cast(pl.String))
    with pytest.raises(DataError, match="the user column holds text"):
        prepare(frames[0], valid=frames[1], test=frames[2])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"test": "user,thing,time\n1,a,9\n"}, r"test.csv: .*'item'"),
        ({"valid": "user,item,time\n"}, "valid.csv: has a header and no rows"),
        ({"valid": "user,item,time\n7,a,1\n8,b,1\n"}, "valid.csv: shares no user with .*train.csv"),
        ({"test": "user,item,time\n1,a,1700000000000\n"}, None),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, parts: dict[str, str], message: str | None) -> None:
    write(tmp_path, **parts)
    if message is None:
        read(tmp_path)  # small numbers are not dates, so a different unit goes unnoticed
        return
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path)
    assert len(str(raised.value)) <= 300 + 3 * len(str(tmp_path))


def test_times_in_other_units_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        "user,item,time\n1,a,1700000000\n2,b,1700000000\n",
        "user,item,time\n1,b,1700000001\n",
        "user,item,time\n1,c,1700000002000\n",
    )
    with pytest.raises(DataError, match=r"test.csv: has times in another unit"):
        read(tmp_path)


def test_files_are_named_together_and_apart(tmp_path: Path) -> None:
    train = write(tmp_path)
    with pytest.raises(ConfigError, match="test is given without valid; a split in files needs both"):
        prepare(train, test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError, match="is read for both valid and test"):
        prepare(train, valid=str(tmp_path / "test.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError, match="is read for both the log and valid"):
        prepare(str(tmp_path), valid=str(tmp_path / "valid.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError, match=r"missing.csv: no such file"):
        prepare(train, valid=str(tmp_path / "missing.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(ConfigError, match="would change a split given in files"):
        read(tmp_path, min_count=2)
    with pytest.raises(ConfigError, match="is a named data set"):
        prepare("beauty", valid=str(tmp_path / "valid.csv"), test=str(tmp_path / "test.csv"))


def test_prepared_data_keep_their_files(tmp_path: Path) -> None:
    write(tmp_path)
    data = read(tmp_path)
    data.save(tmp_path / "kept")
    again = SequenceData.load(tmp_path / "kept")
    assert again.fingerprint == data.fingerprint
    assert again.taken == data.taken
    assert targets(again, "test") == targets(data, "test")
    (tmp_path / "kept" / "cuts.npy").unlink()
    with pytest.raises(DataError, match=r"cuts.npy"):
        SequenceData.load(tmp_path / "kept")


def test_data_are_read_again_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path())
    data = prepare("train.csv", valid="valid.csv", test="test.csv")
    assert data.origin is not None
    assert data.origin.words() == ["train.csv", "--valid", "valid.csv", "--test", "test.csv"]
    origin = type(data.origin).model_validate_json(data.origin.model_dump_json())
    monkeypatch.chdir("/")
    assert read_again(origin, "data").fingerprint == data.fingerprint


def test_other_rules_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path)
    data = read(tmp_path)
    for rule in ("leave-one-out", "time"):
        with pytest.raises(DataError, match="which are its split"):
            make_split(data, rule)
    with pytest.raises(DataError, match="name them with --valid and --test"):
        make_split(prepare(train, min_count=1), "files")
    assert len(make_split(data, "everything").training.items) == data.num_interactions


def test_lists_that_an_item_follows_are_histories(tmp_path: Path) -> None:
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    write(
        tmp_path,
        f"{head}1\ta b\tc\n2\ta\tb\n",
        f"{head}1\tb c\td\n2\ta b\tc\n9\te f\tg\n",
        f"{head}1\ta b c d\te\n2\ta b c\td\n",
        ending=".inter",
    )
    data = read(tmp_path, ".inter")
    assert histories(data) == {1: list("abcde"), 2: list("abcd"), 9: list("efg")}
    assert targets(data, "validation") == {1: (list("abc"), "d"), 2: (list("ab"), "c"), 9: (list("ef"), "g")}
    assert targets(data, "test") == {1: (list("abcd"), "e"), 2: (list("abc"), "d")}
    assert histories(by_files(data).training)[9] == []
    parts = taken(data)
    assert parts.repeated == 2 + 2 + 4 + 3


def test_lists_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    write(tmp_path, f"{head}1\ta b\tc\n", f"{head}1\tx y\td\n", f"{head}1\ta b c d\te\n", ".inter")
    with pytest.raises(DataError, match=r"valid.inter: the list of user 1 does not continue"):
        read(tmp_path, ".inter")


@pytest.mark.parametrize("repeated", [False, True])
def test_lines_of_users_continue_or_repeat_those_before(tmp_path: Path, repeated: bool) -> None:
    before = ["1 a b c\n2 a c\n", "1 d\n2 b e\n", "1 f\n2 g\n"]
    if repeated:
        before[1:] = ["1 a b c d\n2 a c b e\n", "1 a b c d f\n2 a c b e g\n"]
    train, valid, test = before
    write(tmp_path, train, valid, test, ending=".txt")
    data = read(tmp_path, ".txt")
    assert histories(data) == {1: list("abcdf"), 2: list("acbeg")}
    assert targets(data, "validation") == {1: (list("abc"), "d"), 2: (list("ac"), "b")}


LOGS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=7), min_size=2, max_size=8)


@settings(max_examples=4, deadline=None)
@given(LOGS, st.booleans(), st.integers(0, 2**32))
def test_leave_one_out_in_three_files_is_leave_one_out(
    tmp_path_factory: pytest.TempPathFactory, logs: list[list[int]], timed: bool, seed: int
) -> None:
    logs = [[1, 2, 3], *logs]
    folder, rng = tmp_path_factory.mktemp("log"), random.Random(seed)
    head = "user,item,time" if timed else "user,item"
    files: dict[str, list[str]] = {name: [] for name in ("whole", "train", "valid", "test")}
    for user, items in enumerate(logs):
        for place, item in enumerate(items):
            row = f"{user},{item}" + (f",{place}" if timed else "")
            left = len(items) - place
            name = "train" if left > 2 or len(items) < 3 else "valid" if left == 2 else "test"
            for kept in ("whole", name):
                files[kept].append(row)
    for name, rows in files.items():
        if timed:
            rng.shuffle(rows)
        (folder / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
    columns = mclrec.Columns(file_order=not timed)
    whole = prepare(folder / "whole.csv", min_count=1, columns=columns)
    parted = read(folder, columns=columns)
    assert histories(parted) == histories(whole)
    first, second = leave_one_out(whole), by_files(parted)
    assert first.training.fingerprint == second.training.fingerprint
    for part in ("validation", "test"):
        assert np.array_equal(first.targets(part).places, second.targets(part).places)
        assert np.array_equal(first.targets(part).users, second.targets(part).users)


def test_a_run_on_files_measures_what_leave_one_out_measures(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [
        (user, int(item), place) for user in range(30) for place, item in enumerate(rng.integers(0, 12, 6))
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    frame.write_csv(tmp_path / "log.csv")
    for name, chosen in (
        ("train", pl.col("time") < 4),
        ("valid", pl.col("time") == 4),
        ("test", pl.col("time") == 5),
    ):
        frame.filter(chosen).write_csv(tmp_path / f"{name}.csv")
    parts = mclrec.Reading(valid=tmp_path / "valid.csv", test=tmp_path / "test.csv")
    whole = mclrec.train(
        tmp_path / "log.csv",
        "markov",
        out=tmp_path / "whole",
        progress=False,
        reading=mclrec.Reading(min_count=1),
    )
    run = mclrec.train(tmp_path / "train.csv", "markov", out=tmp_path / "run", progress=False, reading=parts)
    assert run.metrics == whole.metrics
    assert (run.info.split, whole.info.split) == ("files", "leave-one-out")
    assert f"--valid {tmp_path}/valid.csv --test {tmp_path}/test.csv" in run.info.command
    assert mclrec.evaluate(run).metrics == mclrec.evaluate(whole).metrics
    with pytest.raises(MclrecError, match="was split by"):
        mclrec.compare([run, whole])
    with pytest.raises(ConfigError, match="cannot be used with a log that comes in files"):
        mclrec.train(tmp_path / "train.csv", "markov", split="leave-one-out", reading=parts)
    data = load(tmp_path / "train.csv", reading=parts)
    data.save(tmp_path / "kept")
    again = mclrec.train(tmp_path / "kept", "markov", out=tmp_path / "again", progress=False)
    assert (again.info.split, again.metrics) == ("files", run.metrics)
