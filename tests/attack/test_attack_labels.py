"""Random logs with a label column: targets have the label of their row, or the log is refused with a one-line error."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack

from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets
from mclrec.data.target_labels import TargetLabels, read_labels
from mclrec.data.typed_text import WORDS_FOR_NOTHING
from mclrec.errors import MclrecError
from mclrec.evaluation.slices import label_slicing

pytestmark = pytest.mark.attack

_LABELS = [
    "de",
    "DE",
    "é",
    "日本",
    "a b",
    'say "x"',
    "a,b",
    "007",
    "7.0",
    "true",
    "NULL",
    "NA",
    "x\ty",
    "😀",
    "",
]
_KINDS = [".csv", ".tsv", ".jsonl", ".parquet", "frame"]

Row = tuple[int, str, int, str]


def random_rows(rng: np.random.Generator) -> list[Row]:
    size = int(rng.integers(3, 40))
    users, items, times = rng.integers(0, 5, size), rng.integers(0, 6, size), rng.integers(0, 9, size)
    labels = rng.choice(_LABELS, size)
    return [
        (int(user), f"i{item}", int(time), str(label))
        for user, item, time, label in zip(users, items, times, labels, strict=True)
    ]


def written(path: Path, rows: list[Row]) -> None:
    names = ("user", "item", "time", "kind of day")
    if path.suffix == ".parquet":
        pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        text = io.StringIO()
        csv.writer(text, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *rows])
        path.write_text(text.getvalue(), encoding="utf-8", newline="")


def everything(data: SequenceData) -> Targets:
    owners = np.repeat(np.arange(data.num_users), data.lengths)
    return Targets(data, owners, np.arange(data.num_interactions))


def read_or_refused(source: Any, place: Path, given: Any = None) -> tuple[SequenceData, TargetLabels] | None:
    try:
        data = load(source, min_count=1)
        return data, read_labels(everything(data), "kind of day", given)
    except MclrecError as problem:
        text = str(problem)
        assert text.count("\n") <= 1
        assert len(text) <= 300 + len(str(place))
        return None


def test_labels_are_those_of_the_rows(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        rows, kind = random_rows(rng), str(rng.choice(_KINDS))
        path = tmp_path / f"log{kind}"
        frame = pd.DataFrame(rows, columns=["user", "item", "time", "kind of day"])
        if kind == "frame":
            found = read_or_refused(frame, path, frame)
        else:
            written(path, rows)
            found = read_or_refused(path, path)
        assert found is not None
        data, labels = found
        nothing = {""} if kind in ("frame", ".parquet") else {"", *WORDS_FOR_NOTHING}
        expected: dict[tuple[str, str, int], str | None] = {}
        for user, item, time, label in rows:
            expected.setdefault((str(user), item, time), None if label in nothing else label)
        targets = everything(data)
        assert data.times is not None
        keys = [
            (str(data.user_ids[user + 1]), str(data.item_ids[item]), time)
            for user, item, time in zip(
                targets.users.tolist(), targets.items.tolist(), data.times.tolist(), strict=True
            )
        ]
        assert list(labels.values) == [expected[key] for key in keys]
        slicing = label_slicing(labels)
        assert sum(len(part.rows) for part in slicing.slices()) == len(targets)
        if kind == "frame":
            continue
        path.write_bytes(damaged(path.read_bytes(), rng))
        read_or_refused(path, path)
