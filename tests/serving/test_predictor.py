"""Recommendations: equal to a naive ranking, and clear about what was skipped or replaced."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.sequences import OutsideId, Vocabulary
from mclrec.errors import DataError, EvaluationError, MclrecWarning, ModelFileError
from mclrec.models import registry
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase
from mclrec.models.storage import LoadedModel, save_model
from mclrec.serving import batch, predictor
from mclrec.serving.predictor import Model, Recommendation

NAMES = [f"item {place}" for place in range(1, 13)]
COUNTS = np.array([0, 3, 9, 1, 9, 5, 2, 7, 4, 0, 0, 0, 0])
POPULAR = [f"item {place}" for place in (2, 4, 7, 5, 8, 1, 6, 3, 9, 10, 11, 12)]


class Summing(VectorRecommender):
    """Newer items weigh more; the user moves the query."""

    config_type = ModelConfig
    needs_users: ClassVar[bool] = True
    max_length = 3

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.table = nn.Embedding(num_items + 1, 4)
        self.users = nn.Embedding(num_users + 1, 4)
        self.dropout = nn.Dropout(0.5)

    def phases(self) -> tuple[Phase, ...]:
        return ()

    def query_vectors(self, histories: Histories) -> Tensor:
        items, _ = histories.padded("right")
        assert items.shape[1] <= self.max_length
        assert bool((histories.lengths > 0).all())
        weights = 2.0 ** -torch.arange(items.shape[1] - 1, -1, -1)
        query: Tensor = (self.table(items) * (items > 0)[:, :, None] * weights[:, None]).sum(1)
        dropped: Tensor = self.dropout(query + self.users(histories.users))
        return dropped

    def items(self) -> ItemTable:
        return ItemTable(self.table.weight, self.num_items)


def build(ids: Sequence[str | int] = NAMES) -> Summing:
    torch.manual_seed(5)
    return Summing(ModelConfig(), len(ids), 2)


def loaded(ids: Sequence[str | int] = NAMES) -> LoadedModel:
    users = Vocabulary(["ann", "bob"])
    return LoadedModel("summing", build(ids).eval(), Vocabulary(ids), COUNTS, users, {}, "checksum")


MODEL = Model(loaded())


def naive(history: Sequence[str], k: int, include_seen: bool, user: int = 0) -> list[tuple[str, float]]:
    model = build()
    table, users = model.table.weight.detach().double(), model.users.weight.detach().double()
    query = users[user].clone()
    for age, name in enumerate(reversed(history[-3:])):
        query += table[NAMES.index(name) + 1] * 2.0**-age
    pairs = [(name, float(table[place] @ query)) for place, name in enumerate(NAMES, 1)]
    left = [pair for pair in pairs if include_seen or pair[0] not in history]
    return sorted(left, key=lambda pair: -pair[1])[:k]


def assert_same(found: list[Recommendation], wanted: Sequence[tuple[OutsideId, float]]) -> None:
    assert [item for item, _ in found] == [item for item, _ in wanted]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-5)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9), min_size=1, max_size=7),
    st.integers(1, len(NAMES)),
    st.booleans(),
    st.data(),
)
def test_equals_a_naive_ranking(
    histories: list[list[str]], k: int, include_seen: bool, draw: st.DataObject
) -> None:
    places = draw.draw(st.lists(st.integers(0, 2), min_size=len(histories), max_size=len(histories)))
    users = [("nobody", "ann", "bob")[place] for place in places]
    found = MODEL.recommend_batch(histories, k, include_seen=include_seen, users=users)
    for history, place, user, rows in zip(histories, places, users, found, strict=True):
        assert_same(rows, naive(history, k, include_seen, place))
        assert_same(rows, MODEL.recommend(history, k, include_seen=include_seen, user=user))


def test_the_whole_history_is_seen_but_the_newest_items_are_read() -> None:
    history = ["item 1", "item 2", "item 3", "item 4", "item 5"]
    assert_same(MODEL.recommend(history, 12), naive(history, 12, include_seen=False))
    assert len(MODEL.recommend(history, 12)) == 7
    assert MODEL.recommend(history, 8, include_seen=True) == MODEL.recommend(
        history[2:], 8, include_seen=True
    )


def test_nothing_is_left() -> None:
    assert MODEL.recommend(NAMES) == []


def test_small_batches_give_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [NAMES[start : start + 1 + start % 3] for start in range(8)]
    users = ["nobody", "ann", "bob", "bob", "ann", "nobody", "ann", "bob"]
    whole = MODEL.recommend_batch(histories, 4, users=users)
    monkeypatch.setattr(predictor, "_ROWS", 3)
    for found, wanted in zip(MODEL.recommend_batch(histories, 4, users=users), whole, strict=True):
        assert_same(found, wanted)
    assert MODEL.recommend_batch([]) == []


def test_threads_share_a_model() -> None:
    histories = [[NAMES[place % 12], NAMES[place * 5 % 12]] for place in range(64)]
    wanted = [MODEL.recommend(history) for history in histories]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            assert list(pool.map(MODEL.recommend, histories)) == wanted


def test_unknown_items_are_skipped_and_named_once() -> None:
    with pytest.warns(MclrecWarning) as caught:
        found = MODEL.recommend_batch([["item 1", "x", "item 2", "y"], ["x", "item 3"]], 3)
    assert [str(warning.message) for warning in caught] == [
        "2 items are not in the model's catalogue and are skipped: 'x', 'y'"
    ]
    assert found == MODEL.recommend_batch([["item 1", "item 2"], ["item 3"]], 3)
    with pytest.warns(MclrecWarning, match=r"^item 'x' is not in the model's catalogue and is skipped$"):
        MODEL.recommend(["x", "item 1"])
    with pytest.warns(MclrecWarning, match=r"^4 items .*: 'a', 'b', 'c', \.\.\.$"):
        MODEL.recommend(["a", "b", "c", "d", "a", "item 1"])


def test_without_a_known_item_the_popular_ones_are_given() -> None:
    with pytest.warns(MclrecWarning, match=r"^1 history without a known item gets the popular items$"):
        found = MODEL.recommend([], 12)
    assert [item for item, _ in found] == POPULAR
    assert [score for _, score in found] == [9, 9, 7, 5, 4, 3, 2, 1, 0, 0, 0, 0]
    with pytest.warns(MclrecWarning) as caught:
        rows = MODEL.recommend_batch([["x"], ["item 1"], []], 2)
    assert [[item for item, _ in row] for row in (rows[0], rows[2])] == [POPULAR[:2]] * 2
    assert rows[1] == MODEL.recommend(["item 1"], 2)
    assert len(caught) == 2
    assert str(caught[1].message) == "2 histories without a known item get the popular items"


@pytest.mark.parametrize("call", ["recommend", "recommend_batch"])
def test_warnings_point_to_the_caller(call: str) -> None:
    history = ["x"] if call == "recommend" else [["x"]]
    with pytest.warns(MclrecWarning) as caught:
        getattr(MODEL, call)(history, 2)
    assert {warning.filename for warning in caught} == {__file__}


def test_integers_may_come_as_text_or_from_numpy() -> None:
    model = Model(loaded(range(10, 130, 10)))
    wanted = model.recommend([10, 30], 4)
    assert model.recommend(["10", "30"], 4) == wanted
    assert model.recommend(list(np.array([10, 30])), 4) == wanted
    assert all(type(item) is int for item, _ in wanted)
    assert all(type(score) is float for _, score in wanted)


def test_lists_that_cannot_be_made() -> None:
    for k in (0, -1, 13):
        with pytest.raises(EvaluationError, match=f"k = {k}"):
            MODEL.recommend(["item 1"], k)
    with pytest.raises(EvaluationError, match=r"a history is a list of item ids, not 'item 1'"):
        MODEL.recommend("item 1", 2)
    with pytest.raises(EvaluationError, match=r"a history is a list of item ids, not 'item 1'"):
        MODEL.recommend_batch(["item 1"], 2)
    with pytest.raises(EvaluationError, match="1 users for 2 histories"):
        MODEL.recommend_batch([["item 1"], ["item 2"]], 2, users=["ann"])


def test_a_saved_model_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = registry.Entry(f"{__name__}:Summing", "Summing", 2024, "none", "U", ())
    monkeypatch.setitem(registry._MODELS, "summing", line)
    parts = loaded()
    save_model(
        tmp_path / "m",
        name="summing",
        model=build().train(),
        items=parts.items,
        counts=COUNTS,
        users=parts.users,
        extra={"seed": 4},
    )
    model = Model.load(tmp_path / "m")
    assert (model.name, list(model.items), model.info["seed"]) == ("summing", NAMES, 4)
    assert model.recommend(NAMES[:2], 5, user="bob") == MODEL.recommend(NAMES[:2], 5, user="bob")
    with pytest.raises(ModelFileError, match="no such model directory"):
        Model.load(str(tmp_path / "none"))


def log(folder: Path, rows: Sequence[tuple[str, str, int]]) -> Path:
    path = folder / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"{user},{item},{time}\n" for user, item, time in rows))
    return path


def test_a_file_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("bob", "item 2", 2),
        ("bob", "item 1", 1),
        ("zoë", "item 5", 1),
        ("ann", "item 3", 9),
        ("bob", "x", 3),
    ]
    rows += [("eve", "y", 1)]
    out = tmp_path / "deep" / "recs.parquet"
    monkeypatch.setattr(batch, "_USERS", 3)
    with pytest.warns(MclrecWarning) as caught:
        assert MODEL.recommend_file(log(tmp_path, rows), out, 3) == 4
    assert [str(warning.message) for warning in caught] == [
        "2 items are not in the model's catalogue and are skipped: 'x', 'y'",
        "1 history without a known item gets the popular items",
    ]
    table = pq.read_table(out)
    assert table.column_names == ["user", "rank", "item", "score"]
    histories = {"ann": ["item 3"], "bob": ["item 1", "item 2"], "zoë": ["item 5"]}
    wanted = {user: MODEL.recommend(history, 3, user=user) for user, history in histories.items()}
    wanted["eve"] = [Recommendation(item, COUNTS[NAMES.index(str(item)) + 1]) for item in POPULAR[:3]]
    found = table.to_pylist()
    assert [row["user"] for row in found] == [user for user in ("ann", "bob", "eve", "zoë") for _ in range(3)]
    assert [row["rank"] for row in found] == [1, 2, 3] * 4
    for user, rows_wanted in wanted.items():
        rows_found = [Recommendation(row["item"], row["score"]) for row in found if row["user"] == user]
        assert_same(rows_found, rows_wanted)


def test_sequence_text_and_short_lists(tmp_path: Path) -> None:
    model = Model(loaded(range(1, 13)))
    path = tmp_path / "users.txt"
    path.write_text("1 2 3\n2 1 2 3 4 5 6 7 8 9 10\n")
    assert model.recommend_file(path, tmp_path / "recs.parquet", 5) == 2
    found = pq.read_table(tmp_path / "recs.parquet").to_pylist()
    assert [(row["user"], row["rank"]) for row in found] == [(1, rank) for rank in range(1, 6)] + [
        (2, 1),
        (2, 2),
    ]
    assert [row["item"] for row in found[:5]] == [item for item, _ in model.recommend([2, 3], 5)]
    assert {row["item"] for row in found[5:]} == {11, 12}


def test_seen_items_on_request(tmp_path: Path) -> None:
    path = log(tmp_path, [("ann", "item 1", 1), ("ann", "item 2", 2)])
    MODEL.recommend_file(path, tmp_path / "recs.parquet", 8, include_seen=True)
    items = pq.read_table(tmp_path / "recs.parquet")["item"].to_pylist()
    wanted = MODEL.recommend(["item 1", "item 2"], 8, include_seen=True, user="ann")
    assert items == [item for item, _ in wanted]


def test_an_error_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log(tmp_path, [("ann", "item 1", 1)])
    out = tmp_path / "recs.parquet"
    with pytest.raises(EvaluationError, match="k = 13"):
        MODEL.recommend_file(path, out, 13)
    with pytest.raises(DataError, match=r"gone\.csv"):
        MODEL.recommend_file(tmp_path / "gone.csv", out, 2)

    def broken(*args: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(predictor, "top_items", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        MODEL.recommend_file(path, out, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_importing_it_imports_no_training_and_no_database() -> None:
    code = "import sys, mclrec.serving.predictor; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mclrec.models.storage" in modules
    assert not {"mclrec.training", "mclrec.recipes", "duckdb", "narwhals"} & set(modules)


def test_nothing_is_said_when_all_is_known() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MODEL.recommend(["item 1"], 2)
