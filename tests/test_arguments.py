from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mclrec.arguments import check_choice, check_flag, id_list, path_of, text_of, whole_number
from mclrec.errors import ConfigError, EvaluationError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_every_kind(value: Any) -> None:
    found = whole_number("k", value, 1, 3)
    assert (found, type(found)) == (3, int)


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
    check_flag("resume", False)
    assert text_of("device", "cpu") == "cpu"
    wrong: list[Any] = [[], None, 1, np.array([1, 2]), "onxx"]
    for value in wrong:
        with pytest.raises(ConfigError, match="unknown format"):
            check_choice("format", value, ["onnx", "vectors"])
        with pytest.raises(ConfigError, match="true or false"):
            check_flag("resume", value)


def test_a_list_of_ids_is_no_text() -> None:
    assert id_list("exclude", {1}) == id_list("exclude", iter([1])) == (1,)
    for value in ("abc", b"abc", 5, None):
        with pytest.raises(ConfigError, match="should be a list of ids"):
            id_list("exclude", value)
