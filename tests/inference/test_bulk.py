"""Recommendations for all users: complete, the same however often interrupted, and never mixed between requests."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import tiny_data, write_log

from mclrec.cli.commands.recommend import read_ids
from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, DataError, InUseError, OutputError
from mclrec.inference import bulk
from mclrec.inference.model import Model
from mclrec.locks import lock_in
from mclrec.models import directory, registry, storage
from mclrec.models.storage import save_model

DATA = tiny_data()


@pytest.fixture(autouse=True)
def seven_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_USERS", 7)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run", DATA)


def save(directory: Path, data: SequenceData) -> Path:
    model_class = registry.model_class("markov")
    model = model_class(model_class.config_type(), data.num_items)
    model.on_fit_start(data)
    save_model(directory, name="markov", model=model, items=data.item_ids, counts=data.popularity)
    return directory


def interrupt(model: Model, out: Path, blocks: int, k: int = 3, allow: Sequence[Any] | None = None) -> None:
    """Fail as on a full disk after the given number of blocks."""
    real, calls = bulk._table, []

    def table(*args: Any) -> Any:
        calls.append(1)
        if len(calls) > blocks:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_table", table)
        with pytest.raises(OutputError, match="no room left"):
            model.recommend_file(DATA, out, k, allow=allow)


def test_goes_on_where_it_stopped(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model.load(run)
    model.recommend_file(DATA, tmp_path / "whole.parquet", 3)
    interrupt(model, tmp_path / "recs.parquet", 2)
    parts = tmp_path / "recs.parquet.parts"
    done = sorted(parts.glob("*.parquet"))
    assert len(done) == 2
    assert not (tmp_path / "recs.parquet").exists()
    seen, real = [], bulk._table

    def table(made: Any, rows: Any, *rest: Any) -> Any:
        seen.append(int(rows[0]))
        return real(made, rows, *rest)

    monkeypatch.setattr(bulk, "_table", table)
    assert Model.load(run).recommend_file(DATA, tmp_path / "recs.parquet", 3) == DATA.num_users
    assert seen == [14, 21, 28, 35]
    assert pq.read_table(tmp_path / "recs.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not parts.exists()


@pytest.mark.parametrize("changed", ["k", "include_seen", "exclude", "allow", "model", "log"])
def test_another_batch_is_refused(changed: str, tmp_path: Path, run: Path) -> None:
    interrupt(Model.load(run), tmp_path / "recs.parquet", 1)
    other = tiny_data(seed=1)
    model = Model.load(save(tmp_path / "other", other) if changed == "model" else run)
    with pytest.raises(
        ConfigError, match=rf"recs\.parquet\.parts: unfinished .* with another {changed}: repeat"
    ):
        model.recommend_file(
            other if changed == "log" else DATA,
            tmp_path / "recs.parquet",
            4 if changed == "k" else 3,
            include_seen=changed == "include_seen",
            exclude=["item 001"] if changed == "exclude" else (),
            allow=["item 001"] if changed == "allow" else None,
        )
    assert Model.load(run).recommend_file(DATA, tmp_path / "recs.parquet", 3) == DATA.num_users


def test_the_order_of_allowed_and_excluded_items_has_no_effect(tmp_path: Path, run: Path) -> None:
    """That of a set of texts differs between processes."""
    model, out, items = Model.load(run), tmp_path / "recs.parquet", list(DATA.item_ids)
    interrupt(model, out, 1, allow=items)
    assert model.recommend_file(DATA, out, 3, allow=items[::-1]) == DATA.num_users


def test_a_list_of_items_has_an_id_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("\ufeffa\u2028b\r\n\n c \nd\x85e".encode())
    assert read_ids(tmp_path / "ids.txt") == ["a\u2028b", "c", "d\x85e"]


def test_a_link_that_is_switched_while_a_model_loads(tmp_path: Path, run: Path) -> None:
    """Items and weights are those of one model, although both have as many."""
    link, real = tmp_path / "live", directory.read_items
    other = save(tmp_path / "other", replace(DATA, items=DATA.items[::-1].copy()))
    link.symlink_to(run)

    def switched(*args: Any) -> Any:
        link.unlink()
        link.symlink_to(other)
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "read_items", switched)
        found = Model.load(link).recommend(["item 003"])
    wanted, later = (Model.load(one).recommend(["item 003"]) for one in (run, link))
    assert found == wanted != later


def test_one_process_at_a_time(tmp_path: Path, run: Path) -> None:
    parts = tmp_path / "recs.parquet.parts"
    parts.mkdir()
    (parts / "state.json").write_text("{}")
    with lock_in(parts), pytest.raises(InUseError, match="another process is writing there"):
        Model.load(run).recommend_file(DATA, tmp_path / "recs.parquet", 3)
    assert [path.name for path in parts.iterdir()] == ["state.json"], "what the other process has"


def test_the_log_itself_and_what_is_no_file_are_not_replaced(tmp_path: Path, run: Path) -> None:
    log = write_log(tmp_path / "log.csv", DATA)
    before = log.read_bytes()
    (tmp_path / "link.csv").symlink_to(log)
    os.mkfifo(tmp_path / "pipe.csv")
    model = Model.load(run)
    for out, message in (
        ("log.csv", "is read by the same command"),
        ("link.csv", "is read by the same command"),
        ("pipe.csv", "is a device or a pipe"),
    ):
        with pytest.raises(OutputError, match=message):
            model.recommend_file(log, tmp_path / out, 3)
    assert log.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "log.csv", "pipe.csv", "run"]


def test_prepared_users_are_not_read_differently(tmp_path: Path, run: Path) -> None:
    model = Model.load(run)
    DATA.save(tmp_path / "prepared")
    users: list[Any] = [DATA, tmp_path / "prepared", str(tmp_path / "prepared")]
    for source in users:
        for option in ({"columns": Columns(user="customer")}, {"reading": Reading(where="item = 'a'")}):
            with pytest.raises(DataError, match="is already prepared; give the log itself"):
                model.recommend_file(source, tmp_path / "recs.parquet", 3, **option)
        assert model.recommend_file(source, tmp_path / "recs.parquet", 3) == DATA.num_users


PROGRAM = """
import os, signal, sys
from pathlib import Path
from mclrec.inference import bulk
from mclrec.inference.model import Model

