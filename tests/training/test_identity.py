"""The identity by which a resumed run or search is compared with the original."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.recipes.toml_text import parse_setting
from mclrec.training.identity import SETTING, Difference, first_difference

KEYS = st.sampled_from(["seed", f"{SETTING}beta", f"{SETTING}norm", f"{SETTING}average"])
VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.floats(0, 1) | st.sampled_from(["post", "pre"])
IDENTITIES = st.dictionaries(KEYS, VALUES)


@given(IDENTITIES, IDENTITIES, IDENTITIES)
def test_what_is_left_out_has_its_former_value(
    had: dict[str, Any], now: dict[str, Any], former: dict[str, Any]
) -> None:
    first, second = former | had, former | now
    other = first_difference(had, now, former)
    if other is None:
        assert {k: v for k, v in first.items() if v is not None} == {
            k: v for k, v in second.items() if v is not None
        }
    else:
        assert (other.had, other.now) == (first.get(other.key), second.get(other.key))
        assert other.had != other.now
        assert other.known == (other.key in first.keys() & second.keys())


@given(VALUES)
def test_the_remedy_gives_the_value_back(value: object) -> None:
    text = Difference(f"{SETTING}beta", value, "other", known=True).remedy("train anew")
    setting, _, rest = text.removeprefix("continue with --set ").partition(", or ")
    assert (parse_setting(setting), rest) == (("beta", value), "train anew")


@pytest.mark.parametrize(("key", "known"), [("seed", True), (f"{SETTING}beta", False)])
def test_what_no_setting_mends(key: str, *, known: bool) -> None:
    assert Difference(key, 1, 2, known).remedy("train anew") == "train anew"
