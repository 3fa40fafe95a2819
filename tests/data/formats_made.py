"""Random logs written in every supported text format, and the sequences that a reader must find in them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Row = tuple[str, str, int]
START = 1_400_000_000

PACKED: dict[str, Callable[[str, bytes], bytes]] = {
    "": lambda _, content: content,
    ".gz": lambda _, content: gzip.compress(content, 1),
    ".bz2": lambda _, content: bz2.compress(content, 1),
    ".zst": lambda _, content: pa.compress(content, "zstd", asbytes=True),
    ".zip": lambda name, content: _zipped(name, content),
}


def _zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(name, content)
        packed.writestr("README", b"not a log")
    return file.getvalue()


@dataclass
class Layout:
    """How a log is written, and the options needed to read it."""

    form: str
    sign: str = ","
    header: bool = True
    order: tuple[int, ...] = (0, 1, 2, 3)
    quoted: bool = False
    around: str = ""
    end: str = "\n"
    encoding: str = "utf-8"
    packed: str = ""
    ending: str = ".csv"
    options: dict[str, Any] = field(default_factory=dict)


def layouts() -> st.SearchStrategy[Layout]:
    """Random layouts of every form."""
    delimited = st.builds(
        Layout,
        st.just("delimited"),
        st.sampled_from([",", "\t", ";", "|", "::", " "]),
        st.booleans(),
        st.permutations([0, 1, 2, 3]).map(tuple),
        st.booleans(),
        st.sampled_from(["", " "]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from(["utf-8", "latin-1", "utf-16"]),
        st.sampled_from(sorted(PACKED)),
        st.sampled_from([".csv", ".dat", ".txt", ".tsv"]),
    )
    others = st.builds(
        Layout,
        st.sampled_from(["json", "literal", "lines", "colon", "pairs", "lists", "events"]),
        encoding=st.sampled_from(["utf-8", "latin-1"]),
        packed=st.sampled_from(sorted(PACKED)),
        end=st.sampled_from(["\n", "\r\n"]),
    )
    return delimited | others


def rows() -> st.SearchStrategy[list[Row]]:
    """Rows of a few users in time order, with ids that need no quotes in any format."""
    users, items = st.integers(1, 5), st.integers(1, 30)
    pairs = st.lists(st.tuples(users, items), min_size=4, max_size=40)
    return pairs.map(
        lambda found: [
            (f"u{user}", f"i{item}é", START + 60 * place) for place, (user, item) in enumerate(found)
        ]
    )


def write(folder: Path, made: list[Row], layout: Layout) -> tuple[Path, dict[str, Any]]:
    """Write the rows; returns the path, and the options needed to read it."""
    text, ending, options = _WRITERS[layout.form](made, layout)
    if layout.encoding != "utf-8":
        options["encoding"] = layout.encoding
    name = f"log{ending}"
    path = folder / (name + layout.packed)
    path.write_bytes(PACKED[layout.packed](name, text.encode(layout.encoding)))
    return path, options


def plain(made: list[Row]) -> dict[str, list[str]]:
    """What reading a log must give: the items of each user, in time order."""
    found: dict[str, list[str]] = {}
    for user, item, _ in sorted(made, key=lambda row: row[2]):
        found.setdefault(user, []).append(item)
    return found


def _delimited(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    fields = [[user, item, "4.5", str(time)] for user, item, time in made]
    lines = [["user", "item", "rating", "time"], *fields] if layout.header else fields
    quoted = layout.quoted and layout.sign not in ("::", " ")
    file = io.StringIO()
    if quoted:
        writer = csv.writer(file, delimiter=layout.sign, lineterminator=layout.end, quoting=csv.QUOTE_ALL)
        writer.writerows([line[place] for place in layout.order] for line in lines)
    else:
        for line in lines:
            parts = [layout.around + line[place] + layout.around for place in layout.order]
            file.write(layout.sign.join(parts) + layout.end)
    return file.getvalue(), layout.ending, {}


def _json(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    objects = [{"user_id": user, "asin": item, "ts": time} for user, item, time in made]
    write = json.dumps if layout.form == "json" else repr
    return layout.end.join(map(write, objects)), ".json", {}


def _lines(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    behind = ":" if layout.form == "colon" else " "
    return (
        "".join(f"{user}{behind}{' '.join(items)}{layout.end}" for user, items in plain(made).items()),
        ".txt",
        {},
    )


def _pairs(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    return "".join(f"{user} {item}{layout.end}" for user, item, _ in made), ".txt", {}


def _lists(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    text = "".join(f"{user}\t{' '.join(items)}{layout.end}" for user, items in plain(made).items())
    return f"session\titems:token_seq{layout.end}{text}", ".tsv", {}


def _events(made: list[Row], layout: Layout) -> tuple[str, str, dict[str, Any]]:
    sessions: dict[str, list[dict[str, Any]]] = {}
    for user, item, time in made:
        sessions.setdefault(user, []).append({"aid": item, "ts": time})
    lines = [json.dumps({"session": user, "events": events}) for user, events in sessions.items()]
    return layout.end.join(lines), ".jsonl", {}


_WRITERS = {
    "delimited": _delimited,
    "json": _json,
    "literal": _json,
    "lines": _lines,
    "colon": _lines,
    "pairs": _pairs,
    "lists": _lists,
    "events": _events,
}