bulk._USERS, real, kill = 7, bulk._table, len(sys.argv) > 4
def table(made, rows, *rest):
    if kill and rows[0] == 21:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(made, rows, *rest)
bulk._table = table
Model.load(sys.argv[1]).recommend_file(sys.argv[2], sys.argv[3], 3)
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_with(tmp_path: Path, run: Path) -> None:
    log = write_log(tmp_path / "log.csv", DATA)
    words = [sys.executable, "-c", PROGRAM, str(run), str(log), str(tmp_path / "recs.parquet")]
    killed = subprocess.run([*words, "kill"], check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "recs.parquet.parts").glob("*.parquet"))) == 3
    assert not (tmp_path / "recs.parquet").exists()
    subprocess.run(words, check=True)
    found = pq.read_table(tmp_path / "recs.parquet")
    Model.load(run).recommend_file(log, tmp_path / "whole.parquet", 3)
    assert found.equals(pq.read_table(tmp_path / "whole.parquet"))
    assert np.array_equal(found["rank"].to_numpy()[:3], [1, 2, 3])
    assert not (tmp_path / "recs.parquet.parts").exists()


# -------------------------------------------------------------------------------- lists shorter than requested


@given(
    allowed=st.sets(st.integers(0, DATA.num_items - 1), max_size=8),
    unknown=st.booleans(),
    k=st.integers(1, 6),
    stopped=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_short_and_empty_lists_are_counted(allowed: set[int], unknown: bool, k: int, stopped: bool) -> None:
    """The warning about short lists matches the file, even if the file was written in two attempts."""
    allow = [DATA.item_ids[place + 1] for place in sorted(allowed)] + ["no such item"] * unknown
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(bulk, "_USERS", 7)
        model, out = Model.load(save(Path(folder) / "run", DATA)), Path(folder) / "recs.parquet"
        if stopped:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                interrupt(model, out, 1, k, allow)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.recommend_file(DATA, out, k, allow=allow)
        lengths = Counter(pq.read_table(out)["user"].to_pylist())
    short = DATA.num_users - sum(length == k for length in lengths.values())
    none = DATA.num_users - len(lengths)
    said = [str(one.message) for one in caught]
    assert sum("fewer than" in text for text in said) == (short > 0)
    for text in said:
        if "fewer than" in text:
            assert text.startswith(f"{short} list")
            assert (f", {none} of them with none:" in text) == (none > 0)
    assert ("allow: no item is in the model's catalogue" in " ".join(said)) == (unknown and not allowed)
