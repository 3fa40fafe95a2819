"""Random logs, written to files of every format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.data.logs import hash_of

from mclrec.data.columns import Columns
from mclrec.data.sequences import SequenceData
from mclrec.errors import MclrecError

Row = tuple[Any, Any, int]

NAMES = [
    "log[1]",
    "log*",
    "lo?g",
    "{a,b}",
    "a=b",
    "50% off",
    "l'og",
    'l"og',
    "lög",
    "#1 + 2",
    "-",
    "a.b.c",
    "log\udcff",
]
_SIGNS = [
    "a",
    "B",
    "é",
    "日本",
    "😀",
    "İ",
    "ﬀ",
    "-",
    "0",
    "007",
    "1.0",
    "+7",
    "1_0",
    "%",
    "'",
    "[1]",
    "nul",
    "a b",
]
_QUOTED = [",", ";", "\t", "|", '"', "::", "x\ny", 'say ""hi""', " edge ", "\x85", "\u2028", "\x01"]


@dataclass
class Made:
    """A log in a file.

    Attributes:
        path: the file, or the folder of its parts.
        content: bytes of the file; None for a folder.
        columns: column roles, where the reader has to be told.
        header: whether the file has a header, where the reader has to be told.
        rows: the interactions (user, item, time).
        ordered: whether events are ordered by row instead of by time.
    """

    path: Path
    content: bytes | None
    columns: Columns | None
    header: bool | None
    rows: list[Row]
    ordered: bool = False


def sequences(made: Made) -> dict[str, list[str]]:
    """Expected sequences of a log, from a plain implementation: rows sorted by time, then by hash."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for place, (user, item, time) in enumerate(made.rows):
        when = place if made.ordered else time
        found.setdefault(str(user), []).append((when, hash_of(user, item, int(when)), str(item)))
    return {user: [item for *_, item in sorted(rows)] for user, rows in found.items()}


def typed(made: Made) -> Made:
    """The log with `.0` removed from users or items if all of them are written as `1.0`, as readers take integers."""
    columns = list(zip(*made.rows, strict=True))
    for place, values in enumerate(columns[:2]):
        if all(re.fullmatch(r"(0|-?[1-9]\d{0,14})\.0", str(value)) for value in values):
            columns[place] = tuple(str(value).removesuffix(".0") for value in values)
    return replace(made, rows=list(zip(*columns, strict=True)))


def contents(data: SequenceData) -> dict[str, list[str]]:
    """The sequences of prepared data, in outside ids as text."""
    return {
        str(data.user_ids[row + 1]): [str(data.item_ids[item]) for item in data.sequence(row)]
        for row in range(data.num_users)
    }


def read_or_refused(read: Callable[..., SequenceData], source: Any, **options: Any) -> SequenceData | str:
    """The data, or the message of the MclrecError that refuses them, which must be short and name the source."""
    try:
        return read(source, **options)
    except MclrecError as error:
        message = str(error)
    assert message.count("\n") <= 1
    assert len(message) <= 340 + (len(str(source)) if isinstance(source, Path) else 0)
    assert not isinstance(source, Path) or ascii(str(source))[1:-1][:20] in ascii(message)
    assert "mclrec-" not in message, "names a temporary file"
    return message


def random_rows(rng: np.random.Generator, odd: list[str] | None = None) -> list[Row]:
    """Fewer than 40 rows of a few users, with ties and repeats."""
    users = _ids(rng, int(rng.integers(1, 6)), odd)
    items = _ids(rng, int(rng.integers(1, 9)), odd)
    start, step = int(rng.choice([0, -5, 10**9, 2**53, 2**62])), int(rng.choice([0, 1, 3, 1000]))
    return [
        (
            users[rng.integers(len(users))],
            items[rng.integers(len(items))],
            start + step * int(rng.integers(0, 20)),
        )
        for _ in range(rng.integers(1, 40))
    ]


def _ids(rng: np.random.Generator, count: int, odd: list[str] | None) -> list[Any]:
    kind = rng.integers(0, 3)
    if kind == 0:
        start = int(rng.choice([0, -3, 10, 2**53 - 2, 2**63 - 20]))
        return [start + place for place in range(count)]
    signs = _SIGNS if odd is None or kind == 1 else [*_SIGNS, *odd]
    texts = [
        "".join(signs[place] for place in rng.integers(0, len(signs), rng.integers(1, 4)))
        for _ in range(count)
    ]
    return list(dict.fromkeys(texts))


def random_file(folder: Path, rng: np.random.Generator) -> Made:
    """Write a random log to a file of a random format and name."""
    make = [_delimited, _delimited, _inter, _colons, _lines, _json, _array][rng.integers(7)]
    made = make(folder, rng)
    content = made.content or b""
    if rng.random() < 0.25:
        made.path = made.path.with_name(made.path.name + (".gz" if rng.random() < 0.5 else ".GZ"))
        content = gzip.compress(content, 1)
    if rng.random() < 0.3:
        made.path = made.path.with_name(made.path.name.upper())
    made.path.write_bytes(content)
    made.content = content
    return made


def _place(folder: Path, rng: np.random.Generator, ending: str) -> Path:
    inside = folder / str(rng.choice(["plain", "a=b", "x[1]", "*"]))
    inside.mkdir(exist_ok=True)
    name = str(rng.choice(NAMES)) if rng.random() < 0.5 else "log"
    return inside / (name + ending)


