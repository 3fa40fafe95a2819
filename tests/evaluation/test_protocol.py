from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mclrec.data.parquet_files import write_parquet
from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import DataError
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Protocol, Result, library_versions, load_ranks


def result(user_ids: list[OutsideId]) -> Result:
    data = SequenceData(
        np.array([1, 2, 1, 3, 1, 3, 2], dtype=np.int32),
        np.array([0, 3, 7]),
        Vocabulary(["ä", "b", "ç"]),
        Vocabulary(user_ids),
        name="tiny",
    )
    split = leave_one_out(data)
    return Result(
        model="markov",
        protocol=Protocol(seen="drop"),
        metrics={"HR@1": 0.5},
        ranks=np.array([MISS, 1]),
        targets=split.test,
        popularity=split.training.popularity,
        seed=7,
        config={"window": 1},
        versions=library_versions(),
        seconds=0.12345,
    )


def test_label_and_description() -> None:
    assert Protocol(seen="keep").label == "U"
    assert Protocol(seen="drop").label == "F"
    assert "validation targets of the by-time split" in Protocol("validation", "keep", "by-time").description
    assert "stay candidates" in Protocol(seen="keep").description
    assert "is a miss" in Protocol(seen="drop").description


def test_record_is_json_and_complete() -> None:
    record = json.loads(json.dumps(result([10, 20]).to_json(), allow_nan=False))
    assert record["protocol"]["label"] == "F"
    assert record["fingerprint"] == result([10, 20]).targets.data.fingerprint
    assert (record["model"], record["data"], record["seed"], record["num_targets"]) == (
        "markov",
        "tiny",
        7,
        2,
    )
    assert record["config"] == {"window": 1}
    assert set(record["versions"]) == {"python", "mclrec", "torch", "numpy"}
    assert "ranks" not in record


@pytest.mark.parametrize("user_ids", [[10, 20], ["Zoë", "3"]])
def test_ranks_survive_the_file(tmp_path: Path, user_ids: list[OutsideId]) -> None:
    path = tmp_path / "new" / "ranks.parquet"
    result(user_ids).save_ranks(path, "abc")
    table = load_ranks(path)
    assert table.users == user_ids
    assert table.items == ["ä", "b"]
    assert table.ranks.tolist() == [MISS, 1]
    assert table.history_lengths.tolist() == [2, 3]
    assert table.in_history.tolist() == [True, False]
    assert table.popularity.tolist() == [2, 0]  # training items: 1 of the first user, 3 and 1 of the second
    assert table.about == json.loads(json.dumps(result(user_ids).to_json() | {"weights": "abc"}))
    assert len(table) == 2
    assert [file.name for file in path.parent.iterdir()] == ["ranks.parquet"]


def test_a_miss_of_an_earlier_version_is_beyond_every_cut(tmp_path: Path) -> None:
    """Earlier versions wrote a miss as rank V + 1, which a longer list would have counted as a hit."""
    old = replace(result([10, 20]), ranks=np.array([4, 3]))
    old.save_ranks(tmp_path / "ranks.parquet", "abc")
    assert load_ranks(tmp_path / "ranks.parquet").ranks.tolist() == [MISS, 3]


def test_same_targets() -> None:
    table = result([10, 20]).table("abc")
    assert table.same_targets(result([10, 20]).table("abc"))
    assert not table.same_targets(result([10, 30]).table("abc"))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_ranks(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("rank\n1\n")
    with pytest.raises(DataError, match="it has no checksum; measure again"):
        load_ranks(tmp_path / "text.parquet")
    write_parquet(tmp_path / "other.parquet", pa.table({"user": [1]}))
    with pytest.raises(DataError, match="not a file of ranks"):
        load_ranks(tmp_path / "other.parquet")
