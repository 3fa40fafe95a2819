import inspect
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import mclrec
from mclrec.arguments import (
    check_callable,
    check_choice,
    check_flag,
    list_of,
    minutes_of,
    path_of,
    text_of,
    whole_number,
)
from mclrec.errors import ConfigError, EvaluationError, MclrecError
from mclrec.runs.update_request import floors
from mclrec.serving.rest.arms import check_shares


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_every_kind(value: Any) -> None:
    found = whole_number("k", value, 1, 3)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3)])
def test_numbers_of_every_kind(value: Any) -> None:
    assert minutes_of(value) == 3.0
    assert floors({"hr@5": value / 4}) == {"HR@5": 0.75}
    assert check_shares({"a": value, "b": value}, ["a", "b"]) == {"a": 0.5, "b": 0.5}
    assert minutes_of(None) is None


@pytest.mark.parametrize("value", [True, np.True_, "3", -1, np.float32("nan"), 10**400, 3j])
def test_what_is_no_number_of_minutes(value: Any) -> None:
    with pytest.raises(ConfigError, match="should be a number of minutes"):
        minutes_of(value)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, float("inf"), [3], np.array([1, 2]), b"3"])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(EvaluationError, match="should be a whole number"):
        whole_number("k", value, 1, error=EvaluationError)


@pytest.mark.parametrize(
    ("value", "limits"), [(0, "from 1 to 9"), (10, "from 1 to 9"), (-(10**50), "from 1")]
)
def test_a_whole_number_outside_its_range(value: int, limits: str) -> None:
    with pytest.raises(ConfigError, match=limits):
        whole_number("k", value, 1, 9)


def test_a_path_is_text_or_a_path() -> None:
    assert path_of("out", "a/b") == path_of("out", Path("a/b")) == Path("a/b")
    for value in ("", "  ", "a\0b", None, 3, b"a", ["a"]):
        with pytest.raises(ConfigError, match=r"^out = "):
            path_of("out", value)


def test_texts_choices_and_flags() -> None:
    check_choice("format", "onnx", ["onnx", "vectors"])
    assert [check_flag("resume", value) for value in (True, np.False_)] == [True, False]
    assert text_of("device", "cpu") == "cpu"
    wrong: list[Any] = [[], None, 1, np.array([1, 2]), "onxx"]
    for value in wrong:
        with pytest.raises(ConfigError, match="unknown format"):
            check_choice("format", value, ["onnx", "vectors"])
        with pytest.raises(ConfigError, match="true or false"):
            check_flag("resume", value)
    with pytest.raises(ConfigError, match="list_in_order = 'no': should be true or false"):
        mclrec.judge(["lists.csv"], list_in_order="no")  # type: ignore[arg-type]


def test_a_list_of_ids_is_no_text() -> None:
    assert list_of("ids", "exclude", {1}) == list_of("ids", "exclude", iter([1])) == (1,)
    for value in ("abc", b"abc", 5, None, {"a": 1}):
        with pytest.raises(ConfigError, match="should be a list of ids"):
            list_of("ids", "exclude", value)


def test_where_order_counts_a_set_is_no_list() -> None:
    for value in ({"a", "b"}, frozenset("ab")):
        with pytest.raises(ConfigError, match="should be a list of runs; a set has no order"):
            list_of("runs", "runs", value, ordered=True)
    assert list_of("runs", "runs", {"a": 1, "b": 2}.keys(), ordered=True) == ("a", "b")


def test_a_function_can_be_called() -> None:
    check_callable("progress", print)
    with pytest.raises(ConfigError, match="progress = 3: should be a function"):
        check_callable("progress", 3)


ODD: tuple[Any, ...] = (
    *(
        np.arange(3),
        np.array("test"),
        pl.DataFrame({"a": [1]}),
        [],
        {"a": 1},
        (1, 2),
        np.int64(3),
        True,
        1.5,
        -1,
    ),
    *(10**30, float("nan"), 1 + 2j, "", "\0", "\udcff", "x" * 5000, b"x", object(), type),
)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("load", "engine name directory min_count columns"),
        ("evaluate", "run part seen ks device progress"),
        ("compare", "runs part seen metric"),
        ("train", "model split device track recipe warm_start progress"),
        ("tune", "model device split track"),
        ("reproduce", "what datasets models seeds points show"),
        ("export", "format index users"),
        ("serve", "host engine index allow_hosts"),
    ],
)
def test_arguments_of_odd_types_are_refused(
    name: str, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is refused with an MclrecError or accepted; none causes an error in another package."""
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.csv"
    rows = [f"u{user},i{time % 7},{time}\n" for user in range(8) for time in range(user, user + 8)]
    log.write_text("user,item,time\n" + "".join(rows))
    function = getattr(mclrec, name)
    first = next(iter(inspect.signature(function).parameters))
    usual = {"data": log, "source": log, "run": ".", "runs": ["."], "what": "nothing"}[first]
    short = {"epochs": 1} if name == "train" else {}
    for argument in arguments.split():
        for value in ODD:
            with suppress(MclrecError):
                function(**{first: usual, argument: value, **short})
