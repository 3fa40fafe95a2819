from typing import Any

import numpy as np
import pytest
from pydantic import Field, ValidationError

from mclrec.configuration import LARGEST, Configuration, option_text
from mclrec.errors import invalid_value


class Toy(Configuration):
    size: int = Field(1, ge=0)
    rate: float | None = 0.5
    on: bool = False
    word: str = "a"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"size": np.int64(3)}, 3),
        ({"rate": np.float32(0.25)}, 0.25),
        ({"rate": 2}, 2.0),
        ({"rate": None}, None),
        ({"on": np.True_}, True),
        ({"size": LARGEST}, LARGEST),
    ],
)
def test_numbers_are_plain(values: dict[str, Any], found: object) -> None:
    (value,) = Toy.model_validate(values).model_dump(include=set(values)).values()
    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize("value", [np.float32(0.01), np.float64(1e-5), np.int64(3), np.True_, 0.1, None])
def test_an_option_has_the_value_that_is_trained_with(value: object) -> None:
    plain = value.item() if isinstance(value, np.generic) else value
    assert option_text(value) == option_text(plain)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": float("inf")}, "rate = inf: should be a finite number"),
        ({"rate": float("nan")}, "rate = nan: should be a finite number"),
        ({"rate": np.float64("-inf")}, "rate = -inf: should be a finite number"),
        ({"rate": "1e999"}, "rate = '1e999': should be a finite number"),
        ({"rate": 1e9}, "rate = 1000000000.0: should be at most 1,000,000"),
        ({"rate": True}, "rate = True: should be a number"),
        ({"size": True}, "size = True: should be a number"),
        ({"size": np.True_}, "size = np.True_: should be a number"),
        ({"size": 10**9}, "size = 1000000000: should be at most 1,000,000"),
        ({"size": 1.5}, "size = 1.5: should be a valid integer, got a number with a fractional part"),
        ({"on": 5}, "on = 5: should be a valid boolean, unable to interpret input"),
        ({"word": 5}, "word = 5: should be a valid string"),
        ({"other": 5}, "unknown key 'other'"),
    ],
)
def test_what_no_machine_can_have_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Toy.model_validate(values)
    assert invalid_value(caught.value) == message
