"""Options of NAME=VALUE pairs and JSON: a duplicate name is refused or reported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.cli.commands.recommend import parsed
from mclrec.cli.commands.reproduce import _by_model
from mclrec.cli.pairs import distinct_pairs, settings_given
from mclrec.errors import ConfigError, MclrecWarning
from mclrec.runs.update_request import floors


@given(st.lists(st.tuples(st.text(max_size=2), st.integers())))
def test_pairs_are_all_kept_or_refused(pairs: list[tuple[str, int]]) -> None:
    if len({name for name, _ in pairs}) == len(pairs):
        assert list(distinct_pairs("--x", pairs).items()) == pairs
    else:
        with pytest.raises(ConfigError, match=r"--x: .* is given twice; give it once"):
            distinct_pairs("--x", pairs)


@given(st.lists(st.tuples(st.text(max_size=2), st.integers())))
def test_keys_of_json_are_all_kept_or_refused(pairs: list[tuple[str, int]]) -> None:
    text = "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in pairs) + "}"
    if len({key for key, _ in pairs}) == len(pairs):
        assert parsed("filter", text) == dict(pairs)
    else:
        with pytest.raises(
            ConfigError, match=r"--filter: not valid JSON: the key .* is duplicated; quote it"
        ):
            parsed("filter", text)


def test_recipes_and_floors_are_given_once() -> None:
    assert _by_model("sasrec=auto, mclrec = relative") == {"sasrec": "auto", "mclrec": "relative"}
    with pytest.raises(ConfigError, match="--recipe: 'mclrec' is given twice"):
        _by_model("mclrec=auto,sasrec=auto,mclrec=relative")
    with pytest.raises(ConfigError, match=r"floor of NDCG@10: is given twice"):
        floors({"ndcg@10": 0.1, "NDCG@10": 0.2})


def test_the_last_of_a_setting_counts_and_is_told() -> None:
    with pytest.warns(MclrecWarning, match="--set: epochs is given as 2 and as 3; the last one is used"):
        assert settings_given(["epochs=2", "beta=0.1", "epochs=3"]) == {"epochs": 3, "beta": 0.1}
    assert settings_given(["epochs=2", "epochs=2"]) == {"epochs": 2}
    assert settings_given(None) == {}
