"""RecBole configurations: each key takes effect as RecBole means it, or is named with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mclrec.data.columns import Columns
from mclrec.data.raw_tables import frame_table
from mclrec.data.wanted_rows import WantedRows
from mclrec.errors import ConfigError
from mclrec.integrations.recbole_config import RecBoleConfig, read_config, translate
from mclrec.integrations.recbole_intervals import condition, least_of
from mclrec.integrations.recbole_keys import (
    COLUMNS,
    FAMILIES,
    IN_RECBOLE_ONLY,
    MODELS,
    OVERALL,
    TRAINING,
    USUAL_FIELDS,
)
from mclrec.integrations.recbole_rules import RULES
from mclrec.models import registry
from mclrec.recipes import resolve, setting_keys

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
OF_MODELS = {key for family in FAMILIES.values() for key in {*family.keys, *family.same, *family.reasons}}
KEYS = sorted({*RULES, *COLUMNS, *TRAINING, *OVERALL, *IN_RECBOLE_ONLY, *OF_MODELS})

usual = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 300),
    st.floats(0, 1),
    st.sampled_from(
        ["CE", "BPR", "gelu", "adam", "[5,inf)", "(3,7]", "NDCG@10", "AUC", "first", "us_x", "dot", ""]
    ),
    st.just({"rating": "[3,inf)"}),
    st.just(LEAVE_ONE_OUT),
    st.just({"split": {"RS": [0.8, 0.1, 0.1]}, "modus": "full"}),
    st.lists(st.sampled_from(["user_id", "item_id", "timestamp", "rating"])),
    st.dictionaries(
        st.sampled_from(["inter", "item", "sample_num", "distribution"]), st.lists(st.text(max_size=3))
    ),
)
configurations = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=12)), usual, max_size=14)


def named(found: RecBoleConfig) -> set[str]:
    return {note.key for note in (*found.taken, *found.left)}


def text_of(found: RecBoleConfig, key: str) -> str:
    [note] = [one for one in (*found.taken, *found.left) if one.key == key]
    return note.text


@pytest.mark.parametrize("value", [{"inter": ["user_id"]}, ["user_id"], [["user_id"]]])
@pytest.mark.parametrize("key", sorted({*RULES, *COLUMNS, *USUAL_FIELDS}))
def test_a_table_or_a_list_where_a_name_belongs_is_told(key: str, value: Any) -> None:
    columns = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    found = translated({**columns, key: value, "model": "SASRec"})
    assert found is None or any(one == key or one.startswith(f"{key}.") for one in named(found))


@given(values=configurations, model=st.sampled_from(sorted(MODELS)))
def test_every_key_is_in_effect_or_named(values: dict[str, Any], model: str) -> None:
    values = {**values, "model": model}
    found = translated(values)
    if found is None:
        return
    for key in values:
        assert key in named(found) or any(one.startswith(f"{key}.") for one in named(found)), key
    assert set(found.origins.values()) <= {note.key for note in found.taken}
    assert set(found.settings) <= set(setting_keys(MODELS[model]).values())
    for setting, key in found.origins.items():
        assert text_of(found, key) == f"{setting} = {found.settings[setting]}"
    assert (found.split_problem is None) == _is_left_out(values)


def translated(values: dict[str, Any]) -> RecBoleConfig | None:
    """The translation; None if a key has an invalid value, which the error must name."""
    problem = ""
    try:
        return translate(values)
    except ConfigError as refused:
        problem = str(refused)
    assert any(problem.startswith(key) for key in values if key)
    return None


def _is_left_out(values: dict[str, Any]) -> bool:
    given = values.get("eval_args", LEAVE_ONE_OUT)
    return bool(given) and given.get("split") == LEAVE_ONE_OUT["split"]


@pytest.mark.parametrize("wanted", [["\x1f"], ["a" * 100_000]])
def test_a_condition_that_cannot_be_is_told_by_its_key(wanted: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^val_interval: where = .*: (contains a control character|has more than)"
    ):
        translate({"val_interval": {"genre": wanted}})


@pytest.mark.parametrize("model", sorted(MODELS))
def test_defaults_of_recbole_are_settings_in_effect(model: str) -> None:
    found = translate({"model": model})
    ours = MODELS[model]
    recipe = resolve(ours, None, "default", found.settings)
    in_effect = {**recipe.config.model_dump(by_alias=True), **recipe.training.model_dump()}
    assert {key: in_effect[key] for key in found.settings} == dict(found.settings)
    assert found.left == ()
    assert (found.seed, found.reading.min_count) == (2020, 1)
    if not registry.entry(ours).only_counts:
        assert found.settings["epochs"] == 300
        assert found.settings["patience"] == 11  # RecBole stops after more than 10 without progress


def test_what_a_usual_file_says() -> None:
    found = translate(
        {
            "model": "SASRec",
            "USER_ID_FIELD": "who",
            "TIME_FIELD": "when",
            "user_inter_num_interval": "[5,inf)",
            "item_inter_num_interval": "(4,inf)",
            "val_interval": {"rating": "[4,inf)", "kind": ["buy", "it's"]},
            "rm_dup_inter": "first",
            "hidden_dropout_prob": 0.2,
            "n_heads": 4,
            "valid_metric": "NDCG@20",
            "eval_args": LEAVE_ONE_OUT,
            "train_neg_sample_args": None,
            "use_gpu": False,
            "topk": [5],
        }
    )
    assert found.model == "sasrec"
    assert found.reading.columns == Columns(user="who", time="when")
    assert found.reading.min_count == 5
    assert found.reading.drop_repeats
    assert found.reading.where == "\"rating\" >= 4 AND \"kind\" IN ('buy', 'it''s')"
    assert found.settings["dropout"] == 0.2
    assert found.settings["heads"] == 4
    assert found.settings["metric"] == "ndcg@20"
    assert (found.settings["unit"], found.settings["loss"], found.settings["seen"]) == (
        "prefixes",
        "softmax",
        "keep",
    )
    assert (found.device, found.split_problem) == ("cpu", None)
    assert [note.key for note in found.left] == ["topk"]


@pytest.mark.parametrize("value", [False, 0, None])
def test_no_gpu_is_the_cpu(value: object) -> None:
    assert translate({"model": "SASRec", "use_gpu": value}).device == "cpu"


@pytest.mark.parametrize(
    ("values", "key", "reason"),
    [
        ({"train_batchsize": 3}, "train_batchsize", "did you mean train_batch_size"),
        ({"mask_ratio": 0.2}, "mask_ratio", "a key of"),
        ({"hidden_act": "relu"}, "hidden_act", "only gelu is supported"),
        ({"loss_type": "BPR"}, "loss_type", "only CE is supported"),
        (
            {"user_inter_num_interval": "[5,inf)"},
            "user_inter_num_interval",
            "not 5 for users and 1 for items",
        ),
        ({"user_inter_num_interval": "[5,9]"}, "user_inter_num_interval", "nothing is removed"),
        ({"valid_metric": "AUC"}, "valid_metric", "mrr@10 does"),
        ({"eval_args": {**LEAVE_ONE_OUT, "mode": "uni100"}}, "eval_args.mode", "all items are ranked"),
        ({"eval_args": {**LEAVE_ONE_OUT, "modes": "full"}}, "eval_args.modes", "did you mean 'mode'"),
        ({"learner": "sgd"}, "learner", "only adam is supported"),
        (
            {"load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"]}},
            "load_col",
            "rating would be",
        ),
        ({"load_col": {"inter": ["user_id", "item_id"]}}, "load_col", "needs their time"),
        ({"rm_dup_inter": "last"}, "rm_dup_inter", "first row"),
        ({"train_neg_sample_args": {"sample_num": 3}}, "train_neg_sample_args", "no items are drawn"),
        ({7: 8}, "7", "unknown key"),
    ],
)
def test_what_has_no_place_is_named_with_the_reason(values: dict[Any, Any], key: str, reason: str) -> None:
    found = translate({"model": "SASRec", **values})
    [note] = [one for one in found.left if one.key == key]
    assert reason in note.text


@pytest.mark.parametrize(
    "eval_args", [{"split": {"RS": [0.8, 0.1, 0.1]}}, {"mode": "full"}, {"split": {"LS": "test_only"}}, None]
)
def test_another_split_is_a_problem(eval_args: object) -> None:
    assert "LS: valid_and_test" in str(translate({"model": "SASRec", "eval_args": eval_args}).split_problem)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "SASrecc"}, "did you mean 'SASRec'"),
        ({"model": "NARM"}, "choose one to train with --model"),
        ({"model": "SASRec", "epochs": "many"}, "epochs = 'many': should be a whole number"),
        ({"model": "SASRec", "epochs": 1.5}, "epochs = 1.5"),
        ({"model": "SASRec", "seed": -1}, "seed = -1"),
        ({"model": "SASRec", "val_interval": {"rating": "4"}}, "val_interval.rating: '4' is not an interval"),
        *(
            ({"val_interval": {"rating": wanted}}, f"val_interval.rating: {said}")
            for wanted, said in (
                ([float("inf")], "should be a list of strings or finite numbers"),
                ([float("nan")], "should be a list of strings or finite numbers"),
                ("[inf,inf)", "'[inf,inf)' is not an interval: there is no number in it"),
                ("(-inf,-inf)", "'(-inf,-inf)' is not an interval: there is no number in it"),
            )
        ),
        ({"model": "SASRec", "eval_args": 3}, "eval_args = 3"),
        ({"model": "SASRec", "USER_ID_FIELD": 3}, "name of a column"),
    ],
)
def test_values_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as problem:
        translate(values)
    assert message in str(problem.value)


def test_a_mode_of_lists_and_a_core_of_infinity_are_left() -> None:
    values = {
        "eval_args": {**LEAVE_ONE_OUT, "mode": {"valid": ["full"]}},
        "user_inter_num_interval": "[inf,inf)",
    }
    assert [note.key for note in translate(values).left] == ["eval_args.mode", "user_inter_num_interval"]


def test_a_model_that_is_asked_for_goes_before_the_file() -> None:
    found = translate({"model": "NARM", "hidden_size": 32, "num_layers": 3}, model="gru4rec")
    assert found.model == "gru4rec"
    assert (found.settings["inner_size"], found.settings["layers"]) == (32, 3)
    assert text_of(found, "model") == "gru4rec was requested"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("learning_rate: 1e-3", {"learning_rate": 0.001}),
        ("a: ~\nb: [1, 2.5, x]\nc: {d: true}", {"a": None, "b": [1, 2.5, "x"], "c": {"d": True}}),
        ("", {}),
    ],
)
def test_yaml_is_read_as_recbole_reads_it(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    from mclrec.integrations.recbole_yaml import read_yaml

    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_yaml(path) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']", "c.yaml:1: not valid YAML"),
        ("a: 1\nb: 2\na: 3", "c.yaml:3: not valid YAML: 'a' is duplicated"),
        ("a: [1", "not valid YAML"),
        ("- a\n- b", "should be a table"),
        ("? [1, 2]\n: 3", "not valid YAML"),
        ("[" * 1500, "not valid YAML"),
        ("model: SASRec\nepochs: many", "c.yaml: epochs = 'many'"),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as problem:
        read_config(path)
    assert message in str(problem.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "least"), [("[5,inf)", 5), ("(4,inf)", 5), ("(4.5,inf)", 5), ("[0,inf)", 1), (None, 1)]
)
def test_a_core_of_an_interval(text: str | None, least: int) -> None:
    assert least_of(text) == least


@example(-0.053620605839767244, 0.0, True, True, -0.053620605839767244)
@given(st.floats(-5, 5), st.floats(0, 5), st.booleans(), st.booleans(), st.floats(-10, 10))
@settings(max_examples=40, deadline=None)
def test_a_condition_holds_where_the_interval_does(
    low: float, width: float, with_low: bool, with_high: bool, value: float
) -> None:
    high = low + width
    text = f"{'[' if with_low else '('}{low!r},{high!r}{']' if with_high else ')'};[100,inf)"
    inside = (value >= low if with_low else value > low) and (value <= high if with_high else value < high)
    found = WantedRows(frame_table(pl.DataFrame({"x": [value, 200.0]})), condition("x", text)).read([0])
    assert [one for [column] in found.batches for one in column.to_pylist()] == [value, 200.0][not inside :]
