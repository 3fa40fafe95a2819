"""`mclrec.Model` ranks as a naive implementation does, and reports what was skipped or replaced."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import ConfigError, DataError, EvaluationError, MclrecError, MclrecWarning, ModelFileError
from mclrec.inference import bulk, engine, exact_ranker
from mclrec.inference import model as model_module
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.model import Model
from mclrec.inference.queries import Query, Recommendation
from mclrec.inference.runtime import Runtime
from mclrec.inference.torch_engine import torch_engine
from mclrec.models import registry
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase
from mclrec.models.storage import LoadedModel, save_model

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


def in_memory(parts: LoadedModel) -> Model:
    catalogue = Catalogue(parts.items, parts.counts)
    card = {"name": parts.name}
    return Model(Runtime(torch_engine(parts), catalogue, card, "1", parts.users, parts.checksum))


MODEL = in_memory(loaded())


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
    monkeypatch.setattr(engine, "_ENCODED", 3)
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


@pytest.mark.parametrize("call", ["recommend", "recommend_batch", "explain"])
def test_warnings_point_to_the_caller(call: str) -> None:
    history = [["x"]] if call == "recommend_batch" else ["x"]
    with pytest.warns(MclrecWarning) as caught:
        getattr(MODEL, call)(history, ["item 1"] if call == "explain" else 2)
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


def test_integers_may_come_as_text_or_from_numpy() -> None:
    model = in_memory(loaded(range(10, 130, 10)))
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
    with pytest.raises(EvaluationError, match="1 user for 2 histories"):
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
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user", "item", "time"), *rows])
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
    monkeypatch.setattr(bulk, "_USERS", 3)
    with pytest.warns(MclrecWarning) as caught:
        assert MODEL.recommend_file(log(tmp_path, rows), out, 3) == 4
    assert [str(warning.message) for warning in caught] == [
        "2 items are not in the model's catalogue and are skipped: 'x', 'y'",
        "1 history without a known item gets the popular items",
    ]
    table = pq.read_table(out)
    assert table.column_names == ["user", "rank", "item", "score"]
    histories = {"ann": ["item 3"], "bob": ["item 1", "item 2"], "zoë": ["item 5"]}
    wanted: dict[str, list[Recommendation]] = {
        user: MODEL.recommend(history, 3, user=user) for user, history in histories.items()
    }
    wanted["eve"] = [Recommendation(item, COUNTS[NAMES.index(str(item)) + 1]) for item in POPULAR[:3]]
    found = table.to_pylist()
    assert [row["user"] for row in found] == [user for user in ("ann", "bob", "eve", "zoë") for _ in range(3)]
    assert [row["rank"] for row in found] == [1, 2, 3] * 4
    for user, rows_wanted in wanted.items():
        rows_found = [Recommendation(row["item"], row["score"]) for row in found if row["user"] == user]
        assert_same(rows_found, rows_wanted)


def test_sequence_text_and_short_lists(tmp_path: Path) -> None:
    model = in_memory(loaded(range(1, 13)))
    path = tmp_path / "users.txt"
    path.write_text("1 2 3\n2 1 2 3 4 5 6 7 8 9 10\n")
    with pytest.warns(MclrecWarning, match="^1 list with fewer than 5 items: no more may be recommended"):
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

    monkeypatch.setattr(exact_ranker, "top_k", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        MODEL.recommend_file(path, out, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_importing_it_imports_no_training_no_database_and_no_torch() -> None:
    code = "import sys, mclrec.inference.model; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mclrec.inference.runtime" in modules
    assert not {"mclrec.training", "mclrec.recipes", "duckdb", "narwhals", "torch"} & set(modules)


def test_nothing_is_said_when_all_is_known() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MODEL.recommend(["item 1"], 2)


def test_what_is_no_list_of_ids_is_refused() -> None:
    """Iterating over a frame would give its column names, over a mapping its keys; a set has no order."""
    ids = NAMES[:3]
    columns = {"item": ids}
    frames: list[Any] = [
        pl.DataFrame(columns),
        pd.DataFrame(columns),
        pa.table(columns),
        dict.fromkeys(ids, 1.0),
        "item 1",
    ]
    for frame in frames:
        for part in ("exclude", "allow"):
            with pytest.raises(DataError, match="not a list of ids"):
                MODEL.recommend(ids, 3, **{part: frame})
        with pytest.raises(EvaluationError, match="a history is a list of item ids"):
            MODEL.recommend(frame, 3)
    sets: list[Any] = [set(ids), frozenset(ids)]
    for unordered in sets:
        with pytest.raises(EvaluationError, match=r"oldest first; .* has no order"):
            MODEL.recommend(unordered, 3)
        assert MODEL.recommend(ids, 3, exclude=unordered) == MODEL.recommend(ids, 3, exclude=ids)
    few = ["item 5", "item 7"]
    kinds: list[Any] = [list, tuple, set, np.array, pd.Series, iter, pl.Series]
    for kind in kinds:
        batch = MODEL.recommend_batch([ids, ids], 12, allow=kind(few), exclude=kind(few[:1]))
        assert [[one.item for one in found] for found in batch] == [["item 7"], ["item 7"]]
    others: list[Any] = [
        pd.Series(ids, index=[7, 8, 9]),
        pl.Series(ids),
        np.array(ids),
        dict.fromkeys(ids).keys(),
    ]
    for series in others:
        assert MODEL.recommend(series, 3) == MODEL.recommend(ids, 3)


# -------------------------------------------------------------------------------- constraints and unknown ids


def test_excluded_and_allowed_items() -> None:
    history, whole = NAMES[:2], naive(NAMES[:2], 12, include_seen=False)
    kept = [pair for pair in whole if pair[0] not in ("item 5", "item 7")]
    assert_same(MODEL.recommend(history, 12, exclude=["item 5", "item 7", "who"]), kept)
    few = [pair for pair in whole if pair[0] in ("item 5", "item 7")]
    allowed = ["item 7", "who", "item 5", "item 1"]
    assert_same(MODEL.recommend(history, 12, allow=allowed), few)
    [left] = MODEL.recommend(history, 12, allow=allowed, exclude=["item 7"])
    assert left.item == "item 5"
    assert {item for item, _ in MODEL.recommend(history, 12, allow=allowed, include_seen=True)} == {
        "item 1",
        "item 5",
        "item 7",
    }
    assert MODEL.recommend(history, 12, allow=[]) == []
    with pytest.warns(
        MclrecWarning, match="allow: no item is in the model's catalogue, for example 'who': nothing can"
    ):
        assert MODEL.recommend(history, 12, allow=["who"]) == []
    with pytest.warns(
        MclrecWarning, match="exclude: no item is in the model's catalogue, for example 'who': nothing is"
    ):
        assert_same(MODEL.recommend(history, 12, exclude=["who", "else"]), whole)
    with pytest.warns(MclrecWarning, match="popular"):
        assert [item for item, _ in MODEL.recommend([], 3, exclude=POPULAR[:1])] == POPULAR[1:4]
    batch = MODEL.recommend_batch([history, ["item 5"]], 12, exclude=["item 5"], allow=allowed)
    assert [{item for item, _ in row} for row in batch] == [{"item 7"}, {"item 1", "item 7"}]
    for row, one in zip(batch, (history, ["item 5"]), strict=True):
        assert_same(row, MODEL.recommend(one, 12, exclude=["item 5"], allow=allowed))


LISTS = ("history", "exclude", "allow")


def test_queries_have_options_of_their_own_and_answers_say_what_was_unknown() -> None:
    queries = [
        Query(["item 1", "x", "item 2", "x"], "bob", 3),
        Query(["item 3"], "nobody", 2, exclude=["item 4"], include_seen=True),
        Query(["y"], k=1),
    ]
    first, second, third = MODEL.answer(iter(queries))
    assert_same(first, MODEL.recommend(["item 1", "item 2"], 3, user="bob"))
    assert (first.unknown, first.unknown_user, first.popular) == (("x",), False, False)
    assert_same(second, MODEL.recommend(["item 3"], 2, exclude=["item 4"], include_seen=True))
    assert (second.unknown, second.unknown_user) == ((), True)
    assert (third.unknown, third.popular, [item for item, _ in third]) == (("y",), True, POPULAR[:1])
    with pytest.raises(EvaluationError, match="k = 0"):
        list(MODEL.answer([Query(k=0)]))
    with pytest.raises(EvaluationError, match="a history is a list"):
        list(MODEL.answer([Query("item 1")]))
    odd: list[tuple[Any, str]] = [
        ({"history": ["item 1"]}, "not a Query"),
        (["item 1"], "not a Query"),
        (Query(["item 1"], include_seen="no"), "include_seen = 'no': should be true or false"),  # type: ignore[arg-type]
        *(
            (Query(**dict[str, Any]({name: iter(["x"])})), f"{name} .* can be read only once")
            for name in LISTS
        ),
    ]
    for query, said in odd:
        with pytest.raises(MclrecError, match=said):
            list(MODEL.answer([query]))
    with pytest.raises(EvaluationError, match="a query by itself"):
        list(MODEL.answer(Query(["item 1"])))  # type: ignore[arg-type]


def test_any_number_of_queries_is_answered_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_QUERIES", 4)
    drawn: list[int] = []

    def queries() -> Iterator[Query]:
        for number in range(10):
            drawn.append(number)
            yield Query([NAMES[number]], k=2)

    answers = MODEL.answer(queries())
    assert_same(next(answers), MODEL.recommend(NAMES[:1], 2))
    assert drawn == [0, 1, 2, 3]
    for found, name in zip(answers, NAMES[1:10], strict=True):
        assert_same(found, MODEL.recommend([name], 2))


def test_similar_items_explanations_and_vectors() -> None:
    table = build().table.weight.detach().double().numpy()
    lengths = np.linalg.norm(table, axis=1)
    cosines = table[1:] @ table[3] / (lengths[1:] * lengths[3])
    order = [place for place in np.argsort(-cosines) if place != 2]
    assert_same(MODEL.similar("item 3", 4), [(NAMES[place], cosines[place]) for place in order[:4]])
    rest = [NAMES[place] for place in order if NAMES[place] != NAMES[order[0]]]
    assert [item for item, _ in MODEL.similar("item 3", 2, exclude=[NAMES[order[0]]])] == rest[:2]
    assert [item for item, _ in MODEL.similar("item 3", 2, allow=rest[-1:])] == rest[-1:]
    with pytest.raises(EvaluationError, match=r"unknown item 'item 33'; did you mean 'item 3'"):
        MODEL.similar("item 33")

    history = ["item 1", "x", "item 2", "item 5", "item 4"]
    known = [name for name in history if name != "x"]
    with pytest.warns(MclrecWarning, match="^item 'x' is not in the model's catalogue and is skipped$"):
        [one, other] = MODEL.explain(history, ["item 9", "item 1"], user="ann")
    for found in (one, other):
        scores = dict(naive(known, 12, include_seen=True, user=1))
        assert found.score == pytest.approx(scores[str(found.item)], abs=1e-5)
        assert [(reason.position, reason.item) for reason in found.because] == [
            (2, "item 2"),
            (3, "item 5"),
            (4, "item 4"),
        ]
        for reason in found.because:
            left = dict(naive([name for name in known if name != reason.item], 12, include_seen=True, user=1))
            expected = scores[str(found.item)] - left[str(found.item)]
            assert reason.difference == pytest.approx(expected, abs=1e-5)
    assert MODEL.explain(["item 1"], ["item 9"])[0].because == []  # nothing to compare with
    with pytest.warns(
        MclrecWarning, match="^without a known item in the history, scores are counts in training"
    ):
        assert MODEL.explain([], ["item 1"])[0].score == COUNTS[NAMES.index("item 1") + 1]
    with pytest.raises(EvaluationError, match="unknown item 'item 99'"):
        MODEL.explain(history, ["item 99"])

    queries = MODEL.vectors([["item 1", "item 2"], ["item 3"]], users=["ann", None])
    assert MODEL.item_vectors().shape == (12, 4)
    products = queries @ MODEL.item_vectors().T
    for row, wanted in enumerate((naive(NAMES[:2], 12, True, 1), naive(NAMES[2:3], 12, True, 0))):
        assert [NAMES[place] for place in np.argsort(-products[row])] == [item for item, _ in wanted]
    assert MODEL.item_vectors(["item 4"]).tolist() == [MODEL.item_vectors()[3].tolist()]
    MODEL.item_vectors()[:] *= 2  # the caller's own
    assert queries @ MODEL.item_vectors().T == pytest.approx(products)
    with pytest.raises(EvaluationError, match="history 1 has no known item"):
        MODEL.vectors([["item 1"], []])


def test_a_number_of_items_is_one_of_python() -> None:
    """One of eight bits would overflow where more items are listed than asked for."""
    asked = MODEL._runtime.decode([Query(k=cast("int", np.int8(5)))])[0].query.k
    assert (asked, type(asked)) == (5, int)


def test_data_frames() -> None:
    one = MODEL.recommend(["item 1"], 2)
    many = MODEL.recommend_batch([["item 1"], ["item 2", "item 3"]], 2)
    for frame in (one.to_pandas(), one.to_polars()):
        assert list(frame.columns) == ["rank", "item", "score"]
        assert list(frame["item"]) == [item for item, _ in one]
        assert list(frame["rank"]) == [1, 2]
        assert list(frame["score"]) == pytest.approx([score for _, score in one])
    for frame in (many.to_pandas(), many.to_polars()):
        assert list(frame.columns) == ["query", "rank", "item", "score"]
        assert list(frame["query"]) == [0, 0, 1, 1]
        assert list(frame["item"]) == [item for row in many for item, _ in row]
    assert in_memory(loaded(range(10, 130, 10))).recommend([10], 1).to_arrow()["item"].type == "int64"
    none = [["item 1"], ["item 2"]]
    for empty in (MODEL.recommend(NAMES), MODEL.recommend_batch([]), MODEL.recommend_batch(none, allow=[])):
        assert str(empty.to_arrow()["item"].type) == "large_string"
        assert empty.to_pandas().empty


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"{library} is not installed: pip install {library}"):
        getattr(MODEL.recommend(["item 1"], 2), f"to_{library}")()


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_files_are_what_their_names_say(ending: str, tmp_path: Path) -> None:
    users = log(tmp_path, [("an,n", "item 1", 1), ('b"ob', "item 2", 2), ("zoë", "item 5", 1)])
    out = tmp_path / f"recs.{ending}"
    assert MODEL.recommend_file(users, out, 3, exclude=["item 4"], allow=NAMES[2:]) == 3
    rows: list[dict[str, Any]]
    if ending == "parquet":
        rows = pq.read_table(out).to_pylist()
    elif ending == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    wanted = [
        (user, rank, item, score)
        for user, history in (("an,n", "item 1"), ('b"ob', "item 2"), ("zoë", "item 5"))
        for rank, (item, score) in enumerate(
            MODEL.recommend([history], 3, exclude=["item 4"], allow=NAMES[2:]), 1
        )
    ]
    assert [(row["user"], int(row["rank"]), row["item"]) for row in rows] == [
        tuple(row) for *row, _ in wanted
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx([score for *_, score in wanted], abs=1e-6)


def test_a_file_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"recs\.txt: recommendations are written as \.parquet, \.csv, \.jsonl"
    ):
        MODEL.recommend_file(tmp_path / "gone.csv", tmp_path / "recs.txt")
    assert list(tmp_path.iterdir()) == []