def _delimited(folder: Path, rng: np.random.Generator) -> Made:
    delimiter = str(rng.choice([",", ";", "|", "\t"]))
    path = _place(folder, rng, ".tsv" if delimiter == "\t" else str(rng.choice([".csv", ".dat", ".data"])))
    end = str(rng.choice(["\n", "\r\n", "\r"]))
    quoting: Any = csv.QUOTE_ALL if rng.random() < 0.5 else csv.QUOTE_MINIMAL
    others = {
        ",",
        ";",
        "\t",
        "|",
        "x\ny" if end == "\r" else "",
        "::" if quoting == csv.QUOTE_MINIMAL else "",
    }
    others -= {delimiter}
    rows = random_rows(rng, [sign for sign in _QUOTED if sign not in others])
    if quoting == csv.QUOTE_MINIMAL:  # blanks around values are kept only inside quotes
        rows = [(_bare(user), _bare(item), time) for user, item, time in rows]
    header = bool(rng.random() < 0.7)
    extra = int(rng.integers(0, 3))
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
    names = ["user", "item", "time", *["x", "y"][:extra]]
    order = rng.permutation(len(names))
    blanks = end * int(rng.integers(1, 3)) if rng.random() < 0.2 else ""
    file.write("\ufeff" * bool(rng.random() < 0.2) + blanks)
    if header:
        writer.writerow([names[place] for place in order])
    for row in rows:
        values = [*row, *["", 'a "b"', "1"][:extra]]
        writer.writerow([values[place] for place in order])
        if rng.random() < 0.1:
            file.write(end)
    where = {names[place]: str(number) for number, place in enumerate(order, start=1)}
    given = Columns(where["user"], where["item"], where["time"])
    columns = None if header else given
    return Made(path, file.getvalue().encode(), columns, header, rows)


def _bare(value: Any) -> Any:
    return value.strip(" \t") or "x" if isinstance(value, str) else value


def _inter(folder: Path, rng: np.random.Generator) -> Made:
    rows = random_rows(rng, ['"', ",", '"a', "::"])
    lines = ["item_id:token\trating:float\tuser_id:token\ttimestamp:float"]
    lines += [f"{item}\t3.5\t{user}\t{time}" for user, item, time in rows]
    return Made(_place(folder, rng, ".inter"), "\n".join(lines).encode(), None, None, rows)


def _colons(folder: Path, rng: np.random.Generator) -> Made:
    rows = random_rows(rng, ['"', ",", "|"])
    lines = [f"{user}::{item}::5::{time}" for user, item, time in rows]
    return Made(_place(folder, rng, ".dat"), "\r\n".join(lines).encode(), None, False, rows)


def _lines(folder: Path, rng: np.random.Generator) -> Made:
    rows = [(user, item, place) for place, (user, item, _) in enumerate(random_rows(rng))]
    rows = [(str(user).replace(" ", "_"), str(item).replace(" ", "_"), time) for user, item, time in rows]
    users = list(dict.fromkeys(row[0] for row in rows))
    blank = str(rng.choice([" ", "\t", "  ", " \t"]))
    lines = [blank.join([user, *(row[1] for row in rows if row[0] == user)]) for user in users]
    end = str(rng.choice(["\n", "\r\n", "\n\n", " \n"]))
    return Made(_place(folder, rng, ".txt"), (end.join(lines) + end).encode(), None, None, rows, True)


def _objects(rng: np.random.Generator) -> tuple[list[Row], list[str]]:
    rows = random_rows(rng, [*_QUOTED, "\x00", "\\"])
    objects = [
        json.dumps(
            {
                "x": [1, {"y": "z"}],
                "asin": item,
                "user_id": user,
                "timestamp": str(time) if rng.random() < 0.2 else time,
            },
            ensure_ascii=bool(rng.random() < 0.5),
        )
        for user, item, time in rows
    ]
    return rows, objects


def _json(folder: Path, rng: np.random.Generator) -> Made:
    rows, objects = _objects(rng)
    end = str(rng.choice(["\n", "\r\n", "\n\n", "\n \n"]))
    path = _place(folder, rng, str(rng.choice([".jsonl", ".ndjson", ".json"])))
    return Made(path, (end.join(objects) + end).encode(), None, None, rows)


def _array(folder: Path, rng: np.random.Generator) -> Made:
    rows, objects = _objects(rng)
    text = "[" + str(rng.choice([",", ", ", ",\n  ", "\r\n,\t"])).join(objects) + "]"
    return Made(_place(folder, rng, ".json"), text.encode(), None, None, rows)


def random_parquet(folder: Path, rng: np.random.Generator) -> Made:
    """Write a random log as Parquet, in one file or several."""
    rows = random_rows(rng, [*_QUOTED, "\x00"])
    ending = str(rng.choice([".parquet", ".pq", ".PARQUET"]))
    path = _place(folder, rng, ending)
    names = [
        str(name)
        for name in rng.choice(["a.b", 'q"x', "*", "c[0]", "user", "x'y", "é", ""], 3, replace=False)
    ]
    columns = Columns(names[0], names[1], names[2])
    table = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)
    if rng.random() < 0.5:
        pq.write_table(table, path.open("wb"), row_group_size=int(rng.integers(1, 30)))
        return Made(path, path.read_bytes(), columns, None, rows)
    path = path.with_name("parts")
    for number in range(parts := int(rng.integers(1, 4))):
        inside = path / str(rng.choice(["day=1", "x", "."]))
        inside.mkdir(parents=True, exist_ok=True)
        part = table.slice(
            number * len(rows) // parts, (number + 1) * len(rows) // parts - number * len(rows) // parts
        )
        pq.write_table(part, inside / f"p{number}{ending}")
    return Made(path, None, columns, None, rows)
